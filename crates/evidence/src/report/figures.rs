//! Records -> the figures of a report, batch by batch, in bounded memory. It must not know how they look.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
};

use node_ebpf_common::Reason;

use super::fate;
use crate::{
    record::{Batch, Event, Flow, LossKind, Outcome},
    store::Filter,
};

/// Bars of the timeline.
pub(super) const BUCKETS: usize = 60;
/// Sources with figures of their own; the packets of those beyond are in all sums.
const MAX_SOURCES: usize = 200_000;
/// Events that are told one by one.
const MAX_EVENTS: usize = 500;
/// Names that are told beside a source.
const MAX_NAMES: usize = 6;

/// What came against the policy, dropped or let in by audit; from whom; and what was done.
#[derive(Debug)]
pub struct Figures {
    pub(super) since_unix_ns: u64,
    pub(super) until_unix_ns: u64,
    /// Packets of each outcome, for each bar.
    pub(super) timeline: [[u64; 2]; BUCKETS],
    /// Packets and bytes of each outcome.
    pub(super) outcomes: [[u64; 2]; 2],
    pub(super) captures: u64,
    pub(super) sources: HashMap<Option<IpAddr>, SourceFigures>,
    pub(super) unlisted_sources: u64,
    pub(super) ports: HashMap<(&'static str, Option<u16>), Port>,
    pub(super) reasons: BTreeMap<&'static str, (Reason, u64)>,
    pub(super) losses: BTreeMap<LossKind, [u64; 2]>,
    /// Since when what is in here came.
    oldest_unix_ns: u64,
    /// What became of all of it, where that is one thing.
    pub(super) fate: Option<Outcome>,
    pub(super) events: Vec<Event>,
    pub(super) unlisted_events: u64,
}

#[derive(Debug, Default)]
pub(super) struct SourceFigures {
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) first_unix_ns: u64,
    pub(super) last_unix_ns: u64,
    pub(super) interfaces: BTreeSet<String>,
    pub(super) macs: BTreeSet<[u8; 6]>,
    pub(super) ports: BTreeSet<u16>,
    /// More than [`MAX_NAMES`] of one of these.
    pub(super) more: bool,
}

#[derive(Debug, Default)]
pub(super) struct Port {
    pub(super) class: Option<String>,
    pub(super) packets: u64,
    pub(super) bytes: u64,
}

impl Figures {
    /// None yet, of this time.
    pub fn new(since_unix_ns: u64, until_unix_ns: u64) -> Self {
        Self {
            since_unix_ns,
            until_unix_ns: until_unix_ns.max(since_unix_ns.saturating_add(1)),
            timeline: [[0; 2]; BUCKETS],
            outcomes: [[0; 2]; 2],
            captures: 0,
            sources: HashMap::new(),
            unlisted_sources: 0,
            ports: HashMap::new(),
            reasons: BTreeMap::new(),
            losses: BTreeMap::new(),
            oldest_unix_ns: since_unix_ns,
            fate: None,
            events: Vec::new(),
            unlisted_events: 0,
        }
    }

    /// Adds what of a batch is of this time. A flow that reaches into it counts whole.
    pub fn add(&mut self, batch: &Batch) {
        let filter = Filter {
            since_unix_ns: Some(self.since_unix_ns),
            until_unix_ns: Some(self.until_unix_ns),
            ..Filter::default()
        };
        let in_time = |first, last| filter.in_time(first, last);
        batch.flows.iter().filter(|f| in_time(f.first_unix_ns, f.last_unix_ns)).for_each(|flow| self.flow(flow));
        self.captures += batch.captures.iter().filter(|c| in_time(c.unix_ns, c.unix_ns)).count() as u64;
        for loss in batch.losses.iter().filter(|loss| in_time(loss.first_unix_ns, loss.last_unix_ns)) {
            self.oldest_unix_ns = self.oldest_unix_ns.min(loss.first_unix_ns);
            let [packets, bytes] = self.losses.entry(loss.kind).or_default();
            *packets = packets.saturating_add(loss.packets);
            *bytes = bytes.saturating_add(loss.bytes);
        }
        for event in batch.events.iter().filter(|event| in_time(event.unix_ns, event.unix_ns)) {
            if self.events.len() < MAX_EVENTS {
                self.events.push(Event { text: None, ..event.clone() });
            } else {
                self.unlisted_events += 1;
            }
        }
    }

    /// Tells what became of all of it by the policies that were in force: all events up to the end, the newest first.
    pub fn judge<'a>(&mut self, events: impl IntoIterator<Item = &'a Event>) {
        let of_flows = |outcome: Outcome| match (outcome, self.outcomes) {
            (Outcome::Drop, [_, [0, _]]) | (Outcome::WouldDrop, [[0, _], _]) => Some(outcome),
            _ => None,
        };
        self.fate = fate::of_all(events, self.oldest_unix_ns).and_then(of_flows);
    }

    /// Packets and bytes of which a flow tells.
    pub(super) fn attributed(&self) -> [u64; 2] {
        sum(self.outcomes)
    }

    /// Those of which nothing is known but that they came.
    pub(super) fn only_counted(&self) -> [u64; 2] {
        sum(self.losses.iter().filter(|(kind, _)| !kind.is_of_captures()).map(|(_, amount)| *amount))
    }

    fn flow(&mut self, flow: &Flow) {
        self.oldest_unix_ns = self.oldest_unix_ns.min(flow.first_unix_ns);
        let outcome = usize::from(flow.key.outcome == Outcome::WouldDrop);
        if let Some([packets, bytes]) = self.outcomes.get_mut(outcome) {
            *packets = packets.saturating_add(flow.packets);
            *bytes = bytes.saturating_add(flow.bytes);
        }
        let bucket = self.bucket(flow.last_unix_ns);
        if let Some(packets) = self.timeline.get_mut(bucket).and_then(|bar| bar.get_mut(outcome)) {
            *packets = packets.saturating_add(flow.packets);
        }
        self.reasons.entry(flow.key.reason.name()).or_insert((flow.key.reason, 0)).1 += flow.packets;
        let port = self.ports.entry((flow.key.protocol, flow.key.port)).or_default();
        port.class = port.class.take().or_else(|| flow.class.clone());
        port.packets += flow.packets;
        port.bytes += flow.bytes;
        if self.sources.len() >= MAX_SOURCES && !self.sources.contains_key(&flow.key.source) {
            self.unlisted_sources += 1;
            return;
        }
        let source = self
            .sources
            .entry(flow.key.source)
            .or_insert_with(|| SourceFigures { first_unix_ns: u64::MAX, ..SourceFigures::default() });
        source.packets += flow.packets;
        source.bytes += flow.bytes;
        source.first_unix_ns = source.first_unix_ns.min(flow.first_unix_ns);
        source.last_unix_ns = source.last_unix_ns.max(flow.last_unix_ns);
        source.more |= !note(&mut source.interfaces, &flow.key.interface)
            | !note(&mut source.macs, &flow.mac)
            | flow.key.port.is_some_and(|port| !note(&mut source.ports, &port));
    }

    fn bucket(&self, unix_ns: u64) -> usize {
        let span = u128::from(self.until_unix_ns - self.since_unix_ns);
        let at = u128::from(unix_ns.clamp(self.since_unix_ns, self.until_unix_ns) - self.since_unix_ns);
        usize::try_from(at * BUCKETS as u128 / span).unwrap_or(BUCKETS).min(BUCKETS - 1)
    }
}

/// Packets and bytes, added up.
pub(super) fn sum(amounts: impl IntoIterator<Item = [u64; 2]>) -> [u64; 2] {
    amounts.into_iter().fold([0; 2], |[packets, bytes], [p, b]| [packets.saturating_add(p), bytes.saturating_add(b)])
}

/// Whether there was room for it, or it is there already.
fn note<T: Ord + Clone>(set: &mut BTreeSet<T>, value: &T) -> bool {
    if set.contains(value) {
        return true;
    }
    let room = set.len() < MAX_NAMES;
    if room {
        set.insert(value.clone());
    }
    room
}
