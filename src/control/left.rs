//! Who ceased to be a peer, when and why: a note for `explain`, `status` and the alerts; no verdict depends on it.

use std::{
    collections::BTreeMap,
    fmt,
    net::IpAddr,
    time::{Duration, UNIX_EPOCH},
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::seen::{Seen, TALKING, TALKING_NS};
use nodewall_host::state::{Clock, Note, StateDir, Who};
use nodewall_policy::config::show;

/// The newest are kept.
const MAX_LEFT: usize = 1_000;

/// Somebody who is no peer any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftPeer {
    /// Address or prefix.
    pub prefix: IpNet,
    /// When.
    #[serde(flatten)]
    pub at: Clock,
    /// `removed`, `its time is over`, or the source that dropped it.
    pub cause: String,
    /// The operator whose word it was.
    pub who: Option<Who>,
    /// It had talked with this node within the hour before: it was cut off.
    pub talked: bool,
}

impl fmt::Display for LeftPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_nanos(self.at.unix_ns));
        let by = self.who.as_ref().map_or_else(String::new, |who| format!(" by {} with {who}", who.user()));
        let talked = if self.talked { "; it had talked with this node within the hour" } else { "" };
        write!(f, "{} was a peer: {}{by} at {at}{talked}", show(&self.prefix), self.cause)
    }
}

/// Those who ceased to be peers, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left(Vec<LeftPeer>);

impl Left {
    /// The last time that this source, or a prefix around it, ceased to be a peer.
    pub fn of(&self, source: IpAddr) -> Option<&LeftPeer> {
        self.0.iter().rev().find(|left| left.prefix.contains(&source))
    }

    /// Those of the last hour.
    pub fn lately(&self, now: &Clock) -> impl Iterator<Item = &LeftPeer> {
        self.0.iter().filter(move |left| now.since(&left.at) < TALKING)
    }

    /// Adds to the note. Failing to is only logged.
    pub(super) fn note(state: &StateDir, prefixes: &[IpNet], (cause, who): (&str, Option<&Who>), now: &Clock) {
        let mut left: Self = state.read_note().unwrap_or_default();
        let talkers = Talkers::before(state, now);
        left.add(prefixes.iter().map(|prefix| LeftPeer {
            prefix: *prefix,
            at: now.clone(),
            cause: cause.to_owned(),
            who: who.cloned(),
            talked: talkers.talk(prefix),
        }));
        if let Err(error) = state.write_note(&left) {
            tracing::warn!("{}: who left could not be noted: {error}", state.path().display());
        }
    }

    /// Keeps the last time of each prefix. A source that flaps pushes out what sources dropped, never what an operator did or who had talked.
    fn add(&mut self, new: impl Iterator<Item = LeftPeer>) {
        let new: BTreeMap<IpNet, LeftPeer> = new.map(|left| (left.prefix, left)).collect();
        self.0.retain(|left| left.who.is_some() || !new.contains_key(&left.prefix));
        self.0.extend(new.into_values());
        let is_dear: [fn(&LeftPeer) -> bool; 3] =
            [|left| left.who.is_some() || left.talked, |left| left.who.is_some(), |_| false];
        for is_dear in is_dear {
            let mut beyond = self.0.len().saturating_sub(MAX_LEFT);
            self.0.retain(|left| {
                let is_kept = beyond == 0 || is_dear(left);
                beyond -= usize::from(!is_kept);
                is_kept
            });
        }
    }
}

impl Note for Left {
    const FILE: &'static str = "left.json";
}

/// Who talked with this node within the hour, as the agent saw it.
#[derive(Debug, Default)]
pub struct Talkers(Vec<IpAddr>);

impl Talkers {
    /// Within the hour before.
    pub fn before(state: &StateDir, now: &Clock) -> Self {
        let seen = Seen::read(state, now);
        Self(seen.since(now.unix_ns.saturating_sub(TALKING_NS)).map(|(talk, _)| talk.source).collect())
    }

    /// Whether one of this prefix did.
    pub fn talk(&self, prefix: &IpNet) -> bool {
        self.0.iter().any(|source| prefix.contains(source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(n: u32, who: Option<&Who>, talked: bool) -> LeftPeer {
        let prefix = IpNet::from(IpAddr::from((0x0a00_0000 + n).to_be_bytes()));
        LeftPeer { prefix, at: Clock::default(), cause: "dns evil".into(), who: who.cloned(), talked }
    }

    #[test]
    fn a_source_that_flaps_pushes_out_nobody_who_matters() {
        let mut all = Left::default();
        all.add([left(1, Some(&Who::default()), false), left(2, None, true)].into_iter());
        for round in 0..10 {
            // The same addresses, and new ones; those who talk are dropped again and again.
            all.add(
                (10..400)
                    .map(|n| left(n, None, false))
                    .chain((0..500).map(|n| left(1_000 + round * 500 + n, None, false))),
            );
            all.add(std::iter::once(left(3, None, true)));
        }
        assert_eq!(all.0.len(), MAX_LEFT);
        let of = |n: u32| all.0.iter().filter(|one| one.prefix == left(n, None, false).prefix).count();
        assert_eq!([1, 2, 3, 50, 5_999].map(of), [1; 5]);
        all.add((20_000..40_000).map(|n| left(n, None, true)));
        assert_eq!(
            [1, 2, 39_999].map(|n| all.0.iter().filter(|one| one.prefix == left(n, None, false).prefix).count()),
            [1, 0, 1]
        );
    }

    #[test]
    fn somebody_left_lately_whatever_the_clock_says() {
        let at = |boot_s: u64, unix_s: u64| Clock {
            boot_id: "this".into(),
            boot_ns: boot_s * 1_000_000_000,
            unix_ns: unix_s * 1_000_000_000,
        };
        let mut all = Left::default();
        // Under a clock that is ten years ahead.
        all.add(std::iter::once(LeftPeer { at: at(100, 2_100_000_000), ..left(1, None, true) }));
        assert_eq!(all.lately(&at(200, 1_800_000_000)).count(), 1);
        assert_eq!(all.lately(&at(100 + 3_601, 2_100_000_000)).count(), 0);
        let note = serde_json::to_string(&all).unwrap();
        assert_eq!(serde_json::from_str::<Left>(&note).unwrap(), all);
        // Of a version that noted the wall clock alone.
        let before: LeftPeer =
            serde_json::from_str(r#"{"prefix":"10.0.0.1/32","unix_ns":7,"cause":"removed","who":null,"talked":false}"#)
                .unwrap();
        assert_eq!(before.at.unix_ns, 7);
    }
}
