//! How the ledger is kept, from the configuration.

use super::account::Step;
use nodewall_policy::config;

/// How much of a step is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Which step.
    pub step: Step,
    /// So many periods. By number, not by time: a clock that was wrong once must not empty the ledger.
    pub periods: u64,
    /// And no more than so many bytes of amounts.
    pub max_bytes: u64,
}

/// How the ledger is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// What is kept of each step.
    pub keep: [Keep; 3],
    /// For how long nothing is told to be new, s.
    pub learning_s: u64,
}

impl From<&config::Ledger> for Rules {
    fn from(ledger: &config::Ledger) -> Self {
        let keep = |step: Step| {
            let time = match step {
                Step::Minute => ledger.minutes,
                Step::Hour => ledger.hours,
                Step::Day => ledger.days,
            };
            Keep { step, periods: (time.as_secs() / step.seconds()).max(1), max_bytes: ledger.max_bytes }
        };
        Self { keep: Step::ALL.map(keep), learning_s: ledger.learning.as_secs() }
    }
}
