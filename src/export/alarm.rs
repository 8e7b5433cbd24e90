//! What keeps the exporters from working, as `status` tells it. Must not know what they do.

use std::sync::{Arc, Mutex, PoisonError};

/// `None`: they work. Clones are of the same alarm.
#[derive(Clone, Default)]
pub(super) struct Alarm(Arc<Mutex<Option<String>>>);

impl Alarm {
    pub(super) fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Logged when it changes.
    pub(super) fn set(&self, now: Option<String>) {
        let mut alarm = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *alarm != now {
            if let Some(text) = &now {
                tracing::error!("{text}");
            } else {
                tracing::info!("metrics and page are served again");
            }
            *alarm = now;
        }
    }
}
