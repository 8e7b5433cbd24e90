//! The sources that rules of iptables, or of firewalld's table in nftables, let in by name at certain TCP ports: from the chains that see what comes to
//! this host through those they jump to. A rule with a condition that could not be read lets nobody in.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::{
    iptables,
    listing::Listing,
    nft_rule,
    rule::{Condition, Rule, Target},
};
use nodewall_policy::config::{PortSet, Protocol};

/// A jump into a jump into a jump…: more than the kernel allows, and an end to any loop.
const MAX_JUMPS: usize = 32;
/// firewalld's table; other rules of nftables are written for other things than who is a node.
const FIREWALLD: &str = "firewalld";

/// What [`named_sources`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamedSources {
    /// Addresses and prefixes.
    pub sources: BTreeSet<IpNet>,
    /// Rules that may let in sources by name, and have conditions that could not be read.
    pub unread: Vec<String>,
}

/// The sources that a rule of iptables' filter table, or of firewalld's table, names and accepts over TCP at one of `ports`, where the rule names ports,
/// too. Sources that an earlier rule refuses at those ports are left out.
///
/// # Errors
/// The tool that failed, and why: half of the rules would be half of the sources.
pub fn named_sources(listings: &[Listing], ports: &PortSet) -> Result<NamedSources, String> {
    let mut found = NamedSources::default();
    for listing in listings {
        let answer = listing.answer.as_ref().map_err(|why| format!("{}: {why}", listing.tool));
        let (rules, entries) = if listing.tool == "nft" {
            match answer.and_then(|text| nft_rule::rules(text, FIREWALLD)) {
                Ok(read) => (read.rules, read.entries),
                // A kernel without nftables has no firewalld in it.
                Err(why) => {
                    found.unread.push(why);
                    continue;
                }
            }
        } else {
            (iptables::rules(answer?, "filter").collect(), vec!["INPUT".to_owned()])
        };
        let mut filter = FilterTable { chains: BTreeMap::new(), entries };
        for rule in rules {
            filter.chains.entry(rule.chain.clone()).or_default().push(rule);
        }
        for entry in &filter.entries {
            filter.follow(entry, &PathConditions::default(), ports, MAX_JUMPS, &mut |path, unread| {
                if let Some(rule) = unread {
                    found.unread.push(rule.shown.clone());
                    return;
                }
                let sources = path.sources.iter().flatten();
                found.sources.extend(sources.filter(|net| !filter.refuses(net, path)).copied());
            });
        }
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
            Condition::Sources(nets) => nets.iter().any(|net| net.contains(&self.source)),
            Condition::IsV6(is_v6) => self.source.is_ipv6() == *is_v6,
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
                Condition::Sources(nets) => {
                    let both = |known: &IpNet| nets.iter().filter_map(|net| narrower(known, net)).collect::<Vec<_>>();
                    path.sources = Some(match path.sources {
                        None => nets.clone(),
                        Some(before) => before.iter().flat_map(both).collect(),
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
                Condition::Protocols(_) | Condition::IsV6(_) | Condition::Constant(true) => {}
            }
        }
        let excluded = rule.exceptions.iter().any(|condition| match condition {
            // All but some: whoever that is, it is not named.
            Condition::Sources(_) | Condition::DestinationPorts(_) => true,
            Condition::Protocols(protocols) => protocols.contains(&Protocol::Tcp),
            Condition::Constant(holds) => *holds,
            Condition::Interface(_) | Condition::IsV6(_) => false,
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

struct FilterTable {
    chains: BTreeMap<String, Vec<Rule>>,
    /// Those that the kernel calls.
    entries: Vec<String>,
}

impl FilterTable {
    fn rules(&self, chain: &str) -> &[Rule] {
        self.chains.get(chain).map(Vec::as_slice).unwrap_or_default()
    }

    /// Calls `found` with the conditions of every path that ends with an acceptance and names ports; and with those of every one that names sources and
    /// ends at a rule that was read in part alone, with that rule.
    fn follow(
        &self,
        chain: &str,
        path: &PathConditions,
        wanted: &PortSet,
        jumps: usize,
        found: &mut impl FnMut(&PathConditions, Option<&Rule>),
    ) {
        let Some(jumps) = jumps.checked_sub(1) else { return };
        for rule in self.rules(chain) {
            let Some(path) = path.narrowed(rule, wanted) else { continue };
            if rule.partly_read {
                let may_accept = matches!(rule.target, Target::Accept | Target::Jump(_) | Target::Goto(_));
                if may_accept && path.sources.is_some() {
                    found(&path, Some(rule));
                }
                continue;
            }
            match &rule.target {
                Target::Accept if path.ports.is_some() => found(&path, None),
                Target::Jump(next) | Target::Goto(next) => self.follow(next, &path, wanted, jumps, found),
                _ => {}
            }
        }
    }

    /// Whether what comes from `net` on this path is surely refused at each of its ports.
    fn refuses(&self, net: &IpNet, path: &PathConditions) -> bool {
        let interface = path.interface.as_deref().map_or("eth0", |name| name.trim_end_matches('+'));
        path.ports.iter().flatten().all(|range| {
            let packet = Packet { port: range.first(), source: net.addr(), interface };
            self.entries.iter().any(|entry| self.walk(entry, &packet, MAX_JUMPS) == Outcome::Refused)
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
