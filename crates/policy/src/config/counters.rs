//! `[counters]`: what is counted beyond what always is. It opens and closes nothing.

use super::schema::RawCounters;

/// `[counters]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// `per_peer`; default false. True: the traffic of each port is counted for each peer, too.
    pub per_peer: bool,
}

pub(super) fn counters(raw: &RawCounters) -> Counters {
    Counters { per_peer: raw.per_peer.unwrap_or(Counters::default().per_peer) }
}
