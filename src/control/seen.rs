//! Who was connected to this node within the last hour, as the agent saw it. A note for `plan`; nothing is decided by it.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};

use nodewall_host::state::Note;

/// How long somebody is remembered.
const HOUR_NS: u64 = 3_600_000_000_000;
/// More than the connections of a busy node; those seen longest ago make room.
const MAX_SEEN: usize = 10_000;

/// Sources and the local ports they were connected to, each with when it was seen last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Unix time of the last sight, ns, by source and port. A list: JSON's keys are text.
    last: Vec<(IpAddr, u16, u64)>,
}

impl Seen {
    /// Adds those who are connected at `unix_ns`, and forgets who was not seen for an hour.
    pub fn add(&mut self, connected: impl IntoIterator<Item = (IpAddr, u16)>, unix_ns: u64) {
        let before = std::mem::take(&mut self.last).into_iter().map(|(source, port, then)| ((source, port), then));
        let mut last: BTreeMap<(IpAddr, u16), u64> = before.collect();
        last.extend(connected.into_iter().map(|seen| (seen, unix_ns)));
        self.last = last.into_iter().map(|((source, port), then)| (source, port, then)).collect();
        self.last.retain(|(_, _, then)| unix_ns.abs_diff(*then) < HOUR_NS);
        if self.last.len() > MAX_SEEN {
            self.last.sort_by_key(|(_, _, then)| std::cmp::Reverse(*then));
            self.last.truncate(MAX_SEEN);
        }
    }

    /// Who was seen within the hour before `unix_ns`.
    pub fn within_the_hour(&self, unix_ns: u64) -> impl Iterator<Item = (IpAddr, u16)> + '_ {
        self.last
            .iter()
            .filter(move |(_, _, then)| unix_ns.abs_diff(*then) < HOUR_NS)
            .map(|(source, port, _)| (*source, *port))
    }
}

impl Note for Seen {
    const FILE: &'static str = "seen.json";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn somebody_is_remembered_for_an_hour_and_the_list_is_bounded() {
        let (a, b): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap());
        let mut seen = Seen::default();
        seen.add([(a, 9042), (a, 443)], HOUR_NS);
        seen.add([(b, 9042), (a, 9042)], HOUR_NS + HOUR_NS / 2);
        assert_eq!(seen.within_the_hour(HOUR_NS + 1).count(), 3);
        // 443 was seen an hour ago; what counts is the last sight.
        let later: Vec<_> = seen.within_the_hour(2 * HOUR_NS).collect();
        assert_eq!(later, [(a, 9042), (b, 9042)]);
        seen.add((0..=u16::MAX).map(|port| (b, port)), 2 * HOUR_NS);
        assert_eq!(seen.within_the_hour(2 * HOUR_NS).count(), MAX_SEEN);
    }
}
