//! All that a data path has counted so far, as the ledger is shown it.

use ipnet::IpNet;
use node_ebpf_common::{
    counter::{Counter, Outcome},
    maps::RowRecord,
    peer_traffic::Direction,
};

/// All that a data path has counted so far. Whoever reads it reads the peers' part last: a frame is counted on its row first, so that no more is ever missing
/// from the peers' sums than from the rows'.
#[derive(Clone, Debug, Default)]
pub struct Counted {
    /// What the rows are.
    pub rows: Vec<RowRecord>,
    /// What came.
    pub came: Vec<InCell>,
    /// What was sent.
    pub sent: Vec<OutCell>,
    /// What of both was with which peer.
    pub peers: Vec<PeerCell>,
}

/// What came on a row, of one outcome and reason.
#[derive(Clone, Copy, Debug)]
pub struct InCell {
    /// Counter row.
    pub row: u32,
    /// What became of it.
    pub outcome: Outcome,
    /// The sum.
    pub counter: Counter,
}

/// What was sent on a row.
#[derive(Clone, Copy, Debug)]
pub struct OutCell {
    /// Counter row.
    pub row: u32,
    /// The sum.
    pub counter: Counter,
}

/// What of a row was with one peer, which has a slot and a column of its own.
#[derive(Clone, Copy, Debug)]
pub struct PeerCell {
    /// Counter row.
    pub row: u32,
    /// Which way.
    pub direction: Direction,
    /// The peer.
    pub peer: IpNet,
    /// The sum.
    pub counter: Counter,
}
