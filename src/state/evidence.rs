//! Where evidence lies, and how its recorder is doing. Owns the names only.

use std::{io, path::PathBuf};

use super::StateDir;
use crate::evidence::recorder::RecorderStatus;

const DIRECTORY: &str = "evidence";
const STATUS: &str = "evidence.json";

impl StateDir {
    /// The directory of the store.
    pub fn evidence(&self) -> PathBuf {
        self.file(DIRECTORY)
    }

    /// What the recorder noted last.
    pub fn recorder_status(&self) -> Option<RecorderStatus> {
        self.read_note(STATUS)
    }

    /// Notes it for people.
    pub fn save_recorder_status(&self, status: &RecorderStatus) -> io::Result<()> {
        self.write_note(STATUS, status)
    }
}
