//! The sources that an iptables rule names and lets in to certain ports, on the way from INPUT through the chains it jumps to. A rule with a
//! condition that could not be read counts for nothing.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::rule::{Chain, End, Rule, Table, Target, Test, What};
use super::{Firewall, Knock, MAX_JUMPS};
use crate::net::sockets::Transport;

/// What the rules on a way through the chains ask for, all together.
#[derive(Debug, Clone, Default)]
struct Way {
    /// `None`: nobody was named yet.
    sources: Option<Vec<IpNet>>,
    /// Both ends included. `None`: no port was named yet.
    ports: Option<Vec<(u16, u16)>>,
    interface: Option<String>,
}

impl Firewall {
    /// The sources that a rule of iptables' filter table names and accepts over TCP at one of `ports` (both ends included), where the rule names
    /// ports, too. Sorted. Sources that an earlier rule refuses at those ports are left out.
    pub fn sources_named_for(&self, ports: &[(u16, u16)]) -> Vec<IpNet> {
        let mut found = BTreeSet::new();
        for table in self.tables.iter().filter(|table| table.name == "filter" && table.only_version4.is_some()) {
            for chain in table.input.iter().filter_map(|name| table.chains.get(name)) {
                table.follow(chain, &Way::default(), ports, MAX_JUMPS, &mut |way| {
                    let sources = way.sources.iter().flatten();
                    found.extend(sources.filter(|net| !table.refuses(chain, net, way)).copied());
                });
            }
        }
        found.into_iter().collect()
    }
}

impl Table {
    fn follow(&self, chain: &Chain, way: &Way, wanted: &[(u16, u16)], jumps: usize, accept: &mut impl FnMut(&Way)) {
        let Some(jumps) = jumps.checked_sub(1) else { return };
        for rule in chain.rules.iter().filter(|rule| !rule.partly_read) {
            let Some(way) = way.narrowed(rule, wanted) else { continue };
            match &rule.target {
                Target::End(End::Accept) if way.ports.is_some() => accept(&way),
                Target::Jump(name) | Target::Goto(name) => {
                    if let Some(next) = self.chains.get(name) {
                        self.follow(next, &way, wanted, jumps, accept);
                    }
                }
                _ => {}
            }
        }
    }

    /// Whether what comes from `net` on this way is surely refused at each of its ports.
    fn refuses(&self, chain: &Chain, net: &IpNet, way: &Way) -> bool {
        let interface = way.interface.as_deref().map_or("eth0", |name| name.trim_end_matches(['*', '+']));
        let refused = |port: u16| {
            let knock = Knock { transport: Transport::Tcp, port, source: net.addr(), interface };
            let mut doubts = Vec::new();
            let end = self.walk(chain, &knock, MAX_JUMPS, &mut doubts);
            doubts.is_empty() && end.is_some_and(|(end, _)| end == End::Refuse)
        };
        way.ports.iter().flatten().all(|(first, _)| refused(*first))
    }
}

impl Way {
    /// This way and the rule's own conditions. `None`: nobody can be on it.
    fn narrowed(&self, rule: &Rule, wanted: &[(u16, u16)]) -> Option<Self> {
        let mut way = self.clone();
        for Test { not, what } in &rule.tests {
            match (not, what) {
                (false, What::Sources(nets)) => {
                    way.sources = Some(match way.sources {
                        None => nets.clone(),
                        Some(before) => common(&before, nets),
                    });
                }
                (false, What::Ports(ranges)) => {
                    let before = way.ports.take();
                    way.ports = Some(overlaps(before.as_deref().unwrap_or(wanted), ranges));
                }
                (false, What::Transports(transports)) if !transports.contains(&Transport::Tcp) => return None,
                (true, What::Transports(transports)) if transports.contains(&Transport::Tcp) => return None,
                // A node's own words to itself.
                (false, What::Interfaces(names)) if names.iter().any(|name| name == "lo") => return None,
                (false, What::Interfaces(names)) => way.interface = names.first().cloned(),
                (not, What::Constant(holds)) if holds == not => return None,
                // All but some: whoever that is, it is not named.
                (true, What::Sources(_) | What::Ports(_)) => return None,
                _ => {}
            }
        }
        let nobody = way.sources.as_ref().is_some_and(Vec::is_empty) || way.ports.as_ref().is_some_and(Vec::is_empty);
        (!nobody).then_some(way)
    }
}

/// What is in both.
fn common(one: &[IpNet], other: &[IpNet]) -> Vec<IpNet> {
    let narrower = |a: &IpNet, b: &IpNet| {
        if a.contains(b) { Some(*b) } else { b.contains(a).then_some(*a) }
    };
    one.iter().flat_map(|a| other.iter().filter_map(move |b| narrower(a, b))).collect()
}

fn overlaps(one: &[(u16, u16)], other: &[(u16, u16)]) -> Vec<(u16, u16)> {
    let overlap = |a: &(u16, u16), b: &(u16, u16)| {
        let (first, last) = (a.0.max(b.0), a.1.min(b.1));
        (first <= last).then_some((first, last))
    };
    one.iter().flat_map(|a| other.iter().filter_map(move |b| overlap(a, b))).collect()
}
