//! What `doctor --mission-control` found last. A note for `status` and the exporters; nothing is decided by it.

use std::io;

use serde::{Deserialize, Serialize};

use super::StateDir;

const REACHED: &str = "mission_control.json";

/// Whether Mission Control was reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// When it was tried. Unix time, ns.
    pub unix_ns: u64,
    /// Every step went well.
    pub ok: bool,
    /// The check that failed: a heading of docs/DOCTOR.md.
    pub step: Option<String>,
    /// What it found.
    pub found: Option<String>,
}

impl StateDir {
    /// What was found last, if ever.
    pub fn reached(&self) -> Option<Reached> {
        self.read_note(REACHED)
    }

    /// Notes it.
    pub fn save_reached(&self, reached: &Reached) -> io::Result<()> {
        self.write_note(REACHED, reached)
    }
}
