//! What the push to the vendor has read and still owes, and how it is doing. Owns the names of its files only.

use std::io;

use super::{StateDir, StateError};
use crate::export::push::{PushHealth, PushState};

const STATE: &str = "push.state";
const HEALTH: &str = "push.json";

impl StateDir {
    /// What is owed and what was sent; empty where nothing was ever pushed.
    pub fn push_state(&self) -> Result<PushState, StateError> {
        Ok(self.read_sealed(STATE)?.unwrap_or_default())
    }

    /// Writes it, whole or not at all.
    pub fn save_push_state(&self, state: &PushState) -> Result<(), StateError> {
        self.write_sealed(STATE, state)
    }

    /// What was noted last.
    pub fn push_health(&self) -> Option<PushHealth> {
        self.read_note(HEALTH)
    }

    /// Notes it for people.
    pub fn save_push_health(&self, health: &PushHealth) -> io::Result<()> {
        self.write_note(HEALTH, health)
    }
}
