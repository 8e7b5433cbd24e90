//! The sources that rules of iptables let in by name at certain TCP ports, from INPUT through the chains it jumps to. A rule with a
//! condition that could not be read lets nobody in.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::{
    iptables::{self, Condition, Rule, Target},
    listing::Listing,
};
use nodewall_policy::config::{PortSet, Protocol};

/// A jump into a jump into a jump…: more than the kernel allows, and an end to any loop.
const MAX_JUMPS: usize = 32;

/// The sources that a rule of iptables' filter table names and accepts over TCP at one of `ports`, where the rule names ports, too.
/// Sources that an earlier rule refuses at those ports are left out. Listings of other tools do not count.
///
/// # Errors
/// The tool that failed, and why: half of the rules would be half of the sources.
pub fn named_sources(listings: &[Listing], ports: &PortSet) -> Result<BTreeSet<IpNet>, String> {
    let mut found = BTreeSet::new();
    for listing in listings.iter().filter(|listing| listing.tool != "nft") {
        let text = listing.answer.as_ref().map_err(|why| format!("{}: {why}", listing.tool))?;
        let mut filter = FilterTable::default();
        for rule in iptables::rules(text, "filter") {
            filter.chains.entry(rule.chain.clone()).or_default().push(rule);
        }
        filter.follow("INPUT", &PathConditions::default(), ports, MAX_JUMPS, &mut |path| {
            let sources = path.sources.iter().flatten();
            found.extend(sources.filter(|net| !filter.refuses(net, path)).copied());
        });
    }
    Ok(found)
}

/// The first packet of a TCP connection.
struct Packet<'a> {
    port: u16,
    source: IpAddr,
    interface: &'a str,
}

impl Packet<'_> {
    fn meets(&self, condition: &Condition) -> bool {
        match condition {
            Condition::Protocols(protocols) => protocols.contains(&Protocol::Tcp),
            Condition::DestinationPorts(ports) => ports.contains(self.port),
            Condition::Source(net) => net.contains(&self.source),
            Condition::Interface(name) => match name.strip_suffix('+') {
                Some(beginning) => self.interface.starts_with(beginning),
                None => self.interface == name,
            },
            Condition::Constant(holds) => *holds,
        }
    }

    fn matches(&self, rule: &Rule) -> bool {
        rule.conditions.iter().all(|condition| self.meets(condition))
            && !rule.exceptions.iter().any(|condition| self.meets(condition))
    }
}

/// What a chain does with a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Refused,
    /// The calling chain goes on.
    Returned,
    /// Accepted, or not known.
    Other,
}

/// What the rules on a path through the chains ask for, all together.
#[derive(Debug, Clone, Default)]
struct PathConditions {
    /// `None`: nobody was named yet.
    sources: Option<Vec<IpNet>>,
    /// `None`: no port was named yet.
    ports: Option<PortSet>,
    interface: Option<String>,
}

impl PathConditions {
    /// These and the rule's own. `None`: nobody can meet them.
    fn narrowed(&self, rule: &Rule, wanted: &PortSet) -> Option<Self> {
        let mut path = self.clone();
        for condition in &rule.conditions {
            match condition {
                Condition::Source(net) => {
                    path.sources = Some(match path.sources {
                        None => vec![*net],
                        Some(before) => before.iter().filter_map(|known| narrower(known, net)).collect(),
                    });
                }
                Condition::DestinationPorts(ports) => {
                    path.ports = Some(path.ports.as_ref().unwrap_or(wanted).intersection(ports));
                }
                Condition::Protocols(protocols) if !protocols.contains(&Protocol::Tcp) => return None,
                // A node's own words to itself.
                Condition::Interface(name) if name == "lo" => return None,
                Condition::Interface(name) => path.interface = Some(name.clone()),
                Condition::Constant(false) => return None,
                Condition::Protocols(_) | Condition::Constant(true) => {}
            }
        }
        let excluded = rule.exceptions.iter().any(|condition| match condition {
            // All but some: whoever that is, it is not named.
            Condition::Source(_) | Condition::DestinationPorts(_) => true,
            Condition::Protocols(protocols) => protocols.contains(&Protocol::Tcp),
            Condition::Constant(holds) => *holds,
            Condition::Interface(_) => false,
        });
        let nobody =
            path.sources.as_ref().is_some_and(Vec::is_empty) || path.ports.as_ref().is_some_and(PortSet::is_empty);
        (!excluded && !nobody).then_some(path)
    }
}

/// The prefix that is in both.
fn narrower(one: &IpNet, other: &IpNet) -> Option<IpNet> {
    if one.contains(other) { Some(*other) } else { other.contains(one).then_some(*one) }
}

#[derive(Default)]
struct FilterTable {
    chains: BTreeMap<String, Vec<Rule>>,
}

impl FilterTable {
    fn rules(&self, chain: &str) -> &[Rule] {
        self.chains.get(chain).map(Vec::as_slice).unwrap_or_default()
    }

    /// Calls `accept` with the conditions of every path that ends with an acceptance and names ports.
    fn follow(
        &self,
        chain: &str,
        path: &PathConditions,
        wanted: &PortSet,
        jumps: usize,
        accept: &mut impl FnMut(&PathConditions),
    ) {
        let Some(jumps) = jumps.checked_sub(1) else { return };
        for rule in self.rules(chain).iter().filter(|rule| !rule.partly_read) {
            let Some(path) = path.narrowed(rule, wanted) else { continue };
            match &rule.target {
                Target::Accept if path.ports.is_some() => accept(&path),
                Target::Jump(next) | Target::Goto(next) => self.follow(next, &path, wanted, jumps, accept),
                _ => {}
            }
        }
    }

    /// Whether what comes from `net` on this path is surely refused at each of its ports.
    fn refuses(&self, net: &IpNet, path: &PathConditions) -> bool {
        let interface = path.interface.as_deref().map_or("eth0", |name| name.trim_end_matches('+'));
        path.ports.iter().flatten().all(|range| {
            let packet = Packet { port: range.first(), source: net.addr(), interface };
            self.walk("INPUT", &packet, MAX_JUMPS) == Outcome::Refused
        })
    }

    fn walk(&self, chain: &str, packet: &Packet<'_>, jumps: usize) -> Outcome {
        let Some(jumps) = jumps.checked_sub(1) else { return Outcome::Other };
        for rule in self.rules(chain).iter().filter(|rule| packet.matches(rule)) {
            let outcome = match &rule.target {
                Target::Continue => continue,
                Target::Accept | Target::Redirect(_) | Target::Unread => Outcome::Other,
                Target::Refuse => Outcome::Refused,
                Target::Return => Outcome::Returned,
                Target::Jump(next) => match self.walk(next, packet, jumps) {
                    Outcome::Returned => continue,
                    ended => ended,
                },
                Target::Goto(next) => self.walk(next, packet, jumps),
            };
            return if rule.partly_read { Outcome::Other } else { outcome };
        }
        Outcome::Returned
    }
}
