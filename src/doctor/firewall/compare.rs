//! Asks the host's packet filter and the policy the same questions, port by port and source by source, and gathers the differences. A question
//! is the first packet of a connection; where no rule's ports begin or end, one port answers for its neighbours.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::doctor::ports::{PortSet, passes, transport};
use nodewall_host::net::{Answer, Firewall, Knock, Transport};
use nodewall_policy::{
    Policy, PortClass,
    config::{Access, show},
};

/// More are not asked for: each is asked about every port.
const MOST_PEERS: usize = 64;
/// Addresses of a prefix that are tried for one that no longer prefix holds.
const TRIES: u32 = 64;
/// Documentation and other addresses that nobody has: one of them stands for everyone else.
const NOBODYS: [&str; 8] = [
    "203.0.113.77",
    "198.51.100.77",
    "192.0.2.77",
    "240.0.0.77",
    "2001:db8:ffff::77",
    "3fff:ffff::77",
    "2001:db8:1::77",
    "fdff:ffff::77",
];

/// How the host's rules differ from the policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Difference {
    /// They accept anyone, nodewall does not.
    OpenToAll,
    /// They accept this source, nodewall does not.
    OpenTo(String),
    /// They refuse a peer.
    ClosedToPeer { peer: String, by: String },
    /// They refuse anyone, nodewall does not.
    ClosedToAll { by: String },
    /// They refuse a source that `also_allow` names.
    ClosedToAllowed { net: String, by: String },
}

/// The ports of a difference, written by class: `cassandra tcp 9042; search tcp 9200`.
#[derive(Clone, Debug, Default)]
pub(super) struct ByClass {
    v4: BTreeMap<String, PortSet>,
    v6: BTreeMap<String, PortSet>,
}

impl ByClass {
    fn add(&mut self, four: bool, class: &str, transport: Transport, (first, last): (u16, u16)) {
        let family = if four { &mut self.v4 } else { &mut self.v6 };
        family.entry(class.to_owned()).or_default().add(transport, first, last);
    }
}

impl std::fmt::Display for ByClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let family = |classes: &BTreeMap<String, PortSet>| {
            classes.iter().map(|(class, ports)| format!("{class} {ports}")).collect::<Vec<_>>().join("; ")
        };
        match (family(&self.v4), family(&self.v6)) {
            (v4, v6) if v4 == v6 => f.write_str(&v4),
            (v4, v6) if v6.is_empty() => write!(f, "{v4} (IPv4)"),
            (v4, v6) if v4.is_empty() => write!(f, "{v6} (IPv6)"),
            (v4, v6) => write!(f, "{v4} (IPv4); {v6} (IPv6)"),
        }
    }
}

/// What came out.
#[derive(Clone, Debug, Default)]
pub(super) struct Compared {
    pub(super) differences: BTreeMap<Difference, ByClass>,
    /// Ports whose fate is not known, by the rules that could not be read.
    pub(super) unknown: BTreeMap<Vec<String>, ByClass>,
    pub(super) peers_left_out: usize,
}

/// Someone to ask for.
#[derive(Clone, Debug)]
enum Who {
    Anyone,
    Peer(IpNet),
    Allowed(IpNet),
    Named(IpNet),
}

pub(super) fn compare(firewall: &Firewall, policy: &Policy, interfaces: &[String]) -> Compared {
    let mut compared =
        Compared { peers_left_out: policy.peers.len().saturating_sub(MOST_PEERS), ..Compared::default() };
    let everyone = everyone(firewall, policy);
    // Where a rule's ports begin; the port that stands for those up to the next.
    let edges = firewall.edges();
    let no_name = [String::new()];
    let interfaces = if interfaces.is_empty() { &no_name[..] } else { interfaces };
    for class in &policy.classes {
        for entry in &class.ports {
            let mut first = entry.ports.first();
            loop {
                let next = edges
                    .range(first.saturating_add(1)..)
                    .next()
                    .filter(|next| **next <= entry.ports.last() && **next > first);
                let last = next.map_or(entry.ports.last(), |next| next - 1);
                for (who, source) in &everyone {
                    for interface in interfaces {
                        let knock =
                            Knock { transport: transport(entry.protocol), port: first, source: *source, interface };
                        note(&mut compared, (policy, class), who, &knock, last, firewall.answer(&knock));
                    }
                }
                match next {
                    Some(next) => first = *next,
                    None => break,
                }
            }
        }
    }
    compared
}

fn note(
    compared: &mut Compared,
    (policy, class): (&Policy, &PortClass),
    who: &Who,
    knock: &Knock<'_>,
    last: u16,
    answer: Answer,
) {
    let ours = passes(policy, Some(class), knock.source);
    let difference = match (answer, who) {
        (Answer::Unknown { rules }, Who::Anyone | Who::Peer(_)) => {
            let ports = compared.unknown.entry(rules).or_default();
            ports.add(knock.source.is_ipv4(), &class.name, knock.transport, (knock.port, last));
            return;
        }
        (Answer::Accepted { .. }, Who::Anyone) if !ours => Difference::OpenToAll,
        (Answer::Accepted { .. }, Who::Named(net)) if !ours => Difference::OpenTo(show(net)),
        (Answer::Refused { by }, Who::Anyone) if ours => Difference::ClosedToAll { by },
        // On public ports a peer is anyone; one line is enough.
        (Answer::Refused { by }, Who::Peer(net)) if ours && class.access != Access::Public => {
            Difference::ClosedToPeer { peer: show(net), by }
        }
        (Answer::Refused { by }, Who::Allowed(net)) if ours && class.access != Access::Public => {
            Difference::ClosedToAllowed { net: show(net), by }
        }
        _ => return,
    };
    // What everyone may, each may.
    if let Difference::OpenTo(_) = difference
        && compared.differences.get(&Difference::OpenToAll).is_some_and(|all| {
            let family = if knock.source.is_ipv4() { &all.v4 } else { &all.v6 };
            family.get(&class.name).is_some_and(|ports| ports.contains(knock.transport, knock.port))
        })
    {
        return;
    }
    let ports = compared.differences.entry(difference).or_default();
    ports.add(knock.source.is_ipv4(), &class.name, knock.transport, (knock.port, last));
}

/// Anyone first, then peers, then whom rules and `also_allow` name; each with an address that stands for it.
fn everyone(firewall: &Firewall, policy: &Policy) -> Vec<(Who, IpAddr)> {
    let mut everyone: Vec<(Who, IpAddr)> =
        [true, false].into_iter().filter_map(|four| Some((Who::Anyone, outsider(four, firewall, policy)?))).collect();
    let named = firewall.sources();
    let allowed = policy.classes.iter().flat_map(|class| &class.also_allow);
    let stands_for = |who: Who, net: &IpNet| Some((who, representative(net, &named)?));
    everyone.extend(policy.peers.iter().take(MOST_PEERS).filter_map(|net| stands_for(Who::Peer(*net), net)));
    everyone.extend(allowed.filter_map(|net| stands_for(Who::Allowed(*net), net)));
    everyone
        .extend(named.iter().filter(|net| net.prefix_len() > 0).filter_map(|net| stands_for(Who::Named(*net), net)));
    everyone
}

/// An address that neither a rule nor the policy names.
pub(super) fn outsider(four: bool, firewall: &Firewall, policy: &Policy) -> Option<IpAddr> {
    let mut named = firewall.sources();
    named.retain(|net| net.prefix_len() > 0);
    named.extend(policy.peers.iter().chain(policy.classes.iter().flat_map(|class| &class.also_allow)));
    let mut candidates = NOBODYS.iter().filter_map(|text| text.parse::<IpAddr>().ok());
    candidates.find(|address| address.is_ipv4() == four && !named.iter().any(|net| net.contains(address)))
}

/// An address of `net` that no longer prefix among `named` holds, where one is found soon; else any of its addresses.
fn representative(net: &IpNet, named: &[IpNet]) -> Option<IpAddr> {
    let longer = |address: &IpAddr| {
        named
            .iter()
            .any(|other| other.prefix_len() > net.prefix_len() && net.contains(other) && other.contains(address))
    };
    let mut hosts = net.hosts().take(TRIES as usize);
    let any = net.hosts().next()?;
    Some(hosts.find(|address| !longer(address)).unwrap_or(any))
}
