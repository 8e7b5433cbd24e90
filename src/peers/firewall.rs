//! The source `vendor_firewall`: peers as Dynatrace Managed's own firewall service wrote them into iptables, before a node joins; where that service is off,
//! those of firewalld's zones, or those that the service would let in by its file. Reads rules through the tools that `net` runs; must not change any.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use ipnet::IpNet;

use super::{Answer, Fetch, Source, SourceError, SourceName, rules::refuse};
use nodewall_host::net::{Listing, NamedSources, listings, named_sources};
use nodewall_policy::config::{PortRange, PortSet, Trust, parse_peer, read_trusted};

/// What [`cluster_ports`] says.
const CLUSTER_PORTS: [(u16, u16); 7] =
    [(5701, 5711), (7000, 7001), (7199, 7199), (8018, 8019), (9042, 9042), (9200, 9200), (9300, 9300)];
/// Listing rules costs a few milliseconds; the vendor's service writes them minutes before a node joins.
const INTERVAL: Duration = Duration::from_secs(30);

/// The ports that the vendor's firewall service opens to cluster nodes alone: Hazelcast, Cassandra, Elasticsearch, Nodekeeper, upgrades.
/// Not 8020 and 8021, which it opens to everybody; Dynatrace's script for firewalld lets the sources of every zone in at 8021.
pub fn cluster_ports() -> PortSet {
    CLUSTER_PORTS.iter().filter_map(|&(first, last)| PortRange::new(first, last)).collect()
}

/// Where the vendor's software says where it is (`PRODUCT_PATH = /opt/dynatrace-managed`),
const PRODUCT: &str = "/etc/dynatrace.conf";
/// and below that, the file of its firewall service (`CLUSTER_NODES=10.0.0.1,10.0.0.2`).
const SERVICE: &str = "firewall/services/firewall.conf";
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The vendor's firewall rules in this host, or what they would be.
#[derive(Clone, Debug)]
pub struct VendorFirewall {
    name: SourceName,
    product: PathBuf,
}

impl VendorFirewall {
    /// Of the network namespace that this process is in.
    pub fn new() -> Self {
        Self::installed(Path::new(PRODUCT))
    }

    /// The same, where the vendor's software is where this file says.
    pub fn installed(product: &Path) -> Self {
        Self { name: SourceName::vendor_firewall(), product: product.to_path_buf() }
    }

    /// The peers that rules let in, as they are now; where there are none, those of the service's file. Blocks as [`listings`] does.
    pub fn look(&self) -> Result<Answer, SourceError> {
        let by_rules = Self::read(&listings());
        let Err(no_rule) = by_rules else { return by_rules };
        match self.configured() {
            Ok(peers) if peers.is_empty() => Err(no_rule),
            Ok(peers) => Ok(Answer { peers, valid_for: None, unanswered: None }),
            // Both: either would do.
            Err(no_file) => {
                Err(SourceError { problem: format!("{}; {}", no_rule.problem, no_file.problem), help: no_file.help })
            }
        }
    }

    /// The peers that the listed rules name. Pure.
    pub fn read(listings: &[Listing]) -> Result<Answer, SourceError> {
        let failed = |problem: String, help: &str| SourceError { problem, help: help.to_owned() };
        if listings.is_empty() {
            return Err(failed(
                "none of nft, iptables-save and iptables-legacy-save is installed".into(),
                "install iptables, or take vendor_firewall out of [peers]",
            ));
        }
        let NamedSources { sources, unread } = named_sources(listings, &cluster_ports())
            .map_err(|problem| failed(problem, "see why it fails; run nodewall as root or with CAP_NET_ADMIN"))?;
        // What can be nobody's peer was not written for a node.
        let peers: BTreeSet<IpNet> = sources.iter().map(IpNet::trunc).filter(|net| refuse(net).is_none()).collect();
        match (unread.first(), peers.is_empty()) {
            (_, false) => Ok(Answer { peers, valid_for: None, unanswered: None }),
            (None, true) => Err(failed(
                "no rule of iptables or firewalld lets a source in to the cluster's ports by name".into(),
                "see that the firewall service of Dynatrace Managed is on, or take vendor_firewall out of [peers]",
            )),
            (Some(first), true) => Err(failed(
                format!(
                    "no rule that nodewall can read lets a source in to the cluster's ports by name; {} could not be read, the first: {first}",
                    unread.len()
                ),
                "name the nodes in [peers] static or file, or take the condition out of the rule",
            )),
        }
    }

    /// The nodes of the service's file; none where the vendor's software is not installed.
    fn configured(&self) -> Result<BTreeSet<IpNet>, SourceError> {
        if !self.product.exists() {
            return Ok(BTreeSet::new());
        }
        let product = text(&self.product)?;
        let Some(place) = value(&product, "PRODUCT_PATH") else { return Ok(BTreeSet::new()) };
        let file = Path::new(place).join(SERVICE);
        if !file.exists() {
            return Ok(BTreeSet::new());
        }
        let service = text(&file)?;
        let nodes = value(&service, "CLUSTER_NODES").into_iter().flat_map(|nodes| nodes.split([',', ' ']));
        nodes
            .filter(|node| !node.is_empty())
            .map(|node| {
                parse_peer(node).map_err(|error| {
                    let help = error.help.unwrap_or_else(|| "correct CLUSTER_NODES there".into());
                    SourceError::at(file.display(), error.message, help)
                })
            })
            .collect()
    }
}

fn text(file: &Path) -> Result<String, SourceError> {
    let help = "see that Dynatrace Managed is whole, or take vendor_firewall out of [peers]";
    read_trusted(file, Trust::OwnerOnly, MAX_FILE_BYTES, help)
        .map_err(|error| SourceError::at(file.display(), error.message, error.help.unwrap_or_else(|| help.into())))
}

/// What the last line of this key says, spaces and quotes aside.
fn value<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    let mut pairs = text.lines().filter_map(|line| line.split_once('='));
    let named = pairs.rfind(|(name, _)| name.trim() == key);
    named.map(|(_, value)| value.trim().trim_matches(['"', '\'']).trim())
}

impl Default for VendorFirewall {
    fn default() -> Self {
        Self::new()
    }
}

impl Source for VendorFirewall {
    fn name(&self) -> &SourceName {
        &self.name
    }

    fn fetch(&mut self) -> Fetch<'_> {
        Box::pin(async {
            // The tools answer for the namespace of the thread that starts them; a new thread is in its maker's.
            let this = self.clone();
            let looked = tokio::task::spawn_blocking(move || this.look()).await;
            looked.unwrap_or_else(|error| {
                let fault = "this is a fault of nodewall; please report it";
                Err(SourceError::at("the rules could not be listed", error, fault))
            })
        })
    }

    fn interval(&self) -> Duration {
        INTERVAL
    }
}
