//! Where evidence lies, and how its recorder is doing. Owns the names only.

use std::{io, path::PathBuf};

use super::{Stamp, StateDir, good::GOOD, journal::JOURNAL};
use crate::evidence::Standing;

const DIRECTORY: &str = "evidence";
const STANDING: &str = "evidence.json";

impl StateDir {
    /// The directory of the store.
    pub fn evidence(&self) -> PathBuf {
        self.file(DIRECTORY)
    }

    /// The files whose changes are evidence, too: the policy in force and the journal.
    pub fn recorded_stamps(&self) -> [Option<Stamp>; 2] {
        [GOOD, JOURNAL].map(|name| Stamp::of(&self.file(name)))
    }

    /// What the recorder noted last.
    pub fn evidence_standing(&self) -> Option<Standing> {
        self.read_note(STANDING)
    }

    /// Notes it for people.
    pub fn save_evidence_standing(&self, standing: &Standing) -> io::Result<()> {
        self.write_note(STANDING, standing)
    }
}
