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
}

impl Problems {
    pub(super) fn new(alarm: Alarm) -> Self {
        Self { alarm, store: None, data_path: None }
    }

    pub(super) fn of_store(&mut self, problem: Option<String>) {
        if self.store != problem {
            log(problem.as_ref());
            self.store = problem;
            self.raise();
        }
    }

    pub(super) fn of_data_path(&mut self, problem: Option<String>) {
        if self.data_path != problem {
            log(problem.as_ref());
            self.data_path = problem;
            self.raise();
        }
    }

    /// The store takes nothing.
    pub(super) fn is_stuck(&self) -> bool {
        self.store.is_some()
    }

    /// The one to be told.
    pub(super) fn first(&self) -> Option<&String> {
        self.store.as_ref().or(self.data_path.as_ref())
    }

    fn raise(&self) {
        let mut alarm = self.alarm.lock().unwrap_or_else(PoisonError::into_inner);
        *alarm = self.first().cloned();
    }
}

fn log(problem: Option<&String>) {
    if let Some(problem) = problem {
        tracing::error!("{problem}");
    }
}
