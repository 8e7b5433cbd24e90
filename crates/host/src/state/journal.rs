//! The journal: one line of JSON for each lever that an operator pulled and each opening or closing that followed, appended and flushed.

use std::{fs::OpenOptions, io::Write, os::unix::fs::OpenOptionsExt};

use serde::{Deserialize, Serialize};

use super::{Clock, StateDir, StateError, Who};

/// The journal's file in the state directory.
pub const JOURNAL: &str = "journal.jsonl";

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Unix time, ns.
    pub unix_ns: u64,
    /// What was done: `block`, `unblock`, `enforce`, `confirm`, `rollback`, `panic_open`, `detach`, `apply`, `repair`, …
    pub action: String,
    /// To what, and why.
    pub detail: String,
    /// Who wanted it. `None`: the agent did it by itself.
    pub who: Option<Who>,
}

impl StateDir {
    /// Appends to the journal.
    pub fn journal(&self, action: &str, detail: &str, who: Option<&Who>) -> Result<(), StateError> {
        let entry = Entry {
            unix_ns: Clock::now().unix_ns,
            action: action.to_owned(),
            detail: detail.to_owned(),
            who: who.cloned(),
        };
        let path = self.file(JOURNAL);
        let write = || -> std::io::Result<()> {
            let mut line = serde_json::to_vec(&entry)?;
            line.push(b'\n');
            let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
            // One write: lines of two processes do not mix.
            file.write_all(&line)?;
            file.sync_data()
        };
        write().map_err(StateError::io(format!("can not write {}", path.display())))
    }

    /// The journal's entries, oldest first; lines that are no entries are left out.
    pub fn journal_entries(&self) -> Vec<Entry> {
        let text = std::fs::read_to_string(self.file(JOURNAL)).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}
