//! `nodewall counters -o json`, typed. Every cell keeps what it is about, so that a test can say which ones moved and by how much.

use std::collections::BTreeMap;

use nodewall_testbed::Protocol;
use serde_json::Value;

/// What one counter is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    pub class: Option<String>,
    pub port: Option<u16>,
    pub protocol: Option<String>,
    pub outcome: String,
    pub reason: String,
}

impl Cell {
    /// A port that the policy names.
    pub fn port(class: &str, port: u16, protocol: Protocol, outcome: &str, reason: &str) -> Self {
        Self { class: Some(class.into()), port: Some(port), ..Self::unnamed(protocol, outcome, reason) }
    }

    /// All ports that the policy does not name.
    pub fn unmanaged(protocol: Protocol) -> Self {
        Self::unnamed(protocol, "pass", "unmanaged")
    }

    /// Packets without a port.
    pub fn portless(outcome: &str, reason: &str) -> Self {
        Self { class: None, port: None, protocol: None, outcome: outcome.into(), reason: reason.into() }
    }

    fn unnamed(protocol: Protocol, outcome: &str, reason: &str) -> Self {
        Self { protocol: Some(protocol.name().into()), ..Self::portless(outcome, reason) }
    }
}

/// Packets per cell, without cells at zero.
pub type Cells = BTreeMap<Cell, u64>;

/// All counters at one time.
#[derive(Debug, Default)]
pub struct Counters {
    packets: Cells,
    bytes: Cells,
    sent: BTreeMap<Cell, Sent>,
}

/// Outbound frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    pub packets: u64,
    pub bytes: u64,
}

impl Counters {
    pub fn parse(json: &Value) -> Self {
        let mut counters = Self::default();
        for row in json["rows"].as_array().expect("no rows in the counters") {
            let text = |key: &str| row[key].as_str().map(str::to_owned);
            let port = row["port"].as_u64().map(|port| u16::try_from(port).unwrap());
            let cell = Cell {
                class: text("class"),
                port,
                protocol: text("protocol"),
                outcome: text("outcome").unwrap(),
                reason: text("reason").unwrap(),
            };
            let packets = row["packets"].as_u64().unwrap();
            if row["direction"] == "out" {
                let bytes = row["bytes"].as_u64().unwrap();
                let twice = counters.sent.insert(cell.clone(), Sent { packets, bytes });
                assert_eq!(twice, None, "two outbound rows for {cell:?}");
                continue;
            }
            assert_eq!(row["direction"], "in", "{row}");
            if packets > 0 {
                let twice = counters.packets.insert(cell.clone(), packets);
                assert_eq!(twice, None, "two rows for {cell:?}");
                counters.bytes.insert(cell, row["bytes"].as_u64().unwrap());
            }
        }
        counters
    }

    pub fn packets(&self, cell: &Cell) -> u64 {
        self.packets.get(cell).copied().unwrap_or_default()
    }

    pub fn bytes(&self, cell: &Cell) -> u64 {
        self.bytes.get(cell).copied().unwrap_or_default()
    }

    /// What was sent on one row.
    pub fn sent(&self, cell: &Cell) -> Sent {
        self.sent.get(cell).copied().unwrap_or_default()
    }

    /// What was sent to one port over TCP, whatever its class is called; Mission Control's row has no port.
    pub fn sent_to(&self, port: u16) -> Sent {
        let is = |cell: &Cell| {
            cell.port == Some(port) && cell.protocol.as_deref() == Some("tcp") && cell.reason == "sent_to_port"
        };
        self.sent.iter().find(|(cell, _)| is(cell)).map(|(_, sent)| *sent).unwrap_or_default()
    }

    /// Everything that was sent, once: what went to Mission Control is on its port's row as well.
    pub fn sent_altogether(&self) -> Sent {
        let rows = self.sent.iter().filter(|(cell, _)| cell.class.as_deref() != Some("mission_control"));
        rows.fold(Sent::default(), |sum, (_, row)| Sent {
            packets: sum.packets + row.packets,
            bytes: sum.bytes + row.bytes,
        })
    }

    fn of(&self, wanted: impl Fn(&Cell) -> bool) -> Cells {
        let found = self.packets.iter().filter(|(cell, _)| wanted(cell));
        found.map(|(cell, packets)| (cell.clone(), *packets)).collect()
    }

    /// Whatever was dropped, or would have been.
    pub fn drops(&self) -> Cells {
        self.of(|cell| cell.outcome != "pass")
    }

    /// All cells of ports that the policy names, and all drops besides.
    pub fn named_and_drops(&self) -> Cells {
        self.of(|cell| cell.class.is_some() || cell.outcome != "pass")
    }

    /// Ports that the policy does not name, and all drops besides.
    pub fn unmanaged_and_drops(&self) -> Cells {
        self.of(|cell| cell.reason == "unmanaged" || cell.outcome != "pass")
    }
}
