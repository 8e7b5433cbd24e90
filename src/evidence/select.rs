//! Which records of a whole batch a filter wants: what the store does in SQL, for those who read it batch by batch. The limit and the numbers of a filter
//! are not looked at.

use super::{record::FlowKey, store::Filter};

/// Whether a capture of this flow at this time is wanted.
pub fn wants(filter: &Filter, key: &FlowKey, unix_ns: u64) -> bool {
    in_time(filter, unix_ns, unix_ns) && is_of(filter, key)
}

/// Whether a span of time reaches into the filter's.
pub fn in_time(filter: &Filter, first_unix_ns: u64, last_unix_ns: u64) -> bool {
    filter.since_unix_ns.is_none_or(|since| last_unix_ns >= since)
        && filter.until_unix_ns.is_none_or(|until| first_unix_ns <= until)
}

/// Whether a flow is wanted, whenever it was.
pub fn is_of(filter: &Filter, key: &FlowKey) -> bool {
    let from = |source| filter.sources.iter().any(|net| net.contains(&source));
    (filter.ports.is_empty() || key.port.is_some_and(|port| filter.ports.contains(&port)))
        && (filter.reasons.is_empty() || filter.reasons.contains(&key.reason))
        && filter.outcome.is_none_or(|outcome| outcome == key.outcome)
        && (filter.sources.is_empty() || key.source.is_some_and(from))
}
