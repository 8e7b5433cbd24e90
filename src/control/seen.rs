//! Who talked with this node, as the agent saw it: a note for `plan` and `enforce`; no frame's verdict depends on it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use nodewall_host::{net::Conversation, state::Note};

/// Whoever was seen within this time counts as talking: most clients come again.
pub(super) const TALKING_NS: u64 = 3_600_000_000_000;
/// How long somebody is remembered: an audit's time and more.
const REMEMBERED_NS: u64 = 30 * 24 * 3_600 * 1_000_000_000;
/// More than the connections of a busy node; those seen longest ago make room.
const MAX_SEEN: usize = 10_000;

/// Conversations, each with when it was seen last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// With the Unix time of the last sight, ns; sorted. A list: JSON's keys are text.
    last: Vec<(Conversation, u64)>,
}

impl Seen {
    /// Adds those who talk at `unix_ns`, and forgets who was not seen for long.
    pub fn add(&mut self, talking: impl IntoIterator<Item = Conversation>, unix_ns: u64) {
        let mut last: BTreeMap<Conversation, u64> = std::mem::take(&mut self.last).into_iter().collect();
        last.extend(talking.into_iter().map(|seen| (seen, unix_ns)));
        self.last = last.into_iter().collect();
        self.last.retain(|(_, then)| unix_ns.abs_diff(*then) < REMEMBERED_NS);
        if self.last.len() > MAX_SEEN {
            self.last.sort_by_key(|(_, then)| std::cmp::Reverse(*then));
            self.last.truncate(MAX_SEEN);
            self.last.sort_unstable();
        }
    }

    /// Nobody has noted it yet.
    pub fn is_new(&self, talk: &Conversation) -> bool {
        self.last.binary_search_by_key(talk, |(seen, _)| *seen).is_err()
    }

    /// Who was seen since `unix_ns`, and when last.
    pub fn since(&self, unix_ns: u64) -> impl Iterator<Item = (Conversation, u64)> + '_ {
        self.last.iter().filter(move |(_, then)| *then >= unix_ns).copied()
    }
}

impl Note for Seen {
    const FILE: &'static str = "seen.json";
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodewall_policy::config::Protocol;

    #[test]
    fn somebody_is_remembered_and_the_list_is_bounded() {
        let with = |source: &str, port| Conversation { source: source.parse().unwrap(), port, protocol: Protocol::Tcp };
        let (a, b) = ("192.0.2.1", "2001:db8::1");
        let mut seen = Seen::default();
        seen.add([with(a, 9042), with(a, 443)], 100);
        seen.add([with(b, 9042), with(a, 9042)], 200);
        assert_eq!(seen.since(100).count(), 3);
        // What counts is the last sight.
        assert_eq!(seen.since(150).collect::<Vec<_>>(), [(with(a, 9042), 200), (with(b, 9042), 200)]);
        seen.add([], 150 + REMEMBERED_NS);
        assert_eq!(seen.since(0).count(), 2);
        seen.add((0..=u16::MAX).map(|port| with(b, port)), 300);
        assert_eq!(seen.since(0).count(), MAX_SEEN);
    }
}
