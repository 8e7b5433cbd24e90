//! Where peers come from and which of them count: sources are asked, the registry keeps what each one said.
//! It must not put anything into force: the agent does.
//!
//! ```text
//! sources -> Answer -> Registry (union, provenance, delays, tombstones, bounds) -> active peers -> policy
//! ```

mod counting;
mod dns;
mod dynatrace_api;
mod entry;
mod error;
mod file;
mod firewall;
mod http_sd;
mod limit;
mod registry;
mod rules;
mod telling;

use std::{collections::BTreeSet, fmt, path::Path, pin::Pin, time::Duration};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use self::{
    dns::DnsName,
    dynatrace_api::DynatraceApi,
    entry::{Difference, Entry, PeerState, SourceStatus},
    error::{OperatorError, SourceError},
    file::FileSource,
    firewall::{VendorFirewall, cluster_ports},
    http_sd::HttpSd,
    registry::{Change, Registry, Undo},
    rules::Rules,
};
use nodewall_host::state::Stamp;
use nodewall_policy::config::Config;

/// What one source said: all the peers that it knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Addresses (full length) and prefixes, without host bits.
    pub peers: BTreeSet<IpNet>,
    /// For how long it counts (a DNS answer's time to live). `None`: the source's own interval.
    pub valid_for: Option<Duration>,
    /// What it does not speak for.
    pub unanswered: Option<Unanswered>,
}

/// The family of addresses that a source could not find out about: what it said of it last stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unanswered {
    /// IPv6; else IPv4.
    pub is_v6: bool,
    /// Why not.
    pub error: SourceError,
}

/// What a source said, or why it said nothing.
pub type SourceAnswer = (SourceName, Result<Answer, SourceError>);

/// A source being asked.
pub type Fetch<'a> = Pin<Box<dyn Future<Output = Result<Answer, SourceError>> + Send + 'a>>;

/// Where peers come from. One implementation a module.
pub trait Source: Send {
    /// Its name in every output.
    fn name(&self) -> &SourceName;

    /// Asks it once. An error leaves the last answer counting.
    fn fetch(&mut self) -> Fetch<'_>;

    /// When to ask again where the answer does not say.
    fn interval(&self) -> Duration {
        Duration::from_secs(60)
    }

    /// What tells without reading it that the source has changed, where there is such a thing. Another stamp than last time: ask at once.
    fn stamp(&self) -> Option<Stamp> {
        None
    }
}

/// The sources that a configuration names, besides `static`, which the registry takes from the configuration itself.
pub fn sources(config: &Config) -> Vec<Box<dyn Source>> {
    let peers = &config.peers;
    let mut sources: Vec<Box<dyn Source>> = Vec::new();
    if let Some(path) = &peers.file {
        sources.push(Box::new(FileSource::new(path)));
    }
    if peers.vendor_firewall {
        sources.push(Box::new(VendorFirewall::new()));
    }
    for name in &peers.dns {
        sources.push(Box::new(DnsName::new(name, peers.dns_server)));
    }
    if let Some(http_sd) = &peers.http_sd {
        sources.push(Box::new(HttpSd::new(http_sd)));
    }
    if let Some(api) = &peers.dynatrace_api {
        sources.push(Box::new(DynatraceApi::new(api)));
    }
    sources
}

/// The names of all sources of a configuration, `static` among them.
pub(crate) fn named_in(config: &Config) -> BTreeSet<SourceName> {
    let asked = sources(config).into_iter().map(|source| source.name().clone());
    asked.chain([SourceName::fixed()]).collect()
}

/// A source's name: what it is, and which one where there can be several. Never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SourceName(String);

impl SourceName {
    /// The configuration's `static` list and `--peer`.
    pub fn fixed() -> Self {
        Self("static".into())
    }

    /// `nodewall peers add`.
    pub fn operator() -> Self {
        Self("operator".into())
    }

    /// The file at `path`.
    pub fn file(path: &Path) -> Self {
        Self(format!("file:{}", path.display()))
    }

    /// The addresses of a host name.
    pub fn dns(name: &str) -> Self {
        Self(format!("dns:{name}"))
    }

    /// HTTP service discovery at `url`.
    pub fn http_sd(url: &str) -> Self {
        Self(format!("http_sd:{url}"))
    }

    /// The vendor's cluster API at `url`.
    pub fn dynatrace_api(url: &str) -> Self {
        Self(format!("dynatrace_api:{url}"))
    }

    /// What the vendor's firewall service wrote into iptables.
    pub fn vendor_firewall() -> Self {
        Self("vendor_firewall".into())
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// It is asked without the network.
    pub fn is_local(&self) -> bool {
        self.0 == "vendor_firewall" || self.0.starts_with("file:")
    }

    /// Nobody on this host wrote these addresses down as peers: they stay within bounds, and leave late.
    pub fn is_learnt(&self) -> bool {
        !(self.0 == "static" || self.0 == "operator" || self.0.starts_with("file:"))
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_who_is_believed_without_bounds() {
        let path = Path::new("/etc/nodewall/peers");
        for (name, text, learnt) in [
            (SourceName::fixed(), "static", false),
            (SourceName::operator(), "operator", false),
            (SourceName::file(path), "file:/etc/nodewall/peers", false),
            (SourceName::dns("nodes.example"), "dns:nodes.example", true),
            (SourceName::http_sd("https://sd.example/x"), "http_sd:https://sd.example/x", true),
            (SourceName::dynatrace_api("https://n1.example"), "dynatrace_api:https://n1.example", true),
            (SourceName::vendor_firewall(), "vendor_firewall", true),
        ] {
            assert_eq!((name.as_str(), name.is_learnt()), (text, learnt));
        }
    }
}
