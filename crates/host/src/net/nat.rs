//! Source NAT: which of its rules may give a connection a port of the policy, so that the replies are dropped, and what becomes of the address that
//! this host's own packets come from. Reads what the system's own tools listed and changes nothing.

mod cure;
mod rule;
mod ruleset;
mod saved;

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;

use super::{
    iptables::own_tables,
    listing::{Listing, listings},
};
use nodewall_policy::config::{PortRange, PortSet};
use rule::{Table, Target, Walked};

pub use rule::Leaving;

/// The source NAT rules of all tools, and what could not be read of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NatReport {
    tables: Vec<Table>,
    /// What could not be read: a tool without the privilege, a rule that computes its ports. Empty when all was read.
    /// A tool that is not installed is not mentioned.
    pub unread: Vec<String>,
}

/// A source NAT rule that may give a connection a port of the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatOverlap {
    /// The rule: `nft ip nat post handle 3: masquerade`, or iptables' own line.
    pub rule: String,
    /// The ports that it names. `None`: none, so that a connection keeps its own port while that is free, and gets any other when it is not.
    pub named: Option<PortSet>,
    /// Those of them that are the policy's.
    pub ports: PortSet,
    /// The lines that make it keep away from them; none where no line can be said.
    pub cure: Vec<String>,
}

impl std::fmt::Display for NatOverlap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.named {
            Some(named) => write!(f, "source NAT hands out ports {named} and so ports of the policy ({})", self.ports)?,
            None => write!(
                f,
                "source NAT keeps a connection's port, and hands out another where that is taken: both may be the policy's"
            )?,
        }
        let rule = &self.rule;
        write!(f, ": replies to those connections would be dropped; {}: {rule}", self.advice())
    }
}

impl NatOverlap {
    /// What to do.
    pub fn advice(&self) -> String {
        let keep = "give the rule a port range outside the policy (ip_local_reserved_ports does not help here)";
        if self.cure.is_empty() { keep.to_owned() } else { format!("{keep}: `{}`", self.cure.join("; ")) }
    }
}

/// What source NAT makes of this host's own packets to an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Translation {
    /// The rule.
    pub rule: String,
    /// The addresses that it gives, first and last; `None`: one of the interface by which the packets leave.
    pub addresses: Option<(IpAddr, IpAddr)>,
    /// Whether the rule is met beyond doubt: an earlier condition may not have been readable.
    pub certain: bool,
    table: usize,
    entry: String,
}

impl NatReport {
    /// The rules that may give a connection one of the ports of a policy. `inside`: interfaces by which nothing leaves that a filtered interface's
    /// replies answer; rules for those alone do no harm.
    pub fn overlaps(&self, policy: &PortSet, inside: &BTreeSet<String>) -> Vec<NatOverlap> {
        let free = widest_without(policy);
        let mut found = Vec::new();
        let rules = self.tables.iter().flat_map(Table::chains).flat_map(|chain| {
            let earlier = |n: usize| chain.get(..n).unwrap_or_default();
            chain.iter().enumerate().filter(move |(n, rule)| !rule.is_forestalled(earlier(*n), policy))
        });
        for (_, rule) in rules.filter(|(_, rule)| !rule.stays_inside(inside)) {
            let (Target::SourceNat(nat), Some(ports)) = (&rule.target, rule.hands_out(policy)) else { continue };
            let cure = free.map(|free| cure::ports(&rule.place, nat, free)).unwrap_or_default();
            let overlap = NatOverlap { rule: rule.shown.clone(), named: nat.ports.clone(), ports, cure };
            // The same rule may be listed by two tools.
            if !found.contains(&overlap) {
                found.push(overlap);
            }
        }
        found
    }

    /// What becomes of packets that this host sends itself.
    pub fn translation(&self, packet: &Leaving<'_>) -> Option<Translation> {
        self.tables.iter().enumerate().find_map(|(table, rules)| match rules.walk(packet) {
            Walked::Translated { rule, nat, certain, entry } => Some(Translation {
                rule: rule.shown.clone(),
                addresses: nat.addresses,
                certain,
                table,
                entry: entry.to_owned(),
            }),
            Walked::Untouched => None,
        })
    }

    /// The line that keeps these packets from being translated.
    pub fn cure(&self, translation: &Translation, sources: &BTreeSet<IpAddr>, to: &BTreeSet<IpNet>) -> Option<String> {
        let table = self.tables.get(translation.table)?;
        Some(cure::spare(&table.home, &translation.entry, sources, to))
    }
}

/// What the kernel chooses from when a rule asks for a random port and names no range (`nf_nat_l4proto_unique_tuple`).
fn any_port() -> PortSet {
    PortRange::new(1024, u16::MAX).into_iter().collect()
}

/// The most ports in a row that a connection may have and that are not the policy's.
fn widest_without(policy: &PortSet) -> Option<PortRange> {
    let free = any_port().difference(policy);
    free.iter().copied().max_by_key(|range| range.count())
}

/// The source NAT rules of the calling thread's network namespace.
///
/// Blocks as [`listings`] does. What could not be read is in [`NatReport::unread`].
pub fn source_nat() -> NatReport {
    source_nat_in(&listings())
}

/// The same, of what was listed before.
pub fn source_nat_in(listings: &[Listing]) -> NatReport {
    let mut report = NatReport::default();
    let mut seen = Vec::new();
    for Listing { tool, answer } in listings {
        match answer {
            Ok(json) if *tool == "nft" => {
                report.tables.extend(ruleset::tables(json, &own_tables(listings), &mut report.unread));
            }
            Ok(text) if seen.contains(&text) => {}
            Ok(text) => {
                report.tables.extend(saved::table(tool, text, &mut report.unread));
                seen.push(text);
            }
            Err(why) if *tool == "nft" => report.unread.push(format!("nft -j list ruleset: {why}")),
            Err(why) => report.unread.push(format!("{tool}: {why}")),
        }
    }
    report
}

#[cfg(test)]
mod tests;
