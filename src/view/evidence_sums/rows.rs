//! Sums as rows: what `events list --group-by` prints, in every format.

use std::net::IpAddr;

use serde::Serialize;

use super::totals::Totals;
use crate::view::evidence::{Row, dash, port_text, to_the_second};
use nodewall_evidence::{
    record::{Loss, LossKind},
    store::Stored,
    when::Zone,
};

/// Of many ports a cell of a table names these, and how many more there are.
const PORTS_IN_A_CELL: usize = 3;

/// What is summed.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Sums {
    /// Frames that were dropped.
    pub dropped_packets: u64,
    /// Frames that would have been, had the policy been enforced.
    pub would_drop_packets: u64,
    /// Bytes of both.
    pub bytes: u64,
    /// Flows.
    pub flows: u64,
    /// Time of the first frame in the zone asked for.
    pub first: String,
    /// Time of the last frame.
    pub last: String,
    /// The same in Unix ns.
    pub first_unix_ns: u64,
    /// The same in Unix ns.
    pub last_unix_ns: u64,
}

impl Sums {
    pub(super) fn of(totals: Totals, zone: &Zone) -> Self {
        let Totals { dropped_packets, would_drop_packets, bytes, flows, first_unix_ns, last_unix_ns } = totals;
        let (first, last) = (zone.show(first_unix_ns), zone.show(last_unix_ns));
        Self { dropped_packets, would_drop_packets, bytes, flows, first, last, first_unix_ns, last_unix_ns }
    }

    fn amounts(&self) -> [String; 3] {
        [self.dropped_packets.to_string(), self.would_drop_packets.to_string(), self.bytes.to_string()]
    }

    fn times(&self) -> [String; 2] {
        [to_the_second(&self.first), to_the_second(&self.last)]
    }
}

/// All that came from one source.
#[derive(Clone, Debug, Serialize)]
pub struct SourceSum {
    /// What the frames said; `null`: they had no sound IP header.
    pub source: Option<IpAddr>,
    /// Always `false`: a denied frame proves no sender.
    pub source_verified: bool,
    /// Destination ports, or protocols where there is none.
    pub ports: Vec<String>,
    /// Interfaces that it came in by.
    pub interfaces: Vec<String>,
    /// Link-layer senders.
    pub macs: Vec<String>,
    /// How much.
    #[serde(flatten)]
    pub sums: Sums,
}

/// All that was to go to one port.
#[derive(Clone, Debug, Serialize)]
pub struct PortSum {
    /// Destination port.
    pub port: Option<u16>,
    /// As in the record.
    pub protocol: &'static str,
    /// Its classes: more than one where the policy changed.
    pub classes: Vec<String>,
    /// How many sources said to have sent it.
    pub sources: usize,
    /// How much.
    #[serde(flatten)]
    pub sums: Sums,
}

/// All that came within an hour.
#[derive(Clone, Debug, Serialize)]
pub struct HourSum {
    /// When the hour began, in the zone asked for. A flow is in the hour of its first frame.
    pub hour: String,
    /// The same in Unix ns.
    pub hour_unix_ns: u64,
    /// How many sources said to have sent it.
    pub sources: usize,
    /// To how many ports.
    pub ports: usize,
    /// How much.
    #[serde(flatten)]
    pub sums: Sums,
}

/// How much of a kind is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LossSum {
    /// The loss's stable name.
    pub loss: &'static str,
    /// Captures are missing, else frames.
    #[serde(skip)]
    pub is_of_captures: bool,
    /// Frames; or captures.
    pub packets: u64,
    /// Bytes; 0 for captures.
    pub bytes: u64,
}

/// By kind; kinds of which nothing is missing are left out.
pub fn by_loss(losses: &[Stored<Loss>]) -> Vec<LossSum> {
    let of = |kind: LossKind| {
        let mut sum = LossSum { loss: kind.name(), is_of_captures: kind.is_of_captures(), packets: 0, bytes: 0 };
        for loss in losses.iter().map(|stored| &stored.record).filter(|loss| loss.kind == kind) {
            sum.packets += loss.packets;
            sum.bytes += loss.bytes;
        }
        sum
    };
    LossKind::ALL.into_iter().map(of).filter(|sum| sum.packets > 0 || sum.bytes > 0).collect()
}

fn some_of(ports: &[String]) -> String {
    let named = ports.iter().take(PORTS_IN_A_CELL).cloned().collect::<Vec<_>>().join(" ");
    match ports.len().saturating_sub(PORTS_IN_A_CELL) {
        0 => named,
        more => format!("{named} +{more}"),
    }
}

impl Row for SourceSum {
    const TABLE: &'static [&'static str] =
        &["source", "ports", "dropped", "would drop", "bytes", "first seen", "last seen"];
    const NUMBERS: &'static [usize] = &[2, 3, 4];
    const CSV: &'static str =
        "source_unverified,ports,interfaces,macs,dropped_packets,would_drop_packets,bytes,flows,first,last";

    fn table(&self) -> Vec<String> {
        let source = self.source.map_or_else(dash, |source| source.to_string());
        [&[source, some_of(&self.ports)][..], &self.sums.amounts(), &self.sums.times()].concat()
    }
}

impl Row for PortSum {
    const TABLE: &'static [&'static str] =
        &["port", "class", "sources", "dropped", "would drop", "bytes", "first seen", "last seen"];
    const NUMBERS: &'static [usize] = &[2, 3, 4, 5];
    const CSV: &'static str = "port,protocol,classes,sources,dropped_packets,would_drop_packets,bytes,flows,first,last";

    fn table(&self) -> Vec<String> {
        let classes = if self.classes.is_empty() { dash() } else { self.classes.join(" ") };
        let lead = [port_text(self.port, self.protocol), classes, self.sources.to_string()];
        [&lead[..], &self.sums.amounts(), &self.sums.times()].concat()
    }
}

impl Row for HourSum {
    const TABLE: &'static [&'static str] = &["hour", "sources", "ports", "dropped", "would drop", "bytes"];
    const NUMBERS: &'static [usize] = &[1, 2, 3, 4, 5];
    const CSV: &'static str = "hour,sources,ports,dropped_packets,would_drop_packets,bytes,flows,first,last";

    fn table(&self) -> Vec<String> {
        let lead = [self.hour.clone(), self.sources.to_string(), self.ports.to_string()];
        [&lead[..], &self.sums.amounts()].concat()
    }
}
