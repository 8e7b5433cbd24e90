//! How the recorder is doing, as it notes it for `status` and the exporters.

use serde::{Deserialize, Serialize};

use crate::{output::OutputStatus, record::LossKind};
use nodewall_host::state::Note;

/// How the recorder is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecorderStatus {
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
    /// Ports that a peer used and had not used before, since the agent began.
    #[serde(default)]
    pub first_uses: u64,
    /// Number of the last batch.
    pub last_seq: u64,
    /// Unix time at which something was recorded last, ns.
    pub last_unix_ns: u64,
    /// Where records go besides, and how that goes.
    pub outputs: Vec<OutputStatus>,
}

impl RecorderStatus {
    /// Frames that are in no flow, and first frames of flows that are not captured.
    pub fn lost(&self) -> [u64; 2] {
        self.losses.iter().fold([0; 2], |[frames, captures], (name, n)| {
            let is_of_captures = LossKind::ALL.iter().any(|kind| kind.is_of_captures() && kind.name() == name);
            if is_of_captures { [frames, captures + n] } else { [frames + n, captures] }
        })
    }
}

impl Note for RecorderStatus {
    const FILE: &'static str = "evidence.json";
}
