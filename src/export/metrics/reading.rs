//! What one scrape read, as samples of metrics. Must not read anything: the values are there.

use std::{borrow::Cow, collections::BTreeMap, time::Instant};

use crate::view::{
    counters::{Counters, Row},
    peer_traffic::{PeerRow, PeerTraffic},
    peers::Numbers,
    status::Status,
};

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

/// All that is told under one metric: the labels' values in the order of the metric's labels, and the value. Nothing: it is left out.
pub(super) type Samples<'a> = Vec<(Labels<'a>, Value)>;
pub(super) type Labels<'a> = Vec<Cow<'a, str>>;

#[derive(Clone, Copy)]
pub(super) enum Value {
    Whole(u64),
    Real(f64),
}

/// A metric without labels.
pub(super) fn one(value: Value) -> Samples<'static> {
    vec![(Vec::new(), value)]
}

/// The same, where there is something to tell it of.
pub(super) fn of<T>(known: Option<&T>, value: impl FnOnce(&T) -> Value) -> Samples<'static> {
    known.map(value).map(one).unwrap_or_default()
}

/// 1 or 0.
pub(super) fn flag(value: bool) -> Value {
    Value::Whole(value.into())
}

/// A time that Unix time or an interval counts in ns, in seconds.
#[expect(clippy::cast_precision_loss, reason = "microseconds are enough here")]
pub(super) fn seconds(ns: u64) -> Value {
    Value::Real(ns as f64 / NS_PER_SECOND)
}

impl Reading {
    /// One sample a row. Rows that differ in nothing that a label tells are one.
    pub(super) fn rows(&self, value: impl Fn(&Row) -> u64) -> Samples<'_> {
        let rows = self.counters.iter().flat_map(|counters| &counters.rows);
        summed(rows.map(|row| {
            let labels = vec![
                row.class.as_deref().unwrap_or_default().into(),
                port(row.port, row.ports.as_deref()),
                row.protocol.unwrap_or_default().into(),
                row.direction.into(),
                row.outcome.into(),
                row.reason.into(),
            ];
            (labels, value(row))
        }))
    }

    /// The soonest of each kind.
    pub(super) fn next_changes(&self) -> Samples<'_> {
        let mut soonest = BTreeMap::new();
        for change in &self.status.will_change {
            let labels: Labels<'_> = vec![change.what.into(), if change.talks { "true" } else { "false" }.into()];
            let least = soonest.entry(labels).or_insert(change.seconds_left);
            *least = change.seconds_left.min(*least);
        }
        soonest.into_iter().map(|(labels, left)| (labels, Value::Whole(left))).collect()
    }

    /// One sample a cell that ever moved. Cells that differ in nothing that a label tells are one.
    pub(super) fn peer_rows(&self, value: impl Fn(&PeerRow) -> u64) -> Samples<'_> {
        let rows = self.peer_traffic.iter().flat_map(|traffic| &traffic.rows);
        summed(rows.map(|row| {
            let labels = vec![
                row.peer.as_str().into(),
                row.class.as_deref().unwrap_or_default().into(),
                port(row.port, row.ports.as_deref()),
                row.protocol.unwrap_or_default().into(),
                row.direction.into(),
            ];
            (labels, value(row))
        }))
    }
}

fn summed<'a>(rows: impl Iterator<Item = (Labels<'a>, u64)>) -> Samples<'a> {
    let mut sums: BTreeMap<Labels<'a>, u64> = BTreeMap::new();
    rows.for_each(|(labels, value)| *sums.entry(labels).or_default() += value);
    sums.into_iter().map(|(labels, sum)| (labels, Value::Whole(sum))).collect()
}

/// A port's or a range's label; empty where there is neither.
fn port(port: Option<u16>, ports: Option<&str>) -> Cow<'_, str> {
    port.map_or_else(|| ports.unwrap_or_default().into(), |port| port.to_string().into())
}
