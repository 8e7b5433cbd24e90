//! What was counted, as rows: what `counters -o json` prints and every exporter shows. It must not print.

use node_ebpf_common::{
    counter::{Counter, ROW_FIRST, ROW_MISSION_CONTROL, ROW_TCP_UNMANAGED, ROW_UDP_UNMANAGED},
    maps::RowRecord,
    outbound::Sent,
    peer_traffic::Direction,
};
use serde::Serialize;

use nodewall_datapath::{Cell, DatapathError, Maps, OutboundCell};
use nodewall_policy::Place;

/// Class name of what goes to Mission Control. Such rows are counted on their ports' rows as well.
pub const MISSION_CONTROL_CLASS: &str = "mission_control";

/// The counters at one time.
#[derive(Clone, Debug, Serialize)]
pub struct Counters {
    /// Number of the policy image in force.
    pub generation: u64,
    /// Every cell that ever moved: named ports first, in the order of their classes.
    pub rows: Vec<Row>,
}

/// One counter: where, which way, what became of it, why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Port class; `null` for what the policy does not name.
    pub class: Option<String>,
    /// The port; `null` for what the policy does not name, for ranges that share a row, and for packets without one.
    pub port: Option<u16>,
    /// First and last port of a range that shares a row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ports: Option<String>,
    /// `tcp`, `udp` or `ip`; `null` for packets that were not asked for one.
    pub protocol: Option<&'static str>,
    /// `in` or `out`.
    pub direction: &'static str,
    /// `pass`, `drop`, or in audit mode `would_drop`.
    pub outcome: &'static str,
    /// Name of the reason.
    pub reason: &'static str,
    /// Frames.
    pub packets: u64,
    /// Link-layer header and the IP packet's own length.
    pub bytes: u64,
}

impl Counters {
    /// Reads them.
    pub fn read(maps: &Maps) -> Result<Self, DatapathError> {
        let generation = maps.in_force_facts()?.generation;
        let records = maps.rows()?;
        let mut rows: Vec<Row> = maps.cells(&records)?.iter().map(|cell| row(cell, &records)).collect();
        rows.extend(maps.outbound_cells(&records)?.iter().map(|cell| outbound_row(cell, &records)));
        rows.sort_by(|a, b| order(a).cmp(&order(b)));
        Ok(Self { generation, rows })
    }
}

/// What tells a row from every other one.
pub type RowKey<'a> =
    (Option<&'a str>, (Option<u16>, Option<&'a str>), Option<&'static str>, &'static str, &'static str, &'static str);

impl Row {
    /// What tells it from every other row: class, ports, protocol, direction, outcome, reason.
    pub fn key(&self) -> RowKey<'_> {
        let ports = (self.port, self.ports.as_deref());
        (self.class.as_deref(), ports, self.protocol, self.direction, self.outcome, self.reason)
    }
}

/// Named ports first, in the order of classes, then what has no port.
fn order(row: &Row) -> (bool, &Option<String>, Option<u16>, Option<&'static str>, &'static str, &'static str) {
    (row.class.is_none(), &row.class, row.port, row.protocol, row.direction, row.reason)
}

fn row(cell: &Cell, records: &[RowRecord]) -> Row {
    let place = place(cell.row, records);
    Row {
        port: place.port(),
        ports: place.range(),
        class: place.class,
        protocol: place.protocol,
        direction: Direction::In.name(),
        outcome: cell.outcome.name(),
        reason: cell.reason.name(),
        packets: cell.counter.packets,
        bytes: cell.counter.bytes,
    }
}

/// What is sent passes: the reason says which of its ports the row is for.
fn outbound_row(cell: &OutboundCell, records: &[RowRecord]) -> Row {
    let place = place(cell.row, records);
    let reason = match (cell.row, cell.sent) {
        (ROW_TCP_UNMANAGED | ROW_UDP_UNMANAGED, _) => "unmanaged",
        (..ROW_FIRST, _) => "sent",
        (_, Sent::ToPort) => "sent_to_port",
        (_, Sent::FromPort) => "sent_from_port",
    };
    let Counter { packets, bytes } = cell.counter;
    let (port, ports) = (place.port(), place.range());
    let Place { class, protocol, .. } = place;
    Row { class, port, ports, protocol, direction: Direction::Out.name(), outcome: "pass", reason, packets, bytes }
}

fn place(row: u32, records: &[RowRecord]) -> Place {
    if row == ROW_MISSION_CONTROL {
        return Place { class: Some(MISSION_CONTROL_CLASS.into()), ports: None, protocol: Some("tcp") };
    }
    Place::of_row(row, records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use node_ebpf_common::{
        Reason,
        counter::{Outcome, ROW_PORTLESS},
    };
    use nodewall_policy::RowTable;

    /// What came without a port from a blocked source is on a row that no port has, and whose record is empty.
    #[test]
    fn a_blocked_packet_without_a_port_has_no_class_port_or_protocol() {
        let records = RowTable::default();
        for (outcome, name) in [(Outcome::Drop, "drop"), (Outcome::WouldDrop, "would_drop")] {
            let counter = Counter { packets: 3, bytes: 294 };
            let cell = Cell { row: ROW_PORTLESS, reason: Reason::BlockedSource, outcome, counter };
            let row = row(&cell, records.records());
            let place = (row.class, row.port, row.ports, row.protocol);
            assert_eq!(place, (None, None, None, None));
            assert_eq!((row.outcome, row.reason, row.packets, row.bytes), (name, "blocked_source", 3, 294));
        }
    }
}
