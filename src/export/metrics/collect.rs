//! One scrape's values as metrics. Must not read anything: the values are there.

use std::{borrow::Cow, collections::BTreeMap, fmt, time::Instant};

use node_ebpf_common::ABI_VERSION;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder},
    metrics::MetricType,
};

use super::list::{self, Kind, Metric};
use crate::view::{
    counters::{Counters, Row},
    mission_control::Reached,
    peer_traffic::{PeerRow, PeerTraffic},
    peers::Numbers,
    status::Status,
};
use nodewall_evidence::recorder::RecorderStatus;

const NS_PER_SECOND: f64 = 1e9;

/// What a scrape read.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) status: Status,
    pub(super) counters: Option<Counters>,
    /// Only where the configuration wants it exported: it names peers.
    pub(super) peer_traffic: Option<PeerTraffic>,
    pub(super) peers: Numbers,
    /// When the reading began.
    pub(super) began: Instant,
}

/// A sample: the labels' values in the order of the metric's labels, and the value.
type Sample<'a> = (Labels<'a>, Value);
type Labels<'a> = Vec<Cow<'a, str>>;

#[derive(Clone, Copy)]
enum Value {
    Whole(u64),
    Real(f64),
}

impl Collector for Reading {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for metric in list::ALL {
            let samples = self.samples(metric);
            if samples.is_empty() {
                continue;
            }
            let kind = match metric.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Info => MetricType::Info,
            };
            let mut family = encoder.encode_descriptor(metric.base(), metric.help, None, kind)?;
            for (labels, value) in samples {
                let labels: Vec<(&str, Cow<'_, str>)> = metric.labels.iter().copied().zip(labels).collect();
                if labels.is_empty() {
                    sample(metric.kind, value, &mut family)?;
                } else if metric.kind == Kind::Info {
                    family.encode_info(&labels)?;
                } else {
                    sample(metric.kind, value, &mut family.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }
}

fn sample(kind: Kind, value: Value, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
    match (kind, value) {
        (Kind::Counter, Value::Whole(value)) => encoder.encode_counter::<[(&str, &str); 0], u64, u64>(&value, None),
        (Kind::Counter, Value::Real(value)) => encoder.encode_counter::<[(&str, &str); 0], f64, u64>(&value, None),
        (_, Value::Whole(value)) => encoder.encode_gauge(&value),
        (_, Value::Real(value)) => encoder.encode_gauge(&value),
    }
}

fn one(value: Value) -> Vec<Sample<'static>> {
    vec![(Vec::new(), value)]
}

fn whole(value: u64) -> Vec<Sample<'static>> {
    one(Value::Whole(value))
}

fn yes_or_no(value: bool) -> Vec<Sample<'static>> {
    whole(u64::from(value))
}

/// A time that Unix time or an interval counts in ns, in seconds.
#[expect(clippy::cast_precision_loss, reason = "microseconds are enough here")]
fn seconds(ns: u64) -> Value {
    Value::Real(ns as f64 / NS_PER_SECOND)
}

impl Reading {
    /// Everything that is told under this metric; nothing: it is left out.
    fn samples<'s>(&'s self, metric: &Metric) -> Vec<Sample<'s>> {
        let (status, agent) = (&self.status, self.status.agent.as_ref());
        let (push, reached) = (status.push.as_ref(), status.mission_control.as_ref());
        match *metric {
            list::PACKETS => self.rows(|row| row.packets),
            list::BYTES => self.rows(|row| row.bytes),
            list::PEER_PACKETS => self.peer_rows(|row| row.packets),
            list::PEER_BYTES => self.peer_rows(|row| row.bytes),
            list::ENFORCING => yes_or_no(status.mode == Some("enforce")),
            list::ATTACHED => {
                let interfaces = status.interfaces.iter();
                interfaces.map(|i| (vec![i.name.as_str().into(), i.attach_mode.into()], Value::Whole(1))).collect()
            }
            list::UNCOVERED => whole(status.uncovered_interfaces.len() as u64),
            list::GENERATION => status.generation.map(whole).unwrap_or_default(),
            list::POLICY => status.policy_sha256.iter().map(|hash| (vec![hash.into()], Value::Whole(1))).collect(),
            list::PEERS => {
                let numbers = self.peers.by_source.iter();
                numbers.map(|((source, state), n)| (vec![source.into(), (*state).into()], Value::Whole(*n))).collect()
            }
            list::PEERS_IN_FORCE => whole(u64::from(status.peers)),
            list::PEERS_BLOCKED => whole(self.peers.blocked),
            list::SOURCE_ANSWERED => {
                let answered = self.peers.answered_unix_ns.iter();
                answered.map(|(source, at)| (vec![source.into()], seconds(at.unwrap_or(0)))).collect()
            }
            list::SOURCE_FAILING => {
                let sources = self.peers.answered_unix_ns.keys();
                let failing = |source: &String| Value::Whole(u64::from(self.peers.failing.contains(source)));
                sources.map(|source| (vec![source.into()], failing(source))).collect()
            }
            list::BLOCKS => whole(status.blocks.len() as u64),
            list::TRIAL => yes_or_no(status.trial.is_some()),
            list::HEALTHY => yes_or_no(status.healthy),
            list::PROBLEMS => whole(status.problems.len() as u64),
            list::AGENT_START => agent.map(|agent| one(seconds(agent.started_unix_ns))).unwrap_or_default(),
            list::REPAIRS => whole(status.repairs),
            list::REATTACHED => agent.map(|agent| whole(agent.interfaces_reattached)).unwrap_or_default(),
            list::REATTACH_GAP => agent.map(|agent| one(seconds(agent.reattach_gap_max_ns))).unwrap_or_default(),
            list::PUSHED => push.map(|push| one(seconds(push.last_success_unix_ns.unwrap_or(0)))).unwrap_or_default(),
            list::PUSH_FAILURES => push.map(|push| whole(u64::from(push.failures))).unwrap_or_default(),
            list::PUSH_WAITING => push.map(|push| whole(push.waiting_lines)).unwrap_or_default(),
            list::PUSH_LOST_PACKETS => push.map(|push| whole(push.totals.lost.packets)).unwrap_or_default(),
            list::PUSH_LOST_BYTES => push.map(|push| whole(push.totals.lost.bytes)).unwrap_or_default(),
            list::EVIDENCE => {
                let of = |evidence: &'s RecorderStatus| {
                    let kept = [("recorded", evidence.flow_packets), ("captured", evidence.captures)];
                    let lost = evidence.losses.iter().map(|(kind, packets)| (kind.as_str(), *packets));
                    kept.into_iter().chain(lost).map(|(outcome, n)| (vec![outcome.into()], Value::Whole(n)))
                };
                status.evidence.iter().flat_map(of).collect()
            }
            list::EVIDENCE_RECORDED => {
                status.evidence.as_ref().map(|evidence| one(seconds(evidence.last_unix_ns))).unwrap_or_default()
            }
            list::MISSION_CONTROL => {
                let step = |reached: &'s Reached| vec![reached.step.as_deref().unwrap_or_default().into()];
                reached.iter().map(|reached| (step(reached), Value::Whole(u64::from(reached.ok)))).collect()
            }
            list::MISSION_CONTROL_TRIED => reached.map(|reached| one(seconds(reached.unix_ns))).unwrap_or_default(),
            list::BUILD => {
                vec![(vec![env!("CARGO_PKG_VERSION").into(), ABI_VERSION.to_string().into()], Value::Whole(1))]
            }
            list::SCRAPE => one(Value::Real(self.began.elapsed().as_secs_f64())),
            // The test of the list finds this.
            _ => Vec::new(),
        }
    }

    /// One sample a row. Rows that differ in nothing that a label tells are one.
    fn rows(&self, value: impl Fn(&Row) -> u64) -> Vec<Sample<'_>> {
        let mut sums: BTreeMap<Labels<'_>, u64> = BTreeMap::new();
        for row in self.counters.iter().flat_map(|counters| &counters.rows) {
            let labels = vec![
                row.class.as_deref().unwrap_or_default().into(),
                port(row.port, row.ports.as_deref()),
                row.protocol.unwrap_or_default().into(),
                row.direction.into(),
                row.outcome.into(),
                row.reason.into(),
            ];
            *sums.entry(labels).or_default() += value(row);
        }
        sums.into_iter().map(|(labels, sum)| (labels, Value::Whole(sum))).collect()
    }

    /// One sample a cell that ever moved. Cells that differ in nothing that a label tells are one.
    fn peer_rows(&self, value: impl Fn(&PeerRow) -> u64) -> Vec<Sample<'_>> {
        let mut sums: BTreeMap<Labels<'_>, u64> = BTreeMap::new();
        for row in self.peer_traffic.iter().flat_map(|traffic| &traffic.rows) {
            let labels = vec![
                row.peer.as_str().into(),
                row.class.as_deref().unwrap_or_default().into(),
                port(row.port, row.ports.as_deref()),
                row.protocol.unwrap_or_default().into(),
                row.direction.into(),
            ];
            *sums.entry(labels).or_default() += value(row);
        }
        sums.into_iter().map(|(labels, sum)| (labels, Value::Whole(sum))).collect()
    }
}

/// A port's or a range's label; empty where there is neither.
fn port(port: Option<u16>, ports: Option<&str>) -> Cow<'_, str> {
    port.map_or_else(|| ports.unwrap_or_default().into(), |port| port.to_string().into())
}
