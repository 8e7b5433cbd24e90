//! What `doctor --mission-control` found last. A note for `status` and the exporters; nothing is decided by it.

use serde::{Deserialize, Serialize};

use nodewall_host::state::Note;

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

impl Note for Reached {
    const FILE: &'static str = "mission_control.json";
}
