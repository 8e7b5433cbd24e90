//! The store: one `SQLite` database in the state directory, written by the agent alone, read by commands beside it. Batches go in whole; the oldest leave
//! when they are too old or too many. It must not know where records come from or who reads them.
//!
//! ```text
//! batches    seq, time, counts, leaves, hash of the one before, hash       the chain
//! segments   first and last seq, seal                                      every so many batches
//! flows, captures, losses, events                                          id, seq, what record.rs says
//! names      interfaces, classes; meta: totals, the anchor of what retention took away, the recorder's notes
//! ```

mod error;
mod insert;
mod reader;
mod retention;
mod rows;
mod schema;
mod verify;
mod writer;

use ipnet::IpNet;
use node_ebpf_common::Reason;

pub use error::StoreError;
pub use reader::{Numbered, Reader};
pub use writer::{Appended, LastWord, Opened, Writer};

use super::record::{LossKind, Outcome};

/// Name of the database within its directory.
pub const FILE: &str = "evidence.db";

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of the database with its write-ahead log.
    pub max_bytes: u64,
    /// Older batches go.
    pub max_age_ns: u64,
}

/// A record and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored<T> {
    /// Its number among its kind.
    pub id: i64,
    /// Its batch.
    pub seq: u64,
    /// The record.
    pub record: T,
}

/// What is asked for; what is empty asks nothing.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Not over before.
    pub since_unix_ns: Option<u64>,
    /// Begun by then.
    pub until_unix_ns: Option<u64>,
    /// To one of these ports.
    pub ports: Vec<u16>,
    /// From within one of these.
    pub sources: Vec<IpNet>,
    /// For one of these reasons.
    pub reasons: Vec<Reason>,
    /// With this outcome.
    pub outcome: Option<Outcome>,
    /// No more than this.
    pub limit: Option<usize>,
    /// These numbers.
    pub ids: Vec<i64>,
    /// Numbers below this one: where the page before ended.
    pub below: Option<i64>,
}

/// What went into the store since it began, whether it is still there or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Denied frames in flows.
    pub flow_packets: u64,
    /// Their bytes.
    pub flow_bytes: u64,
    /// Captures.
    pub captures: u64,
    /// Packets and bytes of each kind of loss, in the order of [`LossKind::ALL`].
    pub losses: [[u64; 2]; LossKind::ALL.len()],
}

impl Totals {
    /// Packets and bytes of one kind of loss.
    pub fn loss(&self, kind: LossKind) -> [u64; 2] {
        LossKind::ALL.iter().zip(self.losses).find(|(k, _)| **k == kind).map_or([0; 2], |(_, amount)| amount)
    }

    /// Packets and bytes of all that was denied: in flows, or known not to be.
    pub fn denied(&self) -> [u64; 2] {
        let denied = [LossKind::NotAttributed, LossKind::NotKept, LossKind::Unrecorded].map(|kind| self.loss(kind));
        denied.iter().fold([self.flow_packets, self.flow_bytes], |[packets, bytes], [p, b]| [packets + p, bytes + b])
    }
}
