//! What flows add up to.

use std::cmp::Reverse;

use nodewall_evidence::record::{Flow, Outcome};

/// The numbers of [`Sums`](super::rows::Sums).
#[derive(Clone, Copy)]
pub(super) struct Totals {
    pub(super) dropped_packets: u64,
    pub(super) would_drop_packets: u64,
    pub(super) bytes: u64,
    pub(super) flows: u64,
    pub(super) first_unix_ns: u64,
    pub(super) last_unix_ns: u64,
}

impl Totals {
    pub(super) const NOTHING: Self = Self {
        dropped_packets: 0,
        would_drop_packets: 0,
        bytes: 0,
        flows: 0,
        first_unix_ns: u64::MAX,
        last_unix_ns: 0,
    };

    pub(super) fn add(&mut self, flow: &Flow) {
        match flow.key.outcome {
            Outcome::Drop => self.dropped_packets += flow.packets,
            Outcome::WouldDrop => self.would_drop_packets += flow.packets,
        }
        self.bytes += flow.bytes;
        self.flows += 1;
        self.first_unix_ns = self.first_unix_ns.min(flow.first_unix_ns);
        self.last_unix_ns = self.last_unix_ns.max(flow.last_unix_ns);
    }

    /// The largest first, then the latest.
    pub(super) fn order(&self) -> (Reverse<u64>, Reverse<u64>) {
        (Reverse(self.dropped_packets + self.would_drop_packets), Reverse(self.last_unix_ns))
    }
}
