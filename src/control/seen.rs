//! Who talked with this node, as the agent saw it: a note for `plan` and `enforce`; no frame's verdict depends on it.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use nodewall_host::{
    net::Conversation,
    state::{Clock, Note, StateDir},
};

/// Whoever was seen within this time counts as talking: most clients come again.
pub(super) const TALKING: Duration = Duration::from_secs(3_600);
/// The same.
pub(super) const TALKING_NS: u64 = 3_600_000_000_000;
/// How long somebody is remembered: an audit's time and more.
const REMEMBERED_NS: u64 = 30 * 24 * 3_600 * 1_000_000_000;
/// More than the connections of a busy node; those seen longest ago make room.
const MAX_SEEN: usize = 10_000;

/// Conversations, each with when it was seen last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// When it was noted.
    #[serde(default)]
    at: Clock,
    /// With the Unix time of the last sight, ns; sorted. A list: JSON's keys are text.
    last: Vec<(Conversation, u64)>,
}

impl Seen {
    /// What was noted, as the clock tells it now.
    pub fn read(state: &StateDir, now: &Clock) -> Self {
        let mut seen: Self = state.read_note().unwrap_or_default();
        seen.follow(now);
        seen
    }

    /// Where the clock was set, all times are set with it: how long ago somebody was seen is what counts.
    fn follow(&mut self, now: &Clock) {
        // A note of an earlier version, or nobody was seen yet.
        if self.at != Clock::default() {
            let passed_ns = i64::try_from(now.since(&self.at).as_nanos()).unwrap_or(i64::MAX);
            let set_ns = now.unix_ns.cast_signed().wrapping_sub(self.at.unix_ns.cast_signed()).wrapping_sub(passed_ns);
            for (_, then) in &mut self.last {
                *then = then.saturating_add_signed(set_ns);
            }
        }
        self.at = now.clone();
    }

    /// Adds those who talk, and forgets who was not seen for long.
    pub fn add(&mut self, talking: impl IntoIterator<Item = Conversation>, now: &Clock) {
        self.follow(now);
        let unix_ns = now.unix_ns;
        let mut last: BTreeMap<Conversation, u64> = std::mem::take(&mut self.last).into_iter().collect();
        last.extend(talking.into_iter().map(|seen| (seen, unix_ns)));
        self.last = last.into_iter().collect();
        self.last.retain(|(_, then)| unix_ns.saturating_sub(*then) < REMEMBERED_NS);
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
        let at = |ns| Clock { boot_id: "this".into(), boot_ns: ns, unix_ns: ns };
        let mut seen = Seen::default();
        seen.add([with(a, 9042), with(a, 443)], &at(100));
        seen.add([with(b, 9042), with(a, 9042)], &at(200));
        assert_eq!(seen.since(100).count(), 3);
        // What counts is the last sight.
        assert_eq!(seen.since(150).collect::<Vec<_>>(), [(with(a, 9042), 200), (with(b, 9042), 200)]);
        seen.add([], &at(150 + REMEMBERED_NS));
        assert_eq!(seen.since(0).count(), 2);
        seen.add((0..=u16::MAX).map(|port| with(b, port)), &at(300 + REMEMBERED_NS));
        assert_eq!(seen.since(0).count(), MAX_SEEN);
    }

    #[test]
    fn a_clock_that_is_set_makes_nobody_forgotten() {
        const TEN_YEARS_NS: u64 = 315_360_000_000_000_000;
        let talk = Conversation { source: "192.0.2.1".parse().unwrap(), port: 9042, protocol: Protocol::Tcp };
        let now = |minutes: u64, unix_ns: u64| Clock {
            boot_id: "this".into(),
            boot_ns: minutes * 60_000_000_000,
            unix_ns: unix_ns + minutes * 60_000_000_000,
        };
        let right = 1_800_000_000_000_000_000;
        let mut seen = Seen::default();
        seen.add([talk], &now(0, right));
        for (minutes, wrong) in [(10, right + TEN_YEARS_NS), (20, right), (30, right - TEN_YEARS_NS), (40, right)] {
            let now = now(minutes, wrong);
            seen.add([], &now);
            let ago_ns = seen.since(0).map(|(_, then)| now.unix_ns - then).collect::<Vec<_>>();
            assert_eq!(ago_ns, [minutes * 60_000_000_000]);
        }
    }
}
