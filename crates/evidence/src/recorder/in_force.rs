//! What is in force on the node, as the recorder is shown it: the data path's tables of denied traffic, and the policy. The agent implements it; whoever
//! tests can do so without a kernel.

use std::error::Error;

use ipnet::IpNet;
use node_ebpf_common::{flow::FlowEntry, maps::RowRecord};

use crate::ledger::Counted;
use nodewall_host::state::Stamp;

/// Why something could not be read; it is only told.
pub type Failure = Box<dyn Error>;

/// What is in force on the node.
pub trait InForce: Send {
    /// The data path that is pinned, ready to be swept; `None`: there is none.
    fn data_path(&self, budget: CaptureBudget) -> Result<Option<Box<dyn DataPath>>, Failure>;
    /// Changes whenever [`Self::policy`] may have changed. Cheap.
    fn policy_stamp(&self) -> Vec<Option<Stamp>>;
    /// The policy in force; `None`: there is none.
    fn policy(&self) -> Result<Option<PolicyInForce>, Failure>;
}

/// A live data path. From the first [`Self::sweep`] on frames are captured.
pub trait DataPath {
    /// Number that its counters have in the kernel: tells it from every other of the same boot.
    fn counters_id(&self) -> u32;
    /// Whether it is still what is pinned. Pins that were taken away may be put back.
    fn is_pinned(&self) -> Result<bool, Failure>;
    /// Number of its policy.
    fn generation(&self) -> Result<u64, Failure>;
    /// The counter rows of its policy.
    fn rows(&self) -> Result<Vec<RowRecord>, Failure>;
    /// Packets and bytes that its counters say were denied, in both modes.
    fn denied(&self) -> Result<[u64; 2], Failure>;
    /// When its counters began, Unix ns; `None`: nobody knows.
    fn began_unix_ns(&self) -> Option<u64>;
    /// All that its counters say, for the ledger: the rows first, the peers last.
    fn counted(&self) -> Result<Counted, Failure>;
    /// Captures by another budget from now on.
    fn configure(&mut self, budget: CaptureBudget);
    /// Why no frame is captured, though frames should be.
    fn captures_problem(&self) -> Option<String>;
    /// Whether anything was denied since the last sweep. Cheap.
    fn has_moved(&self) -> bool;
    /// Takes what was noted since the last sweep, and grants captures for `elapsed_ns` more.
    fn sweep(&mut self, elapsed_ns: u64) -> Result<Sweep, Failure>;
}

/// How much is captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptureBudget {
    /// Of a frame.
    pub snap_bytes: u32,
    /// In a second, over all CPUs.
    pub per_second: u32,
}

/// What the data path noted since the sweep before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sweep {
    /// Denied flows; one that came by several CPUs is there for each.
    pub flows: Vec<FlowEntry>,
    /// All denied frames.
    pub denied_packets: u64,
    /// Packets and bytes of those that are in no flow: the table was full.
    pub not_attributed: [u64; 2],
    /// First frames of flows that were not captured: beyond the budget.
    pub over_budget: u64,
    /// First frames of flows that no buffer took: it was full, or nobody read it.
    pub unread: u64,
    /// Captured frames.
    pub captures: Vec<RawCapture>,
}

/// A captured frame as the kernel gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawCapture {
    /// The flow at its first frame, and when that was.
    pub entry: FlowEntry,
    /// The CPU that judged it.
    pub cpu: u32,
    /// The frame's first bytes.
    pub frame: Vec<u8>,
}

/// A policy, as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyInForce {
    /// Its number.
    pub generation: u64,
    /// Unix time at which it came into force, ns.
    pub since_unix_ns: u64,
    /// `audit` or `enforce`.
    pub mode: String,
    /// SHA-256, hexadecimal.
    pub sha256: String,
    /// The cluster's nodes, in any order.
    pub peers: Vec<IpNet>,
    /// All of it, as JSON.
    pub text: Option<String>,
}
