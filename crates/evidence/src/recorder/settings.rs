//! What is recorded and how much of it is kept, from the configuration.

use super::in_force::CaptureBudget;
use crate::{ledger::Rules, store::Limits};
use nodewall_policy::config;

/// What is recorded, and how much of it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Of the store.
    pub limits: Limits,
    /// Of captures.
    pub budget: CaptureBudget,
    /// Of the ledger.
    pub ledger: Rules,
    /// Where records go besides.
    pub outputs: Vec<config::EvidenceOutput>,
}

impl Settings {
    /// Those of a configuration; `None`: nothing is recorded.
    pub fn wanted(evidence: &config::Evidence, ledger: &config::Ledger) -> Option<Self> {
        let max_age_ns = u64::try_from(evidence.max_age.as_nanos()).unwrap_or(u64::MAX);
        evidence.enabled.then_some(Self {
            limits: Limits { max_bytes: evidence.max_bytes, max_age_ns },
            ledger: ledger.into(),
            budget: CaptureBudget { snap_bytes: evidence.capture_bytes, per_second: evidence.captures_per_second },
            outputs: evidence.outputs.clone(),
        })
    }
}
