//! What the registry tells: entries, differences between sources, how the sources fare. Plain values.

use std::time::Duration;

use ipnet::IpNet;
use serde::Serialize;

use super::SourceName;

/// Whether a peer counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum PeerState {
    /// It counts.
    Active,
    /// It counts, but no source knows it any more.
    Leaving {
        /// When it stops counting: Unix time, ns, by the wall clock at the time it was dropped.
        until_unix_ns: u64,
    },
    /// A source knows it, and it does not count.
    Held {
        /// Why not.
        why: String,
    },
    /// An operator removed it; it does not count until every source has dropped it, and then is forgotten.
    Tombstone,
}

impl PeerState {
    /// Whether packets from it are a peer's.
    pub const fn counts(&self) -> bool {
        matches!(self, Self::Active | Self::Leaving { .. })
    }

    /// Its name in outputs and in the journal.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Leaving { .. } => "leaving",
            Self::Held { .. } => "held",
            Self::Tombstone => "tombstone",
        }
    }
}

/// One address or prefix of the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Without host bits.
    pub prefix: IpNet,
    /// Whether it counts.
    pub state: PeerState,
    /// The sources whose last answer holds it, as it is written here.
    pub sources: Vec<SourceName>,
    /// Since when it is known without a break: Unix time, ns.
    pub since_unix_ns: u64,
    /// Leaving, or admitted for a time: how long it still counts.
    pub left: Option<Duration>,
    /// Who admitted or removed it, where an operator did.
    pub by: Option<String>,
}

/// Who knows an address and who does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The address or prefix.
    pub prefix: IpNet,
    /// Whether it counts.
    pub state: PeerState,
    /// Sources that name it, or a prefix that holds it.
    pub known_by: Vec<SourceName>,
    /// Sources that have answered and do not.
    pub unknown_to: Vec<SourceName>,
}

impl Difference {
    /// Only one of several sources knows it: whoever controls that source alone can let an address in.
    pub fn has_one_witness(&self) -> bool {
        self.known_by.len() == 1 && !self.unknown_to.is_empty()
    }
}

/// How a source fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceStatus {
    /// Its name.
    pub name: SourceName,
    /// How many peers its last answer holds.
    pub peers: usize,
    /// When it last answered: Unix time, ns. `None`: never.
    pub answered_unix_ns: Option<u64>,
    /// How long ago that was by the wall clock.
    pub age: Option<Duration>,
    /// Since when (Unix time, ns) it gives no answer, and why.
    pub failing: Option<(u64, String)>,
}
