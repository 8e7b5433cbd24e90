//! Flows summed by source, port or hour. What was dropped and what only would have been are never added up. It must not read the store or print.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashSet},
    net::IpAddr,
};

use serde::Serialize;

use super::evidence::{Row, dash, port_text, to_the_second};
use crate::evidence::{
    layers,
    record::{Flow, Loss, LossKind, Outcome},
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
    fn of(totals: Totals, zone: &Zone) -> Self {
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

    fn csv(&self) -> [String; 6] {
        let [dropped, would_drop, bytes] = self.amounts();
        [dropped, would_drop, bytes, self.flows.to_string(), self.first.clone(), self.last.clone()]
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

/// The numbers of [`Sums`].
#[derive(Clone, Copy)]
struct Totals {
    dropped_packets: u64,
    would_drop_packets: u64,
    bytes: u64,
    flows: u64,
    first_unix_ns: u64,
    last_unix_ns: u64,
}

impl Totals {
    fn of(flows: &[&Flow]) -> Self {
        let packets = |outcome| flows.iter().filter(|f| f.key.outcome == outcome).map(|f| f.packets).sum();
        Self {
            dropped_packets: packets(Outcome::Drop),
            would_drop_packets: packets(Outcome::WouldDrop),
            bytes: flows.iter().map(|flow| flow.bytes).sum(),
            flows: flows.len() as u64,
            first_unix_ns: flows.iter().map(|flow| flow.first_unix_ns).min().unwrap_or(0),
            last_unix_ns: flows.iter().map(|flow| flow.last_unix_ns).max().unwrap_or(0),
        }
    }

    /// The largest first, then the latest.
    fn order(&self) -> (Reverse<u64>, Reverse<u64>) {
        (Reverse(self.dropped_packets + self.would_drop_packets), Reverse(self.last_unix_ns))
    }
}

/// Groups flows and gives the first `limit` groups. A flood has a million senders: only of groups that are shown more than numbers is made.
fn grouped<K: Ord, O: Ord, R>(
    flows: &[Stored<Flow>],
    limit: usize,
    key: impl Fn(&Flow) -> K,
    order: impl Fn(&K, &Totals) -> O,
    row: impl Fn(K, Totals, &[&Flow]) -> R,
) -> Vec<R> {
    let mut flows: Vec<&Flow> = flows.iter().map(|stored| &stored.record).collect();
    flows.sort_by_cached_key(|flow| key(flow));
    let mut groups: Vec<(O, Totals, &[&Flow])> = flows
        .chunk_by(|a, b| key(a) == key(b))
        .filter_map(|group| {
            let totals = Totals::of(group);
            Some((order(&key(group.first()?), &totals), totals, group))
        })
        .collect();
    groups.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    groups.truncate(limit);
    groups.into_iter().filter_map(|(_, totals, group)| Some(row(key(group.first()?), totals, group))).collect()
}

fn distinct<'a, T: Ord>(flows: &[&'a Flow], of: impl Fn(&'a Flow) -> Option<T>) -> BTreeSet<T> {
    flows.iter().filter_map(|flow| of(flow)).collect()
}

fn sources(flows: &[&Flow]) -> usize {
    flows.iter().map(|flow| flow.key.source).collect::<HashSet<_>>().len()
}

fn owned(names: BTreeSet<&str>) -> Vec<String> {
    names.into_iter().map(str::to_owned).collect()
}

/// By source, the largest first; at most `limit`.
pub fn by_source(flows: &[Stored<Flow>], zone: &Zone, limit: usize) -> Vec<SourceSum> {
    let order = |source: &Option<IpAddr>, totals: &Totals| (totals.order(), *source);
    grouped(
        flows,
        limit,
        |flow| flow.key.source,
        order,
        |source, totals, flows| {
            let ports = distinct(flows, |flow| Some((flow.key.port, flow.key.protocol)));
            SourceSum {
                source,
                source_verified: false,
                ports: ports.into_iter().map(|(port, protocol)| port_text(port, protocol)).collect(),
                interfaces: owned(distinct(flows, |flow| Some(flow.key.interface.as_str()))),
                macs: distinct(flows, |flow| Some(flow.mac)).iter().map(layers::mac).collect(),
                sums: Sums::of(totals, zone),
            }
        },
    )
}

/// By port and protocol, the largest first; at most `limit`.
pub fn by_port(flows: &[Stored<Flow>], zone: &Zone, limit: usize) -> Vec<PortSum> {
    let key = |flow: &Flow| (flow.key.port, flow.key.protocol);
    let order = |port: &(Option<u16>, &'static str), totals: &Totals| (totals.order(), *port);
    grouped(flows, limit, key, order, |(port, protocol), totals, flows| PortSum {
        port,
        protocol,
        classes: owned(distinct(flows, |flow| flow.class.as_deref())),
        sources: sources(flows),
        sums: Sums::of(totals, zone),
    })
}

/// By hour, the newest first; at most `limit`.
pub fn by_hour(flows: &[Stored<Flow>], zone: &Zone, limit: usize) -> Vec<HourSum> {
    let key = |flow: &Flow| zone.hour_start(flow.first_unix_ns);
    grouped(
        flows,
        limit,
        key,
        |hour, _| Reverse(*hour),
        |hour_unix_ns, totals, flows| HourSum {
            hour: zone.show_seconds(hour_unix_ns),
            hour_unix_ns,
            sources: sources(flows),
            ports: distinct(flows, |flow| Some((flow.key.port, flow.key.protocol))).len(),
            sums: Sums::of(totals, zone),
        },
    )
}

/// How much of a kind is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LossSum {
    /// The loss's stable name.
    pub loss: &'static str,
    /// Frames.
    pub packets: u64,
    /// Bytes; 0 for captures.
    pub bytes: u64,
}

/// By kind; kinds of which nothing is missing are left out.
pub fn by_loss(losses: &[Stored<Loss>]) -> Vec<LossSum> {
    let of = |kind: LossKind| {
        let mut sum = LossSum { loss: kind.name(), packets: 0, bytes: 0 };
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
    const CSV: &'static [&'static str] = &[
        "source_unverified",
        "ports",
        "interfaces",
        "macs",
        "dropped_packets",
        "would_drop_packets",
        "bytes",
        "flows",
        "first",
        "last",
    ];

    fn table(&self) -> Vec<String> {
        let source = self.source.map_or_else(dash, |source| source.to_string());
        let mut cells = vec![source, some_of(&self.ports)];
        cells.extend(self.sums.amounts());
        cells.extend(self.sums.times());
        cells
    }

    fn csv(&self) -> Vec<String> {
        let source = self.source.map(|source| source.to_string()).unwrap_or_default();
        let mut cells = vec![source, self.ports.join(" "), self.interfaces.join(" "), self.macs.join(" ")];
        cells.extend(self.sums.csv());
        cells
    }
}

impl Row for PortSum {
    const TABLE: &'static [&'static str] =
        &["port", "class", "sources", "dropped", "would drop", "bytes", "first seen", "last seen"];
    const NUMBERS: &'static [usize] = &[2, 3, 4, 5];
    const CSV: &'static [&'static str] = &[
        "port",
        "protocol",
        "classes",
        "sources",
        "dropped_packets",
        "would_drop_packets",
        "bytes",
        "flows",
        "first",
        "last",
    ];

    fn table(&self) -> Vec<String> {
        let classes = if self.classes.is_empty() { dash() } else { self.classes.join(" ") };
        let mut cells = vec![port_text(self.port, self.protocol), classes, self.sources.to_string()];
        cells.extend(self.sums.amounts());
        cells.extend(self.sums.times());
        cells
    }

    fn csv(&self) -> Vec<String> {
        let port = self.port.map(|port| port.to_string()).unwrap_or_default();
        let mut cells = vec![port, self.protocol.into(), self.classes.join(" "), self.sources.to_string()];
        cells.extend(self.sums.csv());
        cells
    }
}

impl Row for HourSum {
    const TABLE: &'static [&'static str] = &["hour", "sources", "ports", "dropped", "would drop", "bytes"];
    const NUMBERS: &'static [usize] = &[1, 2, 3, 4, 5];
    const CSV: &'static [&'static str] =
        &["hour", "sources", "ports", "dropped_packets", "would_drop_packets", "bytes", "flows", "first", "last"];

    fn table(&self) -> Vec<String> {
        let mut cells = vec![self.hour.clone(), self.sources.to_string(), self.ports.to_string()];
        cells.extend(self.sums.amounts());
        cells
    }

    fn csv(&self) -> Vec<String> {
        let mut cells = vec![self.hour.clone(), self.sources.to_string(), self.ports.to_string()];
        cells.extend(self.sums.csv());
        cells
    }
}
