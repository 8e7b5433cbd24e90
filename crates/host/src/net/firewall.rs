//! What the host's own packet filter (iptables, ip6tables, nftables) does with a new connection, as far as its rules are simple.
//! A rule that can not be read is named by its text and never guessed. Pure: the tools that list rules run elsewhere.

mod iptables;
mod named;
mod nft;
mod rule;

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::nat::Listing;
use super::sockets::Transport;
use rule::{Chain, End, Table};

/// A jump into a jump into a jump…: more than the kernel allows, and an end to any loop.
const MAX_JUMPS: usize = 32;

/// The first packet of a connection (or a datagram) that comes from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Knock<'a> {
    /// TCP or UDP.
    pub transport: Transport,
    /// The destination port on the wire.
    pub port: u16,
    /// Who sent it.
    pub source: IpAddr,
    /// The interface that it arrives on.
    pub interface: &'a str,
}

/// What becomes of a knock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It reaches this host's sockets, at this port.
    Accepted {
        /// The port behind any redirect.
        port: u16,
    },
    /// Dropped or rejected.
    Refused {
        /// The rule or the chain's policy.
        by: String,
    },
    /// It depends on rules that could not be read.
    Unknown {
        /// Their texts.
        rules: Vec<String>,
    },
}

/// A rule that sends what comes for one port to another port of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// Which protocols it is for.
    pub transports: Vec<Transport>,
    /// The ports on the wire, both ends included; `(1, 65535)` when it names none.
    pub from: Vec<(u16, u16)>,
    /// The port that a socket sees.
    pub to: u16,
    /// The rule's text.
    pub rule: String,
}

/// The rules of one network namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Firewall {
    tables: Vec<Table>,
    /// What could not be read at all: a tool that failed, a table of a kind that is not understood. Empty when all was read.
    pub unread: Vec<String>,
}

impl Firewall {
    /// Reads what the tools said.
    pub fn read(listings: &[Listing]) -> Self {
        let mut firewall = Self::default();
        let mut seen: Vec<(bool, &str)> = Vec::new();
        let mut through_nft: Vec<(&str, String)> = Vec::new();
        for listing in listings.iter().filter(|listing| listing.tool != "nft") {
            let six = listing.tool.starts_with("ip6");
            match &listing.answer {
                // The legacy tool under two names.
                Ok(text) if seen.contains(&(six, text.as_str())) => {}
                Ok(text) => {
                    seen.push((six, text));
                    let tables = iptables::parse(listing.tool, text);
                    if iptables::is_nft_backed(text) {
                        let family = if six { "ip6" } else { "ip" };
                        through_nft.extend(tables.iter().map(|table| (family, table.name.clone())));
                    }
                    firewall.tables.extend(tables);
                }
                Err(why) => firewall.unread.push(format!("{}: {why}", listing.tool)),
            }
        }
        for listing in listings.iter().filter(|listing| listing.tool == "nft") {
            // Tables that iptables made show here, too, and less clearly.
            let known =
                |family: &str, name: &str| through_nft.iter().any(|(made, table)| *made == family && table == name);
            let read = listing.answer.clone().map_err(|why| format!("nft -j list ruleset: {why}"));
            match read.and_then(|json| nft::parse(&json, known)) {
                Ok((tables, unread)) => {
                    firewall.tables.extend(tables);
                    firewall.unread.extend(unread);
                }
                Err(why) => firewall.unread.push(why),
            }
        }
        firewall
    }

    /// No rule looks at what comes in, and no chain refuses by policy.
    pub fn is_empty(&self) -> bool {
        self.base_chains(true).chain(self.base_chains(false)).all(|(_, chain)| chain.rules.is_empty() && !chain.refuses)
    }

    /// What becomes of `knock`.
    pub fn answer(&self, knock: &Knock<'_>) -> Answer {
        let mut doubts: Vec<(Option<End>, String)> = Vec::new();
        let mut knock = *knock;
        for before_routing in [true, false] {
            for (table, chain) in self.base_chains(before_routing).filter(|(table, _)| table.concerns(knock.source)) {
                let end = table.walk(chain, &knock, MAX_JUMPS, &mut doubts);
                let (end, by) = end.unwrap_or_else(|| chain.by_policy());
                // A doubt that would end the same way is none.
                doubts.retain(|(doubted, _)| doubted.as_ref() != Some(&end));
                match end {
                    _ if !doubts.is_empty() => {
                        return Answer::Unknown { rules: doubts.into_iter().map(|(_, rule)| rule).collect() };
                    }
                    End::Accept => {}
                    End::Refuse => return Answer::Refused { by },
                    End::Port(port) => knock.port = port,
                    End::Elsewhere => return Answer::Unknown { rules: vec![by] },
                }
            }
        }
        Answer::Accepted { port: knock.port }
    }

    /// The sources that rules name, each once.
    pub fn sources(&self) -> Vec<IpNet> {
        let all: BTreeSet<IpNet> = self.tables.iter().flat_map(Table::sources).collect();
        all.into_iter().collect()
    }

    /// The ports at which an answer may change: where a rule's ports begin, and the port behind their end. Sorted.
    pub fn edges(&self) -> BTreeSet<u16> {
        let ranges = self.tables.iter().flat_map(Table::ports);
        ranges.flat_map(|(first, last)| [Some(first), last.checked_add(1)]).flatten().collect()
    }

    /// The rules that send one port's packets to another port of this host.
    pub fn redirects(&self) -> Vec<Redirect> {
        self.tables.iter().flat_map(Table::redirects).collect()
    }

    fn base_chains(&self, before_routing: bool) -> impl Iterator<Item = (&Table, &Chain)> {
        self.tables.iter().flat_map(move |table| {
            let names = if before_routing { &table.prerouting } else { &table.input };
            names.iter().filter_map(move |name| Some((table, table.chains.get(name)?)))
        })
    }
}

#[cfg(test)]
mod tests;
