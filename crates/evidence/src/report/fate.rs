//! What became of all that the policy denied, where one answer is right for all of it: losses do not say whether they were dropped or let in by audit, but the
//! policies that were in force then do. It must not read the store.

use nodewall_policy::{Policy, config::Mode};

use crate::record::{Event, EventKind, Outcome};

/// A policy is written down before it is in force.
const WRITTEN_BEFORE_NS: u64 = 10_000_000_000;

/// The one outcome since `since_unix_ns`, by the events of policies up to the end, the newest first; `None`: there were both, or it is not known.
pub(super) fn of_all<'a>(policies: impl IntoIterator<Item = &'a Event>, since_unix_ns: u64) -> Option<Outcome> {
    let before_ns = since_unix_ns.saturating_sub(WRITTEN_BEFORE_NS);
    let mut later: Option<(u64, Outcome)> = None;
    for event in policies.into_iter().filter(|event| event.kind == EventKind::Policy) {
        let (generation, outcome) = read(event)?;
        // Between two that do not follow each other there were others.
        if later.is_some_and(|(next, known)| generation + 1 != next || outcome != known) {
            return None;
        }
        if event.unix_ns <= before_ns || generation == 1 {
            return Some(outcome);
        }
        later = Some((generation, outcome));
    }
    None
}

fn read(event: &Event) -> Option<(u64, Outcome)> {
    let policy: Policy = serde_json::from_str(event.text.as_deref()?).ok()?;
    let generation = event.detail.strip_prefix("generation ")?.split(',').next()?.parse().ok()?;
    let outcome = match policy.mode {
        Mode::Audit => Outcome::WouldDrop,
        Mode::Enforce if policy.audited().is_empty() => Outcome::Drop,
        Mode::Enforce => return None,
    };
    Some((generation, outcome))
}
