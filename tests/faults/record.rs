//! What every fault test shares: how many runs, whose turn it is, and the line that says what was measured. The lines go where
//! `cargo xtask faults` looks for them.

use std::env;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;
use std::time::Instant;

use nodewall_testbed::times_are_judged;
use serde_json::json;

use crate::guest;

/// The folder for the lines.
const OUT: &str = "NODEWALL_FAULTS_OUT";
const SEED: &str = "NODEWALL_SEED";

/// Tests that flood or take times have the machine for themselves; the others run side by side.
static MACHINE: RwLock<()> = RwLock::new(());

/// Waits until no other test runs, and keeps the others waiting.
pub(crate) fn alone() -> RwLockWriteGuard<'static, ()> {
    MACHINE.write().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until no test runs that wants to be alone.
pub(crate) fn beside_others() -> RwLockReadGuard<'static, ()> {
    MACHINE.read().unwrap_or_else(PoisonError::into_inner)
}

/// Whether all runs are wanted, and bars of time judged; or a few runs, and outcomes alone.
pub(crate) fn is_full() -> bool {
    times_are_judged()
}

/// How many runs there are.
pub(crate) fn runs(short: u64, full: u64) -> u64 {
    if is_full() { full } else { short }
}

/// Where random choices begin: `NODEWALL_SEED`, else always the same.
pub(crate) fn seed() -> u64 {
    env::var(SEED).map_or(1, |text| text.parse().expect("NODEWALL_SEED is a number"))
}

/// One fault's line. It is written when this is dropped: as passed if [`Record::passed`] was called, else as failed.
pub(crate) struct Record {
    name: &'static str,
    fault: &'static str,
    bar: &'static str,
    runs: u64,
    measured: String,
    passed: bool,
    began: Instant,
}

impl Record {
    /// `name`: what `cargo xtask faults` calls it; `fault`: what is done; `bar`: what must come of it.
    pub(crate) fn new(name: &'static str, fault: &'static str, runs: u64, bar: &'static str) -> Self {
        Self { name, fault, bar, runs, measured: String::new(), passed: false, began: Instant::now() }
    }

    /// Corrects the number of runs, where it is known at the end only.
    pub(crate) fn set_runs(&mut self, runs: u64) {
        self.runs = runs;
    }

    /// What came of it; said before it is judged, so that a failure has it, too.
    pub(crate) fn measured(&mut self, what: String) {
        println!("{}: {} runs: {what}", self.fault, self.runs);
        self.measured = what;
    }

    /// The bar is met.
    pub(crate) fn passed(mut self) {
        self.passed = !thread::panicking();
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let line = json!({
            "name": self.name, "fault": self.fault, "runs": self.runs, "measured": self.measured, "bar": self.bar, "ok": self.passed,
            "seconds": self.began.elapsed().as_secs_f64(),
        });
        if guest::inside() {
            println!("NODEWALL-VM fault {line}");
        }
        let Some(folder) = env::var_os(OUT) else { return };
        let file = Path::new(&folder).join("results.jsonl");
        let written = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&file)
            .and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
        // Without the line the fault counts as not run, and so as failed.
        if let Err(error) = written {
            eprintln!("{}: {error}", file.display());
        }
    }
}
