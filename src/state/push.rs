//! What the push to the vendor has sent and still owes, and how it is doing. Owns the names of its files only.

use std::{
    fs::OpenOptions,
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
};

use super::{StateDir, StateError};
use crate::export::push::{Ledger, Standing};

const LEDGER: &str = "push.state";
/// Overwritten in place.
const WAY: &str = "push.way";
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

    /// How far the last request has come.
    pub fn push_way(&self) -> Option<String> {
        std::fs::read_to_string(self.file(WAY)).ok()
    }

    /// Notes it, by one call that is done as soon as it is made, and not flushed: for a killed process, not for a power cut.
    pub fn save_push_way(&self, record: &str) -> Result<(), StateError> {
        let path = self.file(WAY);
        let write = || -> io::Result<()> {
            let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
            file.write_all_at(record.as_bytes(), 0)
        };
        write().map_err(StateError::io(format!("can not write {}", path.display())))
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
