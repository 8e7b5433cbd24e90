//! Tables, chains and rules of a packet filter as plain values, and walking them with one packet. It must not know how rules are written.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::{Knock, Redirect};
use crate::net::sockets::Transport;

/// How a walk ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    Accept,
    Refuse,
    /// Goes on with another destination port.
    Port(u16),
    /// Sent to another address, where this host's sockets do not see it.
    Elsewhere,
}

/// What a rule does with a packet that it matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    End(End),
    /// Marks, counts, logs: the next rule decides.
    Continue,
    Return,
    Jump(String),
    Goto(String),
    /// Could be anything.
    Unread,
}

/// One readable condition; all of a rule's must hold. `not` turns it round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Test {
    pub(super) not: bool,
    pub(super) what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    Transports(Vec<Transport>),
    /// Both ends included.
    Ports(Vec<(u16, u16)>),
    Sources(Vec<IpNet>),
    /// IPv4 (or else IPv6).
    Version4(bool),
    /// Names; a `*` or `+` at the end stands for any rest.
    Interfaces(Vec<String>),
    /// Holds for the first packet of a connection, or does not.
    Constant(bool),
}

impl Test {
    fn holds(&self, knock: &Knock<'_>) -> bool {
        let holds = match &self.what {
            What::Transports(transports) => transports.contains(&knock.transport),
            What::Ports(ranges) => ranges.iter().any(|(first, last)| (*first..=*last).contains(&knock.port)),
            What::Sources(nets) => nets.iter().any(|net| net.contains(&knock.source)),
            What::Version4(four) => knock.source.is_ipv4() == *four,
            What::Interfaces(names) => names.iter().any(|name| match name.strip_suffix(['*', '+']) {
                Some(beginning) => knock.interface.starts_with(beginning),
                None => knock.interface == name,
            }),
            What::Constant(holds) => *holds,
        };
        holds != self.not
    }
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) tests: Vec<Test>,
    /// It has conditions besides that could not be read.
    pub(super) partly_read: bool,
    pub(super) target: Target,
    /// As the tool wrote it, with the tool's name.
    pub(super) text: String,
}

/// A chain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) name: String,
    pub(super) rules: Vec<Rule>,
    /// A base chain whose policy is to drop.
    pub(super) refuses: bool,
}

impl Chain {
    pub(super) fn by_policy(&self) -> (End, String) {
        let end = if self.refuses { End::Refuse } else { End::Accept };
        (end, format!("the policy of {}", self.name))
    }
}

/// A table: chains that may jump into one another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) name: String,
    /// IPv4 alone, IPv6 alone, or both.
    pub(super) only_version4: Option<bool>,
    pub(super) chains: BTreeMap<String, Chain>,
    /// Names of the chains that see packets before routing, in order.
    pub(super) prerouting: Vec<String>,
    /// Names of the chains that see packets for this host, in order.
    pub(super) input: Vec<String>,
}

impl Table {
    pub(super) fn concerns(&self, source: IpAddr) -> bool {
        self.only_version4.is_none_or(|four| source.is_ipv4() == four)
    }

    /// Where the walk through `chain` ends and by which rule; `None` when it falls off the chain's end. What rules that could only be read in
    /// part would do is added to `doubts`, `None` standing for anything.
    pub(super) fn walk(
        &self,
        chain: &Chain,
        knock: &Knock<'_>,
        jumps: usize,
        doubts: &mut Vec<(Option<End>, String)>,
    ) -> Option<(End, String)> {
        let Some(jumps) = jumps.checked_sub(1) else {
            doubts.push((None, format!("{}: chains call each other without end", chain.name)));
            return None;
        };
        for rule in chain.rules.iter().filter(|rule| rule.tests.iter().all(|test| test.holds(knock))) {
            let (ended, leaves) = match &rule.target {
                Target::End(end) => (Some((end.clone(), rule.text.clone())), true),
                Target::Continue => continue,
                Target::Return => (None, true),
                Target::Unread => {
                    doubts.push((None, rule.text.clone()));
                    continue;
                }
                Target::Jump(name) | Target::Goto(name) => {
                    let ended = self.chains.get(name).and_then(|next| self.walk(next, knock, jumps, doubts));
                    (ended, matches!(rule.target, Target::Goto(_)))
                }
            };
            if rule.partly_read {
                match ended {
                    Some((end, _)) => doubts.push((Some(end), rule.text.clone())),
                    None if leaves => doubts.push((None, rule.text.clone())),
                    None => {}
                }
                continue;
            }
            if ended.is_some() || leaves {
                return ended;
            }
        }
        None
    }

    fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.chains.values().flat_map(|chain| &chain.rules)
    }

    pub(super) fn sources(&self) -> impl Iterator<Item = IpNet> {
        self.rules().flat_map(|rule| &rule.tests).flat_map(|test| match &test.what {
            What::Sources(nets) => nets.clone(),
            _ => Vec::new(),
        })
    }

    pub(super) fn ports(&self) -> impl Iterator<Item = (u16, u16)> {
        self.rules().flat_map(|rule| &rule.tests).flat_map(|test| match &test.what {
            What::Ports(ranges) => ranges.clone(),
            _ => Vec::new(),
        })
    }

    pub(super) fn redirects(&self) -> impl Iterator<Item = Redirect> {
        self.rules().filter_map(|rule| {
            let Target::End(End::Port(to)) = rule.target else { return None };
            let mut redirect = Redirect {
                transports: vec![Transport::Tcp, Transport::Udp],
                from: vec![(1, u16::MAX)],
                to,
                rule: rule.text.clone(),
            };
            for test in rule.tests.iter().filter(|test| !test.not) {
                match &test.what {
                    What::Transports(transports) => redirect.transports.clone_from(transports),
                    What::Ports(ranges) => redirect.from.clone_from(ranges),
                    _ => {}
                }
            }
            Some(redirect)
        })
    }
}
