//! The peers and who knows them: what `peers list -o json` prints and every exporter shows. It must not print.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use ipnet::IpNet;
use serde::Serialize;

use crate::peers::{Entry, PeerState, Registry, SourceName, SourceStatus};
use nodewall_host::state::Clock;
use nodewall_policy::config::show;

/// One peer.
#[derive(Clone, Debug, Serialize)]
pub struct Listed {
    /// Address or prefix.
    pub address: String,
    /// Whether it is let in, and if not, why.
    #[serde(flatten)]
    pub state: PeerState,
    /// Who knows it.
    pub sources: Vec<String>,
    /// When it became known, Unix time.
    pub since_unix_ns: u64,
    /// Leaving, or admitted for a time.
    pub seconds_left: Option<u64>,
    /// The operator whose word it is.
    pub by: Option<String>,
}

/// One source.
#[derive(Clone, Debug, Serialize)]
pub struct SourceRow {
    /// As in the configuration, with its kind before it.
    pub name: String,
    /// How many it knows.
    pub peers: usize,
    /// Its last good answer, Unix time; `null`: it never gave one.
    pub answered_unix_ns: Option<u64>,
    /// Age of that answer.
    pub age_seconds: Option<u64>,
    /// Since when it gives no good answer, Unix time.
    pub failing_since_unix_ns: Option<u64>,
    /// Why.
    pub error: Option<String>,
}

/// The registry at one time.
#[derive(Clone, Debug, Serialize)]
pub struct Peers {
    /// Everyone known, whatever the state.
    pub peers: Vec<Listed>,
    /// Where from.
    pub sources: Vec<SourceRow>,
}

impl Peers {
    /// What the registry knows.
    pub fn of(registry: &Registry, now: &Clock) -> Self {
        Self {
            peers: registry.entries(now).into_iter().map(listed).collect(),
            sources: registry.sources(now).into_iter().map(source).collect(),
        }
    }
}

/// Names of sources, as text.
pub(crate) fn names(sources: &[SourceName]) -> Vec<String> {
    sources.iter().map(ToString::to_string).collect()
}

fn listed(entry: Entry) -> Listed {
    Listed {
        address: show(&entry.prefix),
        state: entry.state,
        sources: names(&entry.sources),
        since_unix_ns: entry.since_unix_ns,
        seconds_left: entry.left.map(|left| left.as_secs()),
        by: entry.by,
    }
}

fn source(status: SourceStatus) -> SourceRow {
    let (failing_since_unix_ns, error) = status.failing.unzip();
    SourceRow {
        name: status.name.to_string(),
        peers: status.peers,
        answered_unix_ns: status.answered_unix_ns,
        age_seconds: status.age.map(|age| age.as_secs()),
        failing_since_unix_ns,
        error,
    }
}

/// How many peers there are: what metrics show instead of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// By source and state. An operator's word is the source `operator`; a peer that no source knows any more has none (`""`).
    pub by_source: BTreeMap<(String, &'static str), u64>,
    /// The last good answer of each source, Unix time; `None`: it never gave one.
    pub answered_unix_ns: BTreeMap<String, Option<u64>>,
    /// The sources that give no good answer.
    pub failing: BTreeSet<String>,
    /// Peers that count and whose packets are dropped, as a block covers them or part of them.
    pub blocked: u64,
}

impl Numbers {
    /// What the registry comes to under these blocks.
    pub fn of(registry: &Registry, blocks: &[IpNet], now: &Clock) -> Self {
        let mut numbers = Self::default();
        for source in registry.sources(now) {
            let name = label(&source.name);
            for state in ["active", "leaving", "held", "tombstone"] {
                numbers.by_source.insert((name.clone(), state), 0);
            }
            if source.failing.is_some() {
                numbers.failing.insert(name.clone());
            }
            numbers.answered_unix_ns.insert(name, source.answered_unix_ns);
        }
        let blocks = Prefixes::of(blocks.iter().copied());
        let mut counting = Vec::new();
        for entry in registry.entries(now) {
            let state = entry.state.name();
            let mut add = |name: String| *numbers.by_source.entry((name, state)).or_default() += 1;
            if entry.sources.is_empty() {
                add(if entry.by.is_some() { "operator".into() } else { String::new() });
            }
            entry.sources.iter().map(label).for_each(add);
            if entry.state.counts() {
                counting.push(entry.prefix);
            }
        }
        let peers = Prefixes::of(counting.iter().copied());
        let inside = blocks.all().filter_map(|block| peers.covering(block)).collect::<HashSet<_>>();
        numbers.blocked =
            counting.iter().filter(|peer| inside.contains(*peer) || blocks.covering(peer).is_some()).count() as u64;
        numbers
    }
}

/// A source's name without what a URL's query may hold: whoever reads metrics needs no token.
fn label(name: &SourceName) -> String {
    let name = name.to_string();
    name.split_once('?').map_or(name.clone(), |(before, _)| before.to_owned())
}

/// Prefixes, asked which of them covers another: by its own few lengths, not one by one.
struct Prefixes {
    all: HashSet<IpNet>,
    lengths: BTreeSet<u8>,
}

impl Prefixes {
    fn of(prefixes: impl Iterator<Item = IpNet>) -> Self {
        let all: HashSet<IpNet> = prefixes.collect();
        Self { lengths: all.iter().map(IpNet::prefix_len).collect(), all }
    }

    fn all(&self) -> impl Iterator<Item = &IpNet> {
        self.all.iter()
    }

    fn covering(&self, of: &IpNet) -> Option<IpNet> {
        let shorter = self.lengths.range(..=of.prefix_len()).filter_map(|length| IpNet::new(of.addr(), *length).ok());
        shorter.map(|net| net.trunc()).find(|net| self.all.contains(net))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_covers_a_prefix_is_found_by_length() {
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        let prefixes = Prefixes::of(["10.0.0.0/8", "10.1.0.0/16", "fd00::/8", "192.0.2.7/32"].map(net).into_iter());
        assert_eq!(prefixes.covering(&net("10.1.2.3/32")), Some(net("10.0.0.0/8")));
        assert_eq!(prefixes.covering(&net("192.0.2.7/32")), Some(net("192.0.2.7/32")));
        assert_eq!(prefixes.covering(&net("fd01::1/128")), Some(net("fd00::/8")));
        assert_eq!(prefixes.covering(&net("11.0.0.0/8")), None);
        assert_eq!(prefixes.covering(&net("10.0.0.0/7")), None, "it is wider");
    }
}
