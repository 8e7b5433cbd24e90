//! The peers and who knows them: what `peers list -o json` prints and every exporter shows. It must not print.

use serde::Serialize;

use crate::{
    config::show,
    peers::{Entry, PeerState, Registry, SourceName, SourceStatus},
    state::Clock,
};

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
pub struct Source {
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
    pub sources: Vec<Source>,
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

fn source(status: SourceStatus) -> Source {
    let (failing_since_unix_ns, error) = status.failing.unzip();
    Source {
        name: status.name.to_string(),
        peers: status.peers,
        answered_unix_ns: status.answered_unix_ns,
        age_seconds: status.age.map(|age| age.as_secs()),
        failing_since_unix_ns,
        error,
    }
}
