//! What became of all that the policy denied, where one answer is right for all of it: losses do not say whether they were dropped or let in by audit, but the
//! policies that were in force then do. It must not read the store.

use nodewall_policy::{Policy, config::Mode};

use crate::record::{Event, EventKind, Outcome};

/// A policy is written down before it is in force.
const WRITTEN_BEFORE_NS: u64 = 10_000_000_000;

/// The one outcome since `since_unix_ns`, by the events of policies up to the end, the newest first; `None`: there were both, or it is not known.
pub(super) fn of_all<'a>(policies: impl IntoIterator<Item = &'a Event>, since_unix_ns: u64) -> Option<Outcome> {
    let before_ns = since_unix_ns.saturating_sub(WRITTEN_BEFORE_NS);
    let (mut next, mut known, mut is_reached) = (None, None, false);
    for event in policies.into_iter().filter(|event| event.kind == EventKind::Policy) {
        let generation: u64 = event.detail.strip_prefix("generation ")?.split(',').next()?.parse().ok()?;
        // Between two that do not follow each other there were others.
        if next.is_some_and(|next| generation + 1 != next) {
            return None;
        }
        next = Some(generation);
        is_reached |= event.unix_ns <= before_ns || generation == 1;
        // Without a text it is as the one before it, but for peers.
        let Some(text) = &event.text else { continue };
        let outcome = read(text)?;
        if known.is_some_and(|known| outcome != known) {
            return None;
        }
        known = Some(outcome);
        if is_reached {
            return known;
        }
    }
    None
}

fn read(text: &str) -> Option<Outcome> {
    let policy: Policy = serde_json::from_str(text).ok()?;
    match policy.mode {
        Mode::Audit => Some(Outcome::WouldDrop),
        Mode::Enforce if policy.audited().is_empty() => Some(Outcome::Drop),
        Mode::Enforce => None,
    }
}
