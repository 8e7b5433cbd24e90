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

#[cfg(test)]
mod tests {
    use nodewall_policy::config::Config;

    use super::*;

    /// `mode`: of its text; `None`: it has none.
    fn policy(generation: u64, mode: Option<Mode>) -> Event {
        let text = mode.map(|mode| {
            let policy = Policy { mode, ..Policy::from_config(&Config::embedded()).unwrap() };
            serde_json::to_string(&policy).unwrap()
        });
        let (unix_ns, detail) = (generation * WRITTEN_BEFORE_NS, format!("generation {generation}, of, sha256 ab"));
        Event { unix_ns, kind: EventKind::Policy, detail, who: None, text }
    }

    #[test]
    fn a_policy_without_a_text_is_as_the_one_before_it() {
        let audit = Some(Mode::Audit);
        let of = |policies: &[Event], since: u64| of_all(policies, since * WRITTEN_BEFORE_NS);
        let mut policies = [policy(5, None), policy(4, None), policy(3, audit), policy(2, None), policy(1, audit)];
        // Since the fourth, whose mode only the third tells.
        assert_eq!(of(&policies, 5), Some(Outcome::WouldDrop));
        assert_eq!(of(&policies, 1), Some(Outcome::WouldDrop));
        assert_eq!(of(&policies[..2], 5), None, "nobody knows");
        policies[4] = policy(1, Some(Mode::Enforce));
        assert_eq!((of(&policies, 4), of(&policies, 3)), (Some(Outcome::WouldDrop), None), "the second enforced, too");
    }
}
