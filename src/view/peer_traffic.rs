//! The peer matrix, as rows: what `counters --per-peer` prints and every exporter shows. It must not print.

use node_ebpf_common::{counter::Counter, maps::RowRecord};
use serde::Serialize;

use nodewall_datapath::{DatapathError, Maps, PeerCell};
use nodewall_policy::{Place, config::show, peer_of};

/// Name of all peers together that have no counters of their own.
pub const OTHER_PEERS: &str = "other";

/// The matrix at one time.
#[derive(Clone, Debug, Serialize)]
pub struct PeerTraffic {
    /// Number of the policy image in force.
    pub generation: u64,
    /// Whether the image in force counts for each peer. Where it does not, the rows stand still.
    pub enabled: bool,
    /// Every cell that ever moved, by class, port, protocol, direction, peer.
    pub rows: Vec<PeerRow>,
}

/// One port's traffic with one peer, one way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PeerRow {
    /// The peer as the policy names it, or [`OTHER_PEERS`].
    pub peer: String,
    /// Port class; `null` for the ports that have no counters of their own for each peer.
    pub class: Option<String>,
    /// The port; `null` there too, and for ranges that share a row.
    pub port: Option<u16>,
    /// First and last port of a range that shares a row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ports: Option<String>,
    /// `tcp` or `udp`; `null` where `class` is.
    pub protocol: Option<&'static str>,
    /// `in` or `out`.
    pub direction: &'static str,
    /// Frames.
    pub packets: u64,
    /// As in the counters.
    pub bytes: u64,
}

impl PeerTraffic {
    /// Reads it.
    pub fn read(maps: &Maps) -> Result<Self, DatapathError> {
        let facts = maps.in_force_facts()?;
        let records = maps.rows()?;
        let mut rows: Vec<PeerRow> = maps.peer_cells(&records)?.iter().map(|cell| row(cell, &records)).collect();
        // Within a port the peers stay in the order of their slots, others last.
        rows.sort_by(|a, b| order(a).cmp(&order(b)));
        Ok(Self { generation: facts.generation, enabled: facts.per_peer, rows })
    }
}

fn order(row: &PeerRow) -> impl Ord + '_ {
    (row.class.is_none(), &row.class, row.port, &row.ports, row.protocol, row.direction)
}

fn row(cell: &PeerCell, records: &[RowRecord]) -> PeerRow {
    let record = cell.row.and_then(|row| records.get(row as usize));
    let place = record.map_or_else(Place::default, Place::of);
    let peer = cell.peer.as_ref().and_then(peer_of).map_or_else(|| OTHER_PEERS.to_owned(), |net| show(&net));
    let (port, ports, direction) = (place.port(), place.range(), cell.direction.name());
    let (Place { class, protocol, .. }, Counter { packets, bytes }) = (place, cell.counter);
    PeerRow { peer, class, port, ports, protocol, direction, packets, bytes }
}
