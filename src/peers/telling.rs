//! How often each cause of changes is told of, and what is not told yet: a source that flaps, or whoever controls one, must not fill the journal.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use nodewall_host::state::{Allowance, Clock};

/// By cause: a source, the configuration, time.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Telling(BTreeMap<String, Told>);

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Told {
    allowance: Allowance,
    /// Changes that wait, and the last of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    waiting: Option<(u64, String)>,
}

impl Told {
    fn is_due(&self, now: &Clock) -> bool {
        self.waiting.is_some() && self.allowance.is_left(now)
    }
}

impl Telling {
    /// What is to be told of this change now; `None`: it is told later, with others.
    pub(super) fn tell(&mut self, cause: &str, detail: String, now: &Clock) -> Option<String> {
        let told = self.0.entry(cause.to_owned()).or_default();
        if told.waiting.is_none() && told.allowance.take(now) {
            return Some(detail);
        }
        let (count, last) = told.waiting.get_or_insert_default();
        (*count, *last) = (*count + 1, detail);
        None
    }

    /// Whether something that waits may be told.
    pub(super) fn is_due(&self, now: &Clock) -> bool {
        self.0.values().any(|told| told.is_due(now))
    }

    /// What waits and may be told, of each cause in one line. Forgets causes that are quiet.
    pub(super) fn due(&mut self, now: &Clock) -> Vec<String> {
        let mut due = Vec::new();
        self.0.retain(|cause, told| {
            if told.is_due(now)
                && told.allowance.take(now)
                && let Some((count, last)) = told.waiting.take()
            {
                due.push(if count == 1 { last } else { format!("{cause}: {count} changes, the last: {last}") });
            }
            told.waiting.is_some() || !told.allowance.is_whole(now)
        });
        due
    }
}
