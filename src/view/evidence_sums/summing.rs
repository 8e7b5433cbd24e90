//! Flows, one by one, to sums. It must not know how sums are shown.

use std::{
    borrow::Borrow,
    collections::{HashMap, HashSet},
    hash::Hash,
    net::IpAddr,
};

use super::{
    rows::{HourSum, PortSum, SourceSum, Sums},
    totals::Totals,
};
use crate::view::evidence::port_text;
use nodewall_evidence::{layers, record::Flow, when::Zone};

/// What flows are summed by, and what else is told of each sum. Flows come one by one: ten million of them need not fit into memory, their sums do.
pub trait Group: Default {
    /// What the flows of one sum have in common.
    type Key: Ord + Copy + Hash;
    /// A sum as it is shown.
    type Row;
    /// Whether the newest comes first, whatever its size.
    const BY_KEY: bool = false;

    /// Of which sum a flow is a part.
    fn key(flow: &Flow, zone: &Zone) -> Self::Key;
    /// Notes what is told of it.
    fn note(&mut self, flow: &Flow);
    /// The sum.
    fn row(self, key: Self::Key, sums: Sums, zone: &Zone) -> Self::Row;
}

/// Flows on their way to sums.
pub struct Summing<'a, G: Group> {
    zone: &'a Zone,
    groups: HashMap<G::Key, (Totals, G)>,
}

impl<'a, G: Group> Summing<'a, G> {
    /// Of nothing yet.
    pub fn new(zone: &'a Zone) -> Self {
        Self { zone, groups: HashMap::new() }
    }

    /// Adds a flow.
    pub fn add(&mut self, flow: &Flow) {
        let (totals, group) =
            self.groups.entry(G::key(flow, self.zone)).or_insert_with(|| (Totals::NOTHING, G::default()));
        totals.add(flow);
        group.note(flow);
    }

    /// The sums, the largest first (hours: the newest); at most `limit`.
    pub fn rows(self, limit: usize) -> Vec<G::Row> {
        let mut groups: Vec<(G::Key, (Totals, G))> = self.groups.into_iter().collect();
        groups.sort_by(
            |(a_key, (a, _)), (b_key, (b, _))| {
                if G::BY_KEY { b_key.cmp(a_key) } else { a.order().cmp(&b.order()).then(a_key.cmp(b_key)) }
            },
        );
        groups.truncate(limit);
        groups
            .into_iter()
            .map(|(key, (totals, group))| group.row(key, Sums::of(totals, self.zone), self.zone))
            .collect()
    }
}

/// A few things, each once, in order: most senders ask for one port by one interface.
#[derive(Debug)]
struct Few<T>(Vec<T>);

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Ord> Few<T> {
    fn note<Q>(&mut self, thing: &Q)
    where
        T: Borrow<Q>,
        Q: Ord + ToOwned<Owned = T> + ?Sized,
    {
        if let Err(at) = self.0.binary_search_by(|known| known.borrow().cmp(thing)) {
            // One more than there is: a million senders of one port each take no more than they need.
            self.0.reserve_exact(usize::from(self.0.is_empty()));
            self.0.insert(at, thing.to_owned());
        }
    }
}

/// By source.
#[derive(Default)]
pub struct BySource {
    ports: Few<(Option<u16>, &'static str)>,
    interfaces: Few<String>,
    macs: Few<[u8; 6]>,
}

impl Group for BySource {
    type Key = Option<IpAddr>;
    type Row = SourceSum;

    fn key(flow: &Flow, _zone: &Zone) -> Self::Key {
        flow.key.source
    }

    fn note(&mut self, flow: &Flow) {
        self.ports.note(&(flow.key.port, flow.key.protocol));
        self.interfaces.note(flow.key.interface.as_str());
        self.macs.note(&flow.mac);
    }

    fn row(self, source: Self::Key, sums: Sums, _zone: &Zone) -> SourceSum {
        SourceSum {
            source,
            source_verified: false,
            ports: self.ports.0.into_iter().map(|(port, protocol)| port_text(port, protocol)).collect(),
            interfaces: self.interfaces.0,
            macs: self.macs.0.iter().map(layers::mac).collect(),
            sums,
        }
    }
}

/// By port and protocol.
#[derive(Default)]
pub struct ByPort {
    classes: Few<String>,
    sources: HashSet<Option<IpAddr>>,
}

impl Group for ByPort {
    type Key = (Option<u16>, &'static str);
    type Row = PortSum;

    fn key(flow: &Flow, _zone: &Zone) -> Self::Key {
        (flow.key.port, flow.key.protocol)
    }

    fn note(&mut self, flow: &Flow) {
        if let Some(class) = &flow.class {
            self.classes.note(class.as_str());
        }
        self.sources.insert(flow.key.source);
    }

    fn row(self, (port, protocol): Self::Key, sums: Sums, _zone: &Zone) -> PortSum {
        PortSum { port, protocol, classes: self.classes.0, sources: self.sources.len(), sums }
    }
}

/// By the hour of the first frame.
#[derive(Default)]
pub struct ByHour {
    sources: HashSet<Option<IpAddr>>,
    ports: Few<(Option<u16>, &'static str)>,
}

impl Group for ByHour {
    type Key = u64;
    type Row = HourSum;
    const BY_KEY: bool = true;

    fn key(flow: &Flow, zone: &Zone) -> Self::Key {
        zone.hour_start(flow.first_unix_ns)
    }

    fn note(&mut self, flow: &Flow) {
        self.sources.insert(flow.key.source);
        self.ports.note(&(flow.key.port, flow.key.protocol));
    }

    fn row(self, hour_unix_ns: Self::Key, sums: Sums, zone: &Zone) -> HourSum {
        let hour = zone.show_seconds(hour_unix_ns);
        HourSum { hour, hour_unix_ns, sources: self.sources.len(), ports: self.ports.0.len(), sums }
    }
}
