//! What is asked for: in SQL where the store is asked, and here for those who read it batch by batch.

use ipnet::IpNet;
use node_ebpf_common::Reason;

use crate::record::{FlowKey, Outcome};

/// What is asked for; what is empty asks nothing.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Not over before.
    pub since_unix_ns: Option<u64>,
    /// Begun by then.
    pub until_unix_ns: Option<u64>,
    /// To one of these ports.
    pub ports: Vec<u16>,
    /// From within one of these.
    pub sources: Vec<IpNet>,
    /// For one of these reasons.
    pub reasons: Vec<Reason>,
    /// With this outcome.
    pub outcome: Option<Outcome>,
    /// No more than this.
    pub limit: Option<usize>,
    /// These numbers.
    pub ids: Vec<i64>,
    /// Numbers above this one: what came since, whatever the clock says.
    pub above: Option<i64>,
    /// Numbers below this one: where the page before ended.
    pub below: Option<i64>,
}

impl Filter {
    /// Whether a span of time reaches into the filter's.
    pub fn in_time(&self, first_unix_ns: u64, last_unix_ns: u64) -> bool {
        self.since_unix_ns.is_none_or(|since| last_unix_ns >= since)
            && self.until_unix_ns.is_none_or(|until| first_unix_ns <= until)
    }

    /// Whether a flow is wanted, whenever it was.
    pub fn is_of(&self, key: &FlowKey) -> bool {
        (self.ports.is_empty() || key.port.is_some_and(|port| self.ports.contains(&port)))
            && (self.reasons.is_empty() || self.reasons.contains(&key.reason))
            && self.outcome.is_none_or(|outcome| outcome == key.outcome)
            && self.has_source(key)
    }

    /// Whether a flow is from where it is wanted from.
    pub(super) fn has_source(&self, key: &FlowKey) -> bool {
        let from = |source| self.sources.iter().any(|net| net.contains(&source));
        self.sources.is_empty() || key.source.is_some_and(from)
    }
}
