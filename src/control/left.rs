//! Who ceased to be a peer, when and why: a note for `explain`, `status` and the alerts; no verdict depends on it.

use std::{
    fmt,
    net::IpAddr,
    time::{Duration, UNIX_EPOCH},
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::seen::{Seen, TALKING_NS};
use nodewall_host::state::{Note, StateDir, Who};
use nodewall_policy::config::show;

/// The newest are kept.
const MAX_LEFT: usize = 1_000;

/// Somebody who is no peer any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftPeer {
    /// Address or prefix.
    pub prefix: IpNet,
    /// When, Unix time, ns.
    pub unix_ns: u64,
    /// `removed`, `its time is over`, or the source that dropped it.
    pub cause: String,
    /// The operator whose word it was.
    pub who: Option<Who>,
    /// It had talked with this node within the hour before: it was cut off.
    pub talked: bool,
}

impl fmt::Display for LeftPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_nanos(self.unix_ns));
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
    pub fn lately(&self, now_unix_ns: u64) -> impl Iterator<Item = &LeftPeer> {
        self.0.iter().filter(move |left| now_unix_ns.abs_diff(left.unix_ns) < TALKING_NS)
    }

    /// Adds to the note. Failing to is only logged.
    pub(super) fn note(state: &StateDir, prefixes: &[IpNet], (cause, who): (&str, Option<&Who>), now_unix_ns: u64) {
        let mut left: Self = state.read_note().unwrap_or_default();
        let talkers = Talkers::before(state, now_unix_ns);
        left.0.extend(prefixes.iter().map(|prefix| LeftPeer {
            prefix: *prefix,
            unix_ns: now_unix_ns,
            cause: cause.to_owned(),
            who: who.cloned(),
            talked: talkers.talk(prefix),
        }));
        let beyond = left.0.len().saturating_sub(MAX_LEFT);
        left.0.drain(..beyond);
        if let Err(error) = state.write_note(&left) {
            tracing::warn!("{}: who left could not be noted: {error}", state.path().display());
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
    pub fn before(state: &StateDir, now_unix_ns: u64) -> Self {
        let seen = state.read_note::<Seen>().unwrap_or_default();
        Self(seen.since(now_unix_ns.saturating_sub(TALKING_NS)).map(|(talk, _)| talk.source).collect())
    }

    /// Whether one of this prefix did.
    pub fn talk(&self, prefix: &IpNet) -> bool {
        self.0.iter().any(|source| prefix.contains(source))
    }
}
