//! Why nothing is recorded, told once and to everybody: the log, the agent's alarm, `status`. It must not do anything about it.

use std::sync::{Arc, Mutex, PoisonError};

/// Why nothing is recorded, for the agent.
pub(super) type Alarm = Arc<Mutex<Option<String>>>;

/// What stands in the way; the store's trouble is told first.
#[derive(Debug)]
pub(super) struct Problems {
    alarm: Alarm,
    /// Why the store takes nothing.
    store: Option<String>,
    /// Why the data path gives nothing.
    data_path: Option<String>,
    /// Why what is too old or too much stays. Recording goes on.
    retention: Option<String>,
    /// Why the ledger is behind. Evidence is recorded all the same.
    ledger: Option<String>,
}

impl Problems {
    pub(super) fn new(alarm: Alarm) -> Self {
        Self { alarm, store: None, data_path: None, retention: None, ledger: None }
    }

    pub(super) fn of_store(&mut self, problem: Option<String>) {
        self.tell(problem, |this| &mut this.store);
    }

    pub(super) fn of_data_path(&mut self, problem: Option<String>) {
        self.tell(problem, |this| &mut this.data_path);
    }

    pub(super) fn of_retention(&mut self, problem: Option<String>) {
        self.tell(problem, |this| &mut this.retention);
    }

    pub(super) fn of_ledger(&mut self, problem: Option<String>) {
        self.tell(problem, |this| &mut this.ledger);
    }

    fn tell(&mut self, problem: Option<String>, of: fn(&mut Self) -> &mut Option<String>) {
        if *of(self) != problem {
            if let Some(problem) = &problem {
                tracing::error!("{problem}");
            }
            *of(self) = problem;
            *self.alarm.lock().unwrap_or_else(PoisonError::into_inner) = self.first().cloned();
        }
    }

    /// The store takes nothing.
    pub(super) fn is_stuck(&self) -> bool {
        self.store.is_some()
    }

    /// The one to be told.
    pub(super) fn first(&self) -> Option<&String> {
        self.store.as_ref().or(self.data_path.as_ref()).or(self.ledger.as_ref())
    }
}
