//! What the push to the vendor has sent and still owes, and how it is doing. Owns the names of its files only.

use std::io;

use super::{StateDir, StateError};
use crate::export::push::{Ledger, Standing};

const LEDGER: &str = "push.state";
const STANDING: &str = "push.json";

impl StateDir {
    /// What is owed and what was sent; empty where nothing was ever pushed.
    pub fn push_ledger(&self) -> Result<Ledger, StateError> {
        Ok(self.read_sealed(LEDGER)?.unwrap_or_default())
    }

    /// Writes it, whole or not at all.
    pub fn save_push_ledger(&self, ledger: &Ledger) -> Result<(), StateError> {
        self.write_sealed(LEDGER, ledger)
    }

    /// What was noted last.
    pub fn push_standing(&self) -> Option<Standing> {
        self.read_note(STANDING)
    }

    /// Notes it for people.
    pub fn save_push_standing(&self, standing: &Standing) -> io::Result<()> {
        self.write_note(STANDING, standing)
    }
}
