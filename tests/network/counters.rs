//! `nodewall counters -o json`, typed. Every cell keeps what it is about, so that a test can say which ones moved and by how much.

use std::collections::BTreeMap;

use nodewall_testbed::Protocol;
use serde_json::Value;

/// What one counter is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cell {
    pub(super) class: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) protocol: Option<String>,
    pub(super) outcome: String,
    pub(super) reason: String,
}

impl Cell {
    /// A port that the policy names.
    pub(super) fn port(class: &str, port: u16, protocol: Protocol, outcome: &str, reason: &str) -> Self {
        Self { class: Some(class.into()), port: Some(port), ..Self::unnamed(protocol, outcome, reason) }
    }

    /// All ports that the policy does not name.
    pub(super) fn unmanaged(protocol: Protocol) -> Self {
        Self::unnamed(protocol, "pass", "unmanaged")
    }

    /// Packets without a port.
    pub(super) fn portless(outcome: &str, reason: &str) -> Self {
        Self { class: None, port: None, protocol: None, outcome: outcome.into(), reason: reason.into() }
    }

    fn unnamed(protocol: Protocol, outcome: &str, reason: &str) -> Self {
        Self { protocol: Some(protocol.name().into()), ..Self::portless(outcome, reason) }
    }
}

/// Packets per cell, without cells at zero.
pub(super) type Cells = BTreeMap<Cell, u64>;

/// All counters at one time.
#[derive(Debug, Default)]
pub(super) struct Counters {
    packets: Cells,
    bytes: Cells,
}

impl Counters {
    pub(super) fn parse(json: &Value) -> Self {
        let mut counters = Self::default();
        for row in json["rows"].as_array().expect("no rows in the counters") {
            let text = |key: &str| row[key].as_str().map(str::to_owned);
            assert_eq!(row["direction"], "in", "{row}");
            let port = row["port"].as_u64().map(|port| u16::try_from(port).unwrap());
            let cell = Cell {
                class: text("class"),
                port,
                protocol: text("protocol"),
                outcome: text("outcome").unwrap(),
                reason: text("reason").unwrap(),
            };
            let packets = row["packets"].as_u64().unwrap();
            if packets > 0 {
                let twice = counters.packets.insert(cell.clone(), packets);
                assert_eq!(twice, None, "two rows for {cell:?}");
                counters.bytes.insert(cell, row["bytes"].as_u64().unwrap());
            }
        }
        counters
    }

    pub(super) fn packets(&self, cell: &Cell) -> u64 {
        self.packets.get(cell).copied().unwrap_or_default()
    }

    pub(super) fn bytes(&self, cell: &Cell) -> u64 {
        self.bytes.get(cell).copied().unwrap_or_default()
    }

    fn of(&self, wanted: impl Fn(&Cell) -> bool) -> Cells {
        let found = self.packets.iter().filter(|(cell, _)| wanted(cell));
        found.map(|(cell, packets)| (cell.clone(), *packets)).collect()
    }

    /// Whatever was dropped, or would have been.
    pub(super) fn drops(&self) -> Cells {
        self.of(|cell| cell.outcome != "pass")
    }

    /// All cells of ports that the policy names, and all drops besides.
    pub(super) fn named_and_drops(&self) -> Cells {
        self.of(|cell| cell.class.is_some() || cell.outcome != "pass")
    }

    /// Ports that the policy does not name, and all drops besides.
    pub(super) fn unmanaged_and_drops(&self) -> Cells {
        self.of(|cell| cell.reason == "unmanaged" || cell.outcome != "pass")
    }
}
