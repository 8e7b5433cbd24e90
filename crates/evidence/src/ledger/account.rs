//! What an amount is of, and for how long. It must not know where amounts come from or lie.

use ipnet::IpNet;
use node_ebpf_common::{counter::Outcome, peer_traffic::Direction};
use nodewall_policy::Place;

/// What an amount is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Account {
    /// The port.
    pub place: Place,
    /// Whether it came or was sent.
    pub direction: Direction,
    /// What became of it; what is sent passes.
    pub outcome: Outcome,
    /// The peer that it came from or went to. `None`: no peer, or one that is not counted by itself.
    pub peer: Option<IpNet>,
}

/// What is summed up in one row of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// A minute.
    Minute,
    /// An hour.
    Hour,
    /// A day of UTC.
    Day,
}

impl Step {
    /// All, the finest first.
    pub const ALL: [Self; 3] = [Self::Minute, Self::Hour, Self::Day];

    /// How long it is.
    pub const fn seconds(self) -> u64 {
        match self {
            Self::Minute => 60,
            Self::Hour => 3_600,
            Self::Day => 86_400,
        }
    }

    /// When the one begins that a time (Unix s) is in.
    pub const fn start(self, unix_s: u64) -> u64 {
        unix_s - unix_s % self.seconds()
    }
}

/// A time in which something was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// Its beginning, Unix s.
    pub first_unix_s: u64,
    /// Its end, Unix s.
    pub until_unix_s: u64,
}
