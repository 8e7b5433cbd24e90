//! Evidence: what was dropped (or would have been), kept so that it stands up weeks later. Batches of records come in from the agent's recorder, go into
//! the store with a chain over them, and are asked for by commands. It must not decide anything, and must not slow what does.

pub mod chain;
pub mod ecs;
pub mod layers;
pub mod node;
pub mod outlet;
pub mod pcapng;
pub mod record;
pub mod recorder;
pub mod report;
pub mod select;
pub mod store;
pub mod when;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use nodewall_host::state::{Note, StateDir};

/// Where the store lies in the state directory.
pub fn directory(state: &StateDir) -> PathBuf {
    state.file("evidence")
}

/// How the recorder is doing: a note for `status` and the exporters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Why nothing is recorded; `None`: it is.
    pub problem: Option<String>,
    /// Why no frame is captured, though frames should be; flows are recorded all the same.
    #[serde(default)]
    pub captures_problem: Option<String>,
    /// Denied frames in flows of the store, since it began.
    pub flow_packets: u64,
    /// Captured frames, likewise.
    pub captures: u64,
    /// What is missing, by kind, likewise.
    pub losses: Vec<(String, u64)>,
    /// Number of the last batch.
    pub last_seq: u64,
    /// Unix time at which something was recorded last, ns.
    pub last_unix_ns: u64,
    /// Where records go besides, and how that goes.
    pub outputs: Vec<outlet::Standing>,
}

impl Note for Standing {
    const FILE: &'static str = "evidence.json";
}
