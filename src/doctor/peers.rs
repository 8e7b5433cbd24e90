//! The ways to the peers: whether there is one, and under which address the other nodes see this one. They drop what comes from an address that their
//! lists of peers do not have.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;

use super::finding::{Finding, Findings, Status, Subject};
use nodewall_host::net::{self, Leaving, NatReport, NetError, Network, Route, Translation, Way};
use nodewall_policy::config::{PortSet, show};

/// More peers than this are counted, not named.
const NAMED: usize = 4;
/// A line with more peers than this is no help.
const IN_A_LINE: usize = 64;

/// What the checks of the ways to the peers need to know.
#[derive(Debug)]
pub struct PeerFacts<'a> {
    /// The peers that this node knows. On most clusters all nodes have the same list, so it names this node, too.
    pub peers: &'a [IpNet],
    /// The links with the node's own addresses.
    pub network: &'a Network,
    /// What the kernel said.
    pub ways: Vec<PeerWay>,
    /// Rules that change what leaves.
    pub nat: &'a NatReport,
    /// The cluster's ports.
    pub ports: PortSet,
}

/// The way to one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerWay {
    /// The peer.
    pub peer: IpNet,
    /// The address that the kernel was asked about: the peer's own, or the first one of a prefix.
    pub address: IpAddr,
    /// What it said.
    pub way: Way,
}

/// Asks the kernel, in the calling thread's network namespace. The node's own addresses are nobody's peers.
pub async fn read(peers: &[IpNet], network: &Network) -> Result<Vec<PeerWay>, NetError> {
    let own = own_addresses(network);
    let asked: Vec<(IpNet, IpAddr)> = peers.iter().filter_map(|peer| Some((*peer, asked_of(peer, &own)?))).collect();
    let addresses: Vec<IpAddr> = asked.iter().map(|(_, address)| *address).collect();
    let ways = net::ways_to(&addresses).await?;
    Ok(asked.into_iter().zip(ways).map(|((peer, address), way)| PeerWay { peer, address, way }).collect())
}

fn own_addresses(network: &Network) -> BTreeSet<IpAddr> {
    network.links().flat_map(|link| link.addresses.iter().map(IpNet::addr)).collect()
}

/// `None`: it is the node itself, or its way depends on the interface.
fn asked_of(peer: &IpNet, own: &BTreeSet<IpAddr>) -> Option<IpAddr> {
    // The first address of an IPv6 network is that of its routers.
    let skipped = usize::from(peer.addr().is_ipv6() && peer.prefix_len() < 127);
    let address = peer.hosts().skip(skipped).find(|address| !own.contains(address))?;
    (!is_link_local(address)).then_some(address)
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// Peers with the same fault.
type Groups<'a, K> = BTreeMap<K, Vec<&'a PeerWay>>;

/// Judges them.
pub fn findings(facts: &PeerFacts<'_>) -> Vec<Finding> {
    let mut findings = Findings::of(Subject::Peers);
    let mut nowhere: Groups<'_, (bool, &str)> = Groups::new();
    let mut senders: Groups<'_, Option<IpAddr>> = Groups::new();
    let mut translated: Groups<'_, (&str, bool, Option<IpAddr>)> = Groups::new();
    let mut here = Vec::new();
    let translations: Vec<_> = facts.ways.iter().map(|way| translation(facts, way)).collect();
    for (way, translation) in facts.ways.iter().zip(&translations) {
        match (&way.way, translation) {
            (Way::Here, _) => here.push(way),
            (Way::Nowhere(why), _) => nowhere.entry((way.address.is_ipv6(), why)).or_default().push(way),
            (Way::Out(_), Some((rule, becomes))) => {
                translated.entry((&rule.rule, rule.certain, *becomes)).or_default().push(way);
            }
            (Way::Out(route), None) => senders.entry(route.source).or_default().push(way),
        }
    }
    for ((is_v6, why), ways) in &nowhere {
        no_way(facts, *is_v6, why, ways, &mut findings);
    }
    if let Some(first) = here.first() {
        findings
            .add(Status::Degraded, "peer-route", format!("packets to {} go to this host itself", named(&here)))
            .because(
                "no interface has the address, and yet a route says that it is this host's: the peer is not reached",
            )
            .advice(format!("`ip route get {}` shows the route; take it away", first.address));
    }
    senders_are_known(facts, &senders, &mut findings);
    for ((rule, certain, becomes), ways) in &translated {
        let of = |way: &&PeerWay| translations.get(facts.ways.iter().position(|known| known == *way)?)?.as_ref();
        let cure = ways.first().and_then(|way| cure(facts, &of(way)?.0, ways));
        not_itself(rule, *certain, *becomes, ways, cure, &mut findings);
    }
    findings.into_vec()
}

/// The rule that makes this node's packets to a peer come from another address, and which, where that can be told. `None`: none does, or the peers know
/// the other address.
fn translation(facts: &PeerFacts<'_>, way: &PeerWay) -> Option<(Translation, Option<IpAddr>)> {
    let Way::Out(route @ Route { source: Some(source), interface, gateway }) = &way.way else { return None };
    debug_assert!(route.source.is_some());
    let link = facts.network.by_index((*interface)?)?;
    let packet = Leaving { source: *source, destination: way.address, interface: &link.name, ports: &facts.ports };
    let translation = facts.nat.translation(&packet)?;
    let becomes = match translation.addresses {
        None => link.masquerades_as(gateway.unwrap_or(way.address), way.address),
        Some((first, last)) => (first == last).then_some(first),
    };
    let harmless = becomes.is_some_and(|becomes| becomes == *source || is_listed(facts, becomes));
    (!harmless).then_some((translation, becomes))
}

fn is_listed(facts: &PeerFacts<'_>, address: IpAddr) -> bool {
    facts.peers.iter().any(|peer| peer.contains(&address))
}

/// The node's own addresses of a family that the lists of peers have.
fn listed_own(facts: &PeerFacts<'_>, is_v6: bool) -> Vec<IpAddr> {
    let own = own_addresses(facts.network);
    own.into_iter().filter(|address| address.is_ipv6() == is_v6 && is_listed(facts, *address)).collect()
}

fn no_way(facts: &PeerFacts<'_>, is_v6: bool, why: &str, ways: &[&PeerWay], findings: &mut Findings) {
    let usable = |address: &IpAddr| address.is_ipv6() == is_v6 && !address.is_loopback() && !is_link_local(*address);
    let speaks = own_addresses(facts.network).iter().any(usable);
    let found = format!("there is no route to {}: {why}", named(ways));
    let Some(first) = ways.first() else { return };
    if speaks {
        findings
            .add(Status::Degraded, "peer-route", found)
            .because("this node cannot send to a peer there, nor answer it")
            .advice(format!(
                "`ip route get {}` shows it; give this host a route, or take the address out of the peers",
                first.address
            ));
    } else {
        findings
            .add(Status::Note, "peer-route", found)
            .because(format!(
                "this host has no {} address: it reaches that peer by the other family, if at all",
                if is_v6 { "IPv6" } else { "IPv4" }
            ))
            .advice("nothing, if the peer has an address of the other family in the list, too");
    }
}

/// The addresses that this node sends from.
fn senders_are_known(facts: &PeerFacts<'_>, senders: &Groups<'_, Option<IpAddr>>, findings: &mut Findings) {
    let (mut well, mut unlisted) = (Vec::new(), Vec::new());
    for (source, ways) in senders {
        let Some(source) = source else {
            findings
                .add(
                    Status::Degraded,
                    "peer-source",
                    format!("this host has no address to send from to {}", named(ways)),
                )
                .because("what it sends there has no sender that a peer could answer")
                .advice("give the interface of that route an address, or the route one (`src`)");
            continue;
        };
        let never = never_listed(facts, *source);
        let known = listed_own(facts, source.is_ipv6());
        if is_listed(facts, *source) {
            well.push(source.to_string());
        } else if let Some(known) = known.first() {
            let why = format!(
                "the list of peers has this node as {known}: where the other nodes have the same list, they drop what comes from {source}"
            );
            wrong_sender(*source, ways, &why, &line(facts, ways, Some(*known)), findings);
        } else if let Some(never) = never {
            let why =
                format!("it is {never}, which no list of peers can have: the other nodes drop what comes from it");
            wrong_sender(*source, ways, &why, &line(facts, ways, None), findings);
        } else {
            well.push(source.to_string());
            unlisted.push(*source);
        }
    }
    let of_one_family = |is_v6: bool| unlisted.iter().filter(|address| address.is_ipv6() == is_v6).count();
    if of_one_family(false) > 1 || of_one_family(true) > 1 {
        findings
            .add(Status::Note, "peer-source", format!("this node sends to its peers from {}", well.join(" and ")))
            .because("the list of peers here does not name this node, so that nobody can tell whether the others know all of them")
            .advice("compare with the peers of the other nodes; name this node in the list, which is then checked");
    } else if !well.is_empty() {
        let unnamed = if unlisted.is_empty() { "" } else { "; the list of peers here does not name this node" };
        findings.ok("peer-source", format!("the peers see this node as {}{unnamed}", well.join(" and ")));
    }
}

fn wrong_sender(source: IpAddr, ways: &[&PeerWay], why: &str, line: &str, findings: &mut Findings) {
    findings
        .add(Status::Degraded, "peer-source", format!("this node sends to {} from {source}", named(ways)))
        .because(why)
        .advice(format!("{line}; or add {source} to the peers of every other node"));
}

/// The line that makes a route use another source.
fn line(facts: &PeerFacts<'_>, ways: &[&PeerWay], source: Option<IpAddr>) -> String {
    let Some(PeerWay { peer, way: Way::Out(route), .. }) = ways.first().copied() else { return String::new() };
    let ip = if peer.addr().is_ipv6() { "ip -6" } else { "ip" };
    let via = route.gateway.map_or_else(String::new, |gateway| format!(" via {gateway}"));
    let device = route.interface.and_then(|index| facts.network.by_index(index));
    let device = device.map_or_else(String::new, |link| format!(" dev {}", link.name));
    let source = source.map_or_else(|| "ADDRESS (one that they list)".to_owned(), |source| source.to_string());
    let others = if ways.len() > 1 { ", and so for the others" } else { "" };
    format!("`{ip} route replace {}{via}{device} src {source}`{others}", show(peer))
}

/// Why no list of peers can have an address of this node's.
fn never_listed(facts: &PeerFacts<'_>, address: IpAddr) -> Option<&'static str> {
    let temporary = |link: &net::Link| address.is_ipv6() && link.secondary.iter().any(|net| net.addr() == address);
    if address.is_loopback() {
        Some("a loopback address")
    } else if is_link_local(address) {
        Some("a link-local address")
    } else if facts.network.links().any(temporary) {
        Some("a temporary address that changes every day (RFC 8981)")
    } else {
        None
    }
}

fn cure(facts: &PeerFacts<'_>, translation: &Translation, ways: &[&PeerWay]) -> Option<String> {
    let source = |way: &&PeerWay| if let Way::Out(route) = &way.way { route.source } else { None };
    // A line is for one family.
    let is_v6 = ways.first()?.address.is_ipv6();
    let ways = || ways.iter().filter(move |way| way.address.is_ipv6() == is_v6);
    if ways().count() > IN_A_LINE {
        return None;
    }
    facts.nat.cure(translation, &ways().filter_map(source).collect(), &ways().map(|way| way.peer).collect())
}

fn not_itself(
    rule: &str,
    certain: bool,
    becomes: Option<IpAddr>,
    ways: &[&PeerWay],
    cure: Option<String>,
    findings: &mut Findings,
) {
    let sources: BTreeSet<String> = ways
        .iter()
        .filter_map(|way| if let Way::Out(route) = &way.way { Some(route.source?.to_string()) } else { None })
        .collect();
    let sources = sources.into_iter().collect::<Vec<_>>().join(", ");
    let to = becomes.map_or_else(|| "another address".to_owned(), |becomes| becomes.to_string());
    let do_this = cure.map_or_else(
        || "let the rule leave out what this node sends to its peers".to_owned(),
        |cure| format!("`{cure}`, and the same where the rule is made, leaves out what this node sends to its peers"),
    );
    if certain {
        findings
            .add(
                Status::Degraded,
                "peer-nat",
                format!("source NAT makes {to} of {sources} in what this node sends to {}: {rule}", named(ways)),
            )
            .because("the peers see this node under an address that their lists do not have, and drop it")
            .advice(do_this);
    } else {
        findings
            .add(
                Status::Unknown,
                "peer-nat",
                format!(
                    "whether source NAT makes {to} of {sources} in what this node sends to {} could not be told: {rule}",
                    named(ways)
                ),
            )
            .because("the rule, or one before it, has conditions that are not read here")
            .advice(format!("look at the rule by hand; if it does, {do_this}"));
    }
}

fn named(ways: &[&PeerWay]) -> String {
    let mut text: Vec<String> = ways.iter().take(NAMED).map(|way| show(&way.peer)).collect();
    if ways.len() > NAMED {
        text.push(format!("{} more", ways.len() - NAMED));
    }
    text.join(", ")
}

#[cfg(test)]
mod tests;
