//! What is found on the node: interfaces, peers and who vouches for them, and who knocked on 8443. Reads only; what could not be read is told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::Serialize;

use crate::peers::{FileSource, VendorFirewall, cluster_ports};
use nodewall_evidence::{
    self as evidence,
    store::{Filter, Reader},
};
use nodewall_host::{
    net::{self, NetError, Network, SelectError, Sockets},
    state::StateDir,
};
use nodewall_policy::config::{AGENT_PORT, InterfacePattern, parse_peer, show};

/// Where a file of peers is looked for when none is named.
const USUAL_PEERS_FILE: &str = "/etc/nodewall/peers";
/// Flows that are summed at most, the newest.
const MAX_FLOWS: usize = 5_000;

/// Who says that an address is a peer. In the order in which they are believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Witness {
    /// `--peer`, or an answer.
    Typed,
    /// A file that only root can write.
    File,
    /// The vendor's firewall service.
    VendorFirewall,
    /// This node itself: it is connected to a cluster port there.
    ConnectedTo,
    /// It is connected to a cluster port here. As long as nothing filters, anybody can be.
    ConnectedFrom,
}

impl Witness {
    /// As people read it.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Typed => "typed in",
            Self::File => "peers file",
            Self::VendorFirewall => "vendor's firewall rules",
            Self::ConnectedTo => "this node is connected to its cluster port",
            Self::ConnectedFrom => "it is connected to a cluster port here (proves nothing)",
        }
    }
}

/// An interface that would be filtered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FoundInterface {
    /// Its name.
    pub name: String,
    /// Why.
    pub because: String,
}

/// An address that may be a peer's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FoundPeer {
    /// Address or prefix.
    pub address: String,
    /// Who says so.
    pub found_by: Vec<Witness>,
}

/// Somebody who knocked on 8443. The address is what the frames said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Knocker {
    /// The address.
    pub source: String,
    /// Frames that were denied, or would have been, of those in the evidence.
    pub denied_packets: u64,
    /// When last, Unix time, ns; 0: the evidence has none.
    pub last_unix_ns: u64,
    /// It is connected right now.
    pub connected: bool,
}

impl Knocker {
    /// In a few words.
    pub fn text(&self) -> String {
        let mut words = Vec::new();
        if self.connected {
            words.push("connected now".to_owned());
        }
        if self.denied_packets > 0 {
            words.push(format!("{} frames against the policy in the evidence", self.denied_packets));
        }
        format!("{} ({})", self.source, words.join(", "))
    }
}

/// Everything that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovery {
    /// The interfaces that would be filtered.
    pub interfaces: Vec<FoundInterface>,
    /// Why there is none, where there is none.
    pub no_interface: Option<String>,
    /// The host's links.
    network: Network,
    /// Peers by source.
    peers: BTreeMap<IpNet, BTreeSet<Witness>>,
    /// The file of peers that was read.
    pub peers_file: Option<PathBuf>,
    /// Who knocked on 8443, most frames first.
    pub knocked: Vec<Knocker>,
    /// Frames to 8443 that the policy in force denied, or would have; `None`: none is in force, or it can not be read.
    pub counted_8443: Option<u64>,
    /// What could not be read, and what that means.
    pub unread: Vec<String>,
}

impl Discovery {
    /// The peers, and who found each.
    pub fn peers(&self) -> Vec<FoundPeer> {
        let told = |(net, by): (&IpNet, &BTreeSet<Witness>)| FoundPeer {
            address: show(net),
            found_by: by.iter().copied().collect(),
        };
        self.peers.iter().map(told).collect()
    }

    /// Those that this witness knows.
    pub fn known_to(&self, witness: Witness) -> impl Iterator<Item = IpNet> + '_ {
        self.peers.iter().filter(move |(_, by)| by.contains(&witness)).map(|(net, _)| *net)
    }

    /// Those for whom the best witness is this one.
    pub fn known_only_to(&self, witness: Witness) -> Vec<IpNet> {
        self.peers.iter().filter(|(_, by)| by.first() == Some(&witness)).map(|(net, _)| *net).collect()
    }

    /// Takes note of a peer.
    pub fn add(&mut self, net: IpNet, witness: Witness) {
        self.peers.entry(net).or_default().insert(witness);
    }

    /// Takes note of what a file of peers says.
    fn read_file(&mut self, path: &Path) {
        match FileSource::new(path).read() {
            Ok(answer) => {
                answer.peers.into_iter().for_each(|net| self.add(net, Witness::File));
                self.peers_file = Some(path.to_path_buf());
            }
            Err(error) => self.unread.push(format!("peers file: {error}")),
        }
    }

    /// Connections to cluster ports, either way; this node's own addresses are nobody else.
    fn read_sockets(&mut self, sockets: &Sockets, own: &[IpAddr]) {
        let cluster = cluster_ports();
        let peer = |address: IpAddr| {
            let address = address.to_canonical();
            if own.contains(&address) { None } else { parse_peer(&address.to_string()).ok() }
        };
        let inbound: BTreeSet<_> = sockets.inbound().collect();
        for connection in sockets.connections() {
            let Some(net) = peer(connection.remote.ip()) else { continue };
            if inbound.contains(connection) {
                if cluster.contains(connection.local.port()) {
                    self.add(net, Witness::ConnectedFrom);
                }
            } else if cluster.contains(connection.remote.port()) {
                self.add(net, Witness::ConnectedTo);
            }
        }
    }

    fn read_knockers(&mut self, state: Option<&StateDir>, sockets: &Sockets, own: &[IpAddr]) {
        let mut found: BTreeMap<IpAddr, Knocker> = BTreeMap::new();
        if let Some(state) = state {
            let filter = Filter { ports: vec![AGENT_PORT], limit: Some(MAX_FLOWS), ..Filter::default() };
            let flows = Reader::open(&evidence::directory(state))
                .and_then(|reader| reader.map_or_else(|| Ok(Vec::new()), |reader| reader.flows(&filter)));
            match flows {
                Ok(flows) => {
                    for flow in flows.into_iter().map(|flow| flow.record) {
                        let Some(source) = flow.key.source else { continue };
                        let knocker = found.entry(source).or_default();
                        knocker.denied_packets += flow.packets;
                        knocker.last_unix_ns = knocker.last_unix_ns.max(flow.last_unix_ns);
                    }
                }
                Err(error) => self.unread.push(format!("evidence: {error}")),
            }
        }
        for connection in sockets.inbound().filter(|connection| connection.local.port() == AGENT_PORT) {
            let source = connection.remote.ip().to_canonical();
            if !source.is_loopback() && !own.contains(&source) {
                found.entry(source).or_default().connected = true;
            }
        }
        self.knocked =
            found.into_iter().map(|(source, knocker)| Knocker { source: source.to_string(), ..knocker }).collect();
        self.knocked.sort_by_key(|knocker| (std::cmp::Reverse(knocker.denied_packets), !knocker.connected));
    }

    /// Who knocked on 8443 and is none of these.
    pub fn outsiders(&self, peers: &[IpNet]) -> Vec<Knocker> {
        let is_peer = |knocker: &&Knocker| {
            knocker.source.parse::<IpAddr>().is_ok_and(|source| peers.iter().any(|net| net.contains(&source)))
        };
        self.knocked.iter().filter(|knocker| !is_peer(knocker)).cloned().collect()
    }

    /// Which interfaces these are; none: the default set.
    pub fn resolve(&self, named: &[InterfacePattern]) -> Result<Vec<FoundInterface>, SelectError> {
        let selection = net::resolve(&self.network, (!named.is_empty()).then_some(named), |_, _| false)?;
        let attach = selection.attach.into_iter().map(|s| FoundInterface { name: s.name, because: s.because });
        let missing = selection.missing.into_iter();
        let missing = missing.map(|name| FoundInterface { name, because: "named; not there yet".into() });
        Ok(attach.chain(missing).collect())
    }

    fn read_interfaces(&mut self, named: &[InterfacePattern]) {
        match self.resolve(named) {
            Ok(interfaces) => self.interfaces = interfaces,
            Err(error) => self.no_interface = Some(error.to_string()),
        }
    }
}

/// This node's own addresses from which it would send to these peers: those by which they know it. None that a prefix among the peers holds: all nodes have it.
///
/// # Errors
/// When the kernel cannot be asked for routes.
pub async fn own_towards(peers: &[IpNet]) -> Result<BTreeSet<IpNet>, NetError> {
    let network = net::snapshot().await?;
    let own: BTreeSet<IpAddr> = network.links().flat_map(net::Link::own_addresses).collect();
    let single = |peer: &&IpNet| peer.prefix_len() == peer.max_prefix_len() && !own.contains(&peer.addr());
    let others: Vec<IpAddr> = peers.iter().filter(single).map(IpNet::addr).collect();
    let sources = net::ways_to(&others).await?.into_iter().filter_map(|way| match way {
        net::Way::Out(route) => route.source,
        net::Way::Here | net::Way::Nowhere(_) => None,
    });
    let is_named = |source: &IpAddr| peers.iter().any(|peer| peer.contains(source));
    Ok(sources.filter(|source| own.contains(source) && !is_named(source)).map(IpNet::from).collect())
}

/// Looks at the node. `interfaces`: those that were named; `peers_file`: the one that was named.
///
/// # Errors
/// Only what nothing can be done without: the links and the sockets.
pub async fn find(
    interfaces: &[InterfacePattern],
    typed: &[IpNet],
    peers_file: Option<&Path>,
    state: Option<&StateDir>,
) -> Result<Discovery, NetError> {
    let mut found = Discovery { network: net::snapshot().await?, ..Discovery::default() };
    let own: Vec<IpAddr> = found.network.links().flat_map(net::Link::own_addresses).collect();
    found.read_interfaces(interfaces);
    for net in typed {
        found.add(*net, Witness::Typed);
    }
    match peers_file {
        Some(path) => found.read_file(path),
        None if Path::new(USUAL_PEERS_FILE).exists() => found.read_file(Path::new(USUAL_PEERS_FILE)),
        None => {}
    }
    match VendorFirewall::new().look() {
        Ok(answer) => answer.peers.into_iter().for_each(|net| found.add(net, Witness::VendorFirewall)),
        Err(error) => found.unread.push(format!("vendor's firewall rules: {error}")),
    }
    let sockets = net::sockets()?;
    found.read_sockets(&sockets, &own);
    found.read_knockers(state, &sockets, &own);
    Ok(found)
}
