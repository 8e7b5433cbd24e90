//! How a run is made: how thorough, on which CPU, from which seed. Pins the process.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::Serialize;

/// Rounds of a whole run and of a quick one; the fewest that are taken.
const ROUNDS: usize = 15;
const QUICK_ROUNDS: usize = 5;

/// The setting of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Setting {
    /// Fewer rounds and fewer kinds.
    pub quick: bool,
    /// Samples of each program and frame, one a round.
    pub rounds: usize,
    /// The CPU that everything measured runs on.
    pub cpu: usize,
    /// Shortest time of one sample.
    pub sample_ns: u64,
    /// Of orders and of traffic.
    pub seed: u64,
}

impl Setting {
    /// `rounds` and `cpu` as the user wants them.
    pub fn new(quick: bool, rounds: Option<usize>, cpu: Option<usize>) -> Result<Self> {
        let rounds = rounds.unwrap_or(if quick { QUICK_ROUNDS } else { ROUNDS });
        if rounds < QUICK_ROUNDS {
            bail!("--rounds {rounds}: a median needs at least {QUICK_ROUNDS} rounds");
        }
        let allowed = sched_getaffinity(None).context("the CPUs of this process can not be read")?;
        let cpu = match cpu {
            Some(cpu) if cpu < CpuSet::MAX_CPU && allowed.is_set(cpu) => cpu,
            Some(cpu) => bail!("--cpu {cpu}: this process may not use that CPU"),
            // Interrupts and whatever else is about prefer the first.
            None => (0..CpuSet::MAX_CPU).rev().find(|cpu| allowed.is_set(*cpu)).unwrap_or(0),
        };
        let sample = if quick { Duration::from_millis(10) } else { Duration::from_millis(20) };
        Ok(Self { quick, rounds, cpu, sample_ns: sample.as_nanos() as u64, seed: 4 })
    }

    /// Keeps the calling thread on the chosen CPU.
    pub fn pin(&self) -> Result<()> {
        let mut only = CpuSet::new();
        only.set(self.cpu);
        sched_setaffinity(None, &only).with_context(|| format!("this thread can not be kept on CPU {}", self.cpu))
    }
}
