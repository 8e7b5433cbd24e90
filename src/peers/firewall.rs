//! The source `vendor_firewall`: peers as Dynatrace Managed's own firewall service wrote them into iptables, before a node joins. Reads rules through
//! the tools that `net` runs; must not change any.

use std::{collections::BTreeSet, time::Duration};

use ipnet::IpNet;

use super::{Answer, Fetch, Source, SourceError, SourceName, rules::refuse};
use nodewall_host::net::{Listing, listings, named_sources};
use nodewall_policy::config::{PortRange, PortSet};

/// What [`cluster_ports`] says.
const CLUSTER_PORTS: [(u16, u16); 7] =
    [(5701, 5711), (7000, 7001), (7199, 7199), (9042, 9042), (9200, 9200), (9300, 9300), (8018, 8021)];
/// Listing rules costs a few milliseconds; the vendor's service writes them minutes before a node joins.
const INTERVAL: Duration = Duration::from_secs(30);

/// The ports that the vendor's firewall service opens to cluster nodes: Hazelcast, Cassandra, Elasticsearch, the nodes' services.
pub fn cluster_ports() -> PortSet {
    CLUSTER_PORTS.iter().filter_map(|&(first, last)| PortRange::new(first, last)).collect()
}

/// The vendor's firewall rules in this host's iptables and ip6tables.
#[derive(Clone, Debug)]
pub struct VendorFirewall {
    name: SourceName,
}

impl VendorFirewall {
    /// Of the network namespace that this process is in.
    pub fn new() -> Self {
        Self { name: SourceName::vendor_firewall() }
    }

    /// The peers that the listed rules name. Pure.
    pub fn read(listings: &[Listing]) -> Result<Answer, SourceError> {
        let failed = |problem: String, help: &str| SourceError { problem, help: help.to_owned() };
        if listings.iter().all(|listing| listing.tool == "nft") {
            return Err(failed(
                "neither iptables-save nor iptables-legacy-save is installed".into(),
                "install iptables, or take vendor_firewall out of [peers]",
            ));
        }
        let named = named_sources(listings, &cluster_ports())
            .map_err(|problem| failed(problem, "see why it fails; run nodewall as root or with CAP_NET_ADMIN"))?;
        // What can be nobody's peer was not written for a node.
        let peers: BTreeSet<IpNet> = named.iter().map(IpNet::trunc).filter(|net| refuse(net).is_none()).collect();
        if peers.is_empty() {
            return Err(failed(
                "no rule of iptables lets a source in to the cluster's ports".into(),
                "see that the firewall service of Dynatrace Managed is on, or take vendor_firewall out of [peers]",
            ));
        }
        Ok(Answer { peers, valid_for: None, unanswered: None })
    }
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
            let listed = tokio::task::spawn_blocking(listings).await;
            let listings = listed.map_err(|error| {
                SourceError::at("the rules could not be listed", error, "this is a fault of nodewall; please report it")
            })?;
            Self::read(&listings)
        })
    }

    fn interval(&self) -> Duration {
        INTERVAL
    }
}
