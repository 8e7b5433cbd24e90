//! Readings of the live system -> rates, totals and history. Pure.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use serde::Serialize;

use crate::view::{
    counters::{Counters, MISSION_CONTROL_CLASS, Row},
    denied_sources::DeniedSource,
    peers::Peers,
    status::Status,
};

/// Samples of the history that are kept: more than the widest screen shows.
const HISTORY: usize = 512;

/// The live system at one time.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Since boot.
    pub at: Duration,
    /// Unix time.
    pub unix_ns: u64,
    /// What is in force.
    pub status: Status,
    /// `None`: no policy is in force.
    pub counters: Option<Counters>,
    /// `None`: nothing is recorded.
    pub peers: Option<Peers>,
    /// Who was denied most in the last hour; nobody where no evidence is recorded.
    pub denied: Vec<DeniedSource>,
}

/// Where a counter belongs, as [`Row`] names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct RowKey {
    class: Option<String>,
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ports: Option<String>,
    protocol: Option<&'static str>,
}

impl RowKey {
    fn of(row: &Row) -> Self {
        Self { class: row.class.clone(), port: row.port, ports: row.ports.clone(), protocol: row.protocol }
    }

    pub(super) fn class(&self) -> &str {
        self.class.as_deref().unwrap_or("-")
    }

    pub(super) fn protocol(&self) -> &'static str {
        self.protocol.unwrap_or("-")
    }

    /// The port or the range, in words.
    pub(super) fn port(&self) -> String {
        let nameless = if self.protocol.is_some() { "other" } else { "-" };
        let port = self.port.map(|port| port.to_string()).or_else(|| self.ports.clone());
        port.unwrap_or_else(|| nameless.into())
    }

    fn number(&self) -> u32 {
        self.port().split('-').next().and_then(|first| first.parse().ok()).unwrap_or(u32::MAX)
    }
}

/// Packets and bytes, as totals or per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Amount {
    pub(super) packets: f64,
    pub(super) bytes: f64,
}

impl Amount {
    #[expect(clippy::cast_precision_loss, reason = "for the eye")]
    fn per_second(now: (u64, u64), then: (u64, u64), seconds: f64) -> Self {
        // A counter that went back was made anew: nothing is known of the time between.
        match (now.0.checked_sub(then.0), now.1.checked_sub(then.1)) {
            (Some(packets), Some(bytes)) if seconds > 0.0 => {
                Self { packets: packets as f64 / seconds, bytes: bytes as f64 / seconds }
            }
            _ => Self::default(),
        }
    }

    fn add(&mut self, other: Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
    }
}

/// One line of the table of ports.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Line {
    #[serde(flatten)]
    pub(super) place: RowKey,
    /// Let in, per second.
    #[serde(rename = "passed_per_s")]
    pub(super) inbound: Amount,
    /// Sent, per second.
    #[serde(rename = "sent_per_s")]
    pub(super) outbound: Amount,
    /// Dropped, per second; in audit mode what would have been.
    #[serde(rename = "denied_per_s")]
    pub(super) dropped: Amount,
    /// Packets ever dropped.
    #[serde(rename = "denied_packets")]
    pub(super) total_dropped: u64,
}

/// One line of what was dropped.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Denied {
    #[serde(flatten)]
    pub(super) place: RowKey,
    pub(super) reason: &'static str,
    #[serde(rename = "per_s")]
    pub(super) rate: Amount,
    #[serde(rename = "packets")]
    pub(super) total: u64,
}

/// What the table of ports is ordered by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    /// Port number.
    #[default]
    Port,
    /// Packets let in per second.
    In,
    /// Packets sent per second.
    Out,
    /// Packets dropped per second, then ever.
    Dropped,
}

impl Sort {
    /// The next one.
    pub(super) const fn next(self) -> Self {
        match self {
            Self::Port => Self::In,
            Self::In => Self::Out,
            Self::Out => Self::Dropped,
            Self::Dropped => Self::Port,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Port => "port",
            Self::In => "in",
            Self::Out => "out",
            Self::Dropped => "drop",
        }
    }
}

/// What the table of denials tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum DeniedBy {
    /// Sources, where evidence knows any.
    #[default]
    Source,
    /// Ports and reasons.
    Port,
}

impl DeniedBy {
    /// The other one.
    pub(super) const fn other(self) -> Self {
        match self {
            Self::Source => Self::Port,
            Self::Port => Self::Source,
        }
    }
}

/// Packets per second of everything, at one reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Sample {
    #[serde(rename = "passed")]
    pub(super) inbound: f64,
    #[serde(rename = "sent")]
    pub(super) outbound: f64,
    #[serde(rename = "denied")]
    pub(super) dropped: f64,
}

/// What a screen shows, whole and for programs. Rates are of the time between the last two readings.
#[derive(Serialize)]
pub struct Look<'a> {
    unix_ns: u64,
    packets_per_s: Sample,
    status: &'a Status,
    ports: Vec<&'a Line>,
    denied: &'a [Denied],
    denied_sources: &'a [DeniedSource],
    peers: Option<&'a Peers>,
}

/// All that a screen shows.
#[derive(Debug, Default)]
pub struct Model {
    pub(super) last: Option<Reading>,
    pub(super) lines: Vec<Line>,
    pub(super) denied: Vec<Denied>,
    pub(super) history: VecDeque<Sample>,
    pub(super) sum: Sample,
    pub(super) sort: Sort,
    /// Only places whose class, port or protocol contains this.
    pub(super) filter: String,
    /// The filter is being typed.
    pub(super) typing: bool,
    pub(super) paused: bool,
    pub(super) help: bool,
    pub(super) denied_by: DeniedBy,
    /// Lines of the table that are scrolled past.
    pub(super) skipped: usize,
    /// The live system could not be read.
    pub(super) failure: Option<String>,
}

type Key = (RowKey, &'static str, &'static str, &'static str);

fn keyed(counters: &Counters) -> BTreeMap<Key, (u64, u64)> {
    let mut cells = BTreeMap::new();
    for row in &counters.rows {
        let cell: &mut (u64, u64) = cells.entry((RowKey::of(row), row.direction, row.outcome, row.reason)).or_default();
        cell.0 += row.packets;
        cell.1 += row.bytes;
    }
    cells
}

impl Model {
    /// Takes a reading; rates are those since the one before.
    pub fn read(&mut self, reading: Reading) {
        self.failure = None;
        if self.paused {
            return;
        }
        let then = self.last.as_ref().and_then(|last| Some((last.at, keyed(last.counters.as_ref()?))));
        let now = reading.counters.as_ref().map(keyed).unwrap_or_default();
        let seconds = then.as_ref().map_or(0.0, |(at, _)| reading.at.saturating_sub(*at).as_secs_f64());
        let (mut lines, mut denied, mut sum) = (BTreeMap::<RowKey, Line>::new(), Vec::new(), Sample::default());
        for ((place, direction, outcome, reason), cell) in now {
            // A cell that is new began at zero, if there was a reading before.
            let before = then
                .as_ref()
                .map(|(_, cells)| cells.get(&(place.clone(), direction, outcome, reason)).copied().unwrap_or_default());
            let rate = before.map_or_else(Amount::default, |before| Amount::per_second(cell, before, seconds));
            let line = lines.entry(place.clone()).or_insert_with(|| Line { place: place.clone(), ..Line::default() });
            match (direction, outcome) {
                ("out", _) => {
                    line.outbound.add(rate);
                    // What goes to Mission Control is counted on its port's row, too.
                    if line.place.class() != MISSION_CONTROL_CLASS {
                        sum.outbound += rate.packets;
                    }
                }
                (_, "pass") => {
                    line.inbound.add(rate);
                    sum.inbound += rate.packets;
                }
                _ => {
                    line.dropped.add(rate);
                    line.total_dropped += cell.0;
                    sum.dropped += rate.packets;
                    denied.push(Denied { place, reason, rate, total: cell.0 });
                }
            }
        }
        denied.sort_by(|a, b| b.rate.packets.total_cmp(&a.rate.packets).then(b.total.cmp(&a.total)));
        self.lines = lines.into_values().collect();
        self.denied = denied;
        self.sum = sum;
        if then.is_some() {
            self.history.push_back(sum);
            if self.history.len() > HISTORY {
                self.history.pop_front();
            }
        }
        self.last = Some(reading);
    }

    /// The live system could not be read; what was read before stays on the screen.
    pub fn fail(&mut self, why: String) {
        self.failure = Some(why);
    }

    /// All of it; `None` before the first reading.
    pub fn look(&self) -> Option<Look<'_>> {
        let last = self.last.as_ref()?;
        Some(Look {
            unix_ns: last.unix_ns,
            packets_per_s: self.sum,
            status: &last.status,
            ports: self.shown(),
            denied: &self.denied,
            denied_sources: &last.denied,
            peers: last.peers.as_ref(),
        })
    }

    /// The lines of the table: filtered, in order.
    pub(super) fn shown(&self) -> Vec<&Line> {
        let wanted = self.filter.to_lowercase();
        let fits = |place: &RowKey| {
            [place.class(), &place.port(), place.protocol()].iter().any(|text| text.to_lowercase().contains(&wanted))
        };
        let mut lines: Vec<&Line> = self.lines.iter().filter(|line| fits(&line.place)).collect();
        let by_port = |line: &Line| (line.place.number(), line.place.clone());
        lines.sort_by_key(|line| by_port(line));
        // Stable: equal ones stay in the order of their ports.
        match self.sort {
            Sort::Port => {}
            Sort::In => lines.sort_by(|a, b| b.inbound.packets.total_cmp(&a.inbound.packets)),
            Sort::Out => lines.sort_by(|a, b| b.outbound.packets.total_cmp(&a.outbound.packets)),
            Sort::Dropped => lines.sort_by(|a, b| {
                b.dropped.packets.total_cmp(&a.dropped.packets).then(b.total_dropped.cmp(&a.total_dropped))
            }),
        }
        lines
    }
}
