//! Taking samples: programs interleaved within each round, in an order of chance, and what is left of them: medians of differences within a round.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use nodewall_testbed::program::Program;
use serde::Serialize;

use super::{
    frames::{MIX_ENTRIES, Traffic},
    lineup::{Lineup, PASS},
    sources::Sources,
};
use crate::{random::Random, setting::Setting};

/// Runs that warm caches up and tell how long a sample must be.
const WARM_UP_RUNS: u32 = MIX_ENTRIES as u32;

/// Smallest, middle and largest of some values.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    /// `None` for no values.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |n: usize| sorted.get(n).copied();
        let middle = sorted.len() / 2;
        let median = if sorted.len().is_multiple_of(2) {
            f64::midpoint(at(middle.checked_sub(1)?)?, at(middle)?)
        } else {
            at(middle)?
        };
        Some(Self { median, min: at(0)?, max: at(sorted.len() - 1)? })
    }
}

/// What one program costs for one kind of traffic.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    pub program: &'static str,
    #[serde(flatten)]
    pub traffic: Traffic,
    /// Sources of each family in the policy.
    pub sources: usize,
    /// Distinct prefix lengths of each family.
    pub lengths: usize,
    /// CPU time of one run, harness included, ns.
    pub total_ns: Spread,
    /// The same less the bare program's of the same round, ns.
    pub own_ns: Spread,
    /// Median of the total over the bare program's.
    pub ratio: f64,
    /// `own_ns` of each round, in their order.
    #[serde(skip)]
    rounds_ns: Vec<f64>,
}

impl Figure {
    /// The median of what this program takes above `other`, which was measured in the same rounds.
    pub fn above(&self, other: &Self) -> Option<f64> {
        let differences: Vec<f64> = self.rounds_ns.iter().zip(&other.rounds_ns).map(|(a, b)| a - b).collect();
        Spread::of(&differences).map(|differences| differences.median)
    }
}

/// Measures `programs` (the floor among them) on `traffic`; every program is checked first.
pub fn measure(
    lineup: &mut Lineup,
    sources: &Sources,
    traffic: &[Traffic],
    programs: &[&str],
    setting: &Setting,
) -> Result<Vec<Figure>> {
    let mut random = Random::new(setting.seed);
    let mut frames = Vec::new();
    for one in traffic {
        let frame = one.frame(sources)?;
        let mix = if one.is_mixed() { one.mix(sources, setting.seed)? } else { Vec::new() };
        lineup.check(sources, *one, &frame, &mix).context("before the measurement")?;
        frames.push((*one, frame, one.mix_words(&mix)?));
    }
    let mut samples: BTreeMap<(Traffic, &'static str), Vec<f64>> = BTreeMap::new();
    let mut runs = BTreeMap::new();
    for round in 0..=setting.rounds {
        for (traffic, frame, words) in &frames {
            if traffic.is_mixed() {
                lineup.set_mix(words)?;
            }
            let mut order: Vec<_> = lineup.contenders().iter().filter(|c| programs.contains(&c.name)).collect();
            random.shuffle(&mut order);
            for contender in order {
                let program = lineup.route(contender, *traffic)?;
                let key = (*traffic, contender.name);
                if round == 0 {
                    runs.insert(key, runs_for(program, frame, setting)?);
                } else if let Some(runs) = runs.get(&key) {
                    let sample_ns = program.run(frame, *runs)?.cpu_ns as f64 / f64::from(*runs);
                    samples.entry(key).or_default().push(sample_ns);
                }
            }
        }
    }
    figures(&samples, sources)
}

/// How many runs fill a sample; of mixed traffic only whole mixes.
fn runs_for(program: &Program, frame: &[u8], setting: &Setting) -> Result<u32> {
    program.run(frame, WARM_UP_RUNS)?;
    let warm_ns = program.run(frame, WARM_UP_RUNS)?.cpu_ns.max(1);
    let runs = (setting.sample_ns * u64::from(WARM_UP_RUNS)).div_ceil(warm_ns);
    Ok(runs.next_multiple_of(MIX_ENTRIES as u64).min(1 << 30) as u32)
}

fn figures(samples: &BTreeMap<(Traffic, &'static str), Vec<f64>>, sources: &Sources) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for ((traffic, program), totals) in samples {
        let floor = samples.get(&(*traffic, PASS)).context("measurements without the bare program")?;
        let own: Vec<f64> = totals.iter().zip(floor).map(|(total, floor)| total - floor).collect();
        let spread = |values: &[f64]| Spread::of(values).context("no samples");
        let (total_ns, own_ns) = (spread(totals)?, spread(&own)?);
        figures.push(Figure {
            program,
            traffic: *traffic,
            sources: sources.count,
            lengths: sources.lengths,
            total_ns,
            own_ns,
            ratio: total_ns.median / spread(floor)?.median,
            rounds_ns: own,
        });
    }
    Ok(figures)
}
