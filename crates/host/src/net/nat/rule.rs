//! A NAT rule in the words of no tool, and which of them meets a packet. It must not know how tools write.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use nodewall_policy::config::{PortSet, Protocol};

/// A jump into a jump into a jump…: more than the kernel allows, and an end to any loop.
const MAX_JUMPS: usize = 32;

/// A TCP connection of this host's own, as it leaves.
#[derive(Debug, Clone, Copy)]
pub struct Leaving<'a> {
    /// The address that it comes from.
    pub source: IpAddr,
    /// Where to.
    pub destination: IpAddr,
    /// The interface by which it leaves.
    pub interface: &'a str,
    /// The ports that it may be for: a rule that is met by one of them is met.
    pub ports: &'a PortSet,
}

/// What a rule asks of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Question {
    Source(Vec<IpNet>),
    Destination(Vec<IpNet>),
    /// Names; a `+` or `*` at the end stands for any rest.
    LeavesBy(Vec<String>),
    /// Empty: a protocol that is neither.
    Protocols(Vec<Protocol>),
    DestinationPorts(PortSet),
    /// It came in by some interface: not from this host.
    Arrived,
    /// Its mark, or some bits of it. This host's own packets have none.
    Mark(u32),
    IsV6(bool),
}

/// A question, and whether the answer must be no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) question: Question,
    pub(super) negated: bool,
}

impl Condition {
    fn holds(&self, packet: &Leaving<'_>) -> bool {
        let within = |nets: &[IpNet], address: &IpAddr| nets.iter().any(|net| net.contains(address));
        let answer = match &self.question {
            Question::Source(nets) => within(nets, &packet.source),
            Question::Destination(nets) => within(nets, &packet.destination),
            Question::LeavesBy(names) => names.iter().any(|name| is_named(packet.interface, name)),
            Question::Protocols(protocols) => protocols.contains(&Protocol::Tcp),
            // Some of the connections, either way.
            Question::DestinationPorts(ports) if self.negated => return !packet.ports.difference(ports).is_empty(),
            Question::DestinationPorts(ports) => !packet.ports.intersection(ports).is_empty(),
            Question::Arrived => false,
            Question::Mark(value) => *value == 0,
            Question::IsV6(is_v6) => packet.source.is_ipv6() == *is_v6,
        };
        answer != self.negated
    }
}

fn is_named(interface: &str, name: &str) -> bool {
    match name.strip_suffix(['+', '*']) {
        Some(beginning) => interface.starts_with(beginning),
        None => interface == name,
    }
}

/// What a rule does with a packet that it matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    SourceNat(SourceNat),
    /// It leaves as it is.
    Accept,
    Return,
    Jump(String),
    Goto(String),
    /// Marks, counts, logs: the next rule decides.
    Continue,
    /// Could be anything.
    Unread,
}

/// What a source NAT rule gives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SourceNat {
    /// First and last; `None`: one of the interface by which the packet leaves.
    pub(super) addresses: Option<(IpAddr, IpAddr)>,
    /// Never empty; `None`: it names none, and a connection keeps its own port while that is free.
    pub(super) ports: Option<PortSet>,
    /// Further words of it (`--random`, `fully-random`).
    pub(super) flags: Vec<String>,
}

/// Where a rule stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Iptables {
        /// `iptables`, `ip6tables-legacy`, …
        command: String,
        chain: String,
        /// From 1.
        number: usize,
        /// As the tool writes them; `None`: they leave no room for a protocol.
        conditions: Option<String>,
        /// They name a protocol with ports.
        for_protocol: bool,
    },
    Nft {
        /// Family, table and chain.
        chain: String,
        handle: u64,
        /// `None`: they cannot be written down.
        conditions: Option<String>,
        for_protocol: bool,
    },
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) conditions: Vec<Condition>,
    /// Words of conditions besides that could not be read.
    pub(super) unread: Vec<String>,
    pub(super) target: Target,
    /// For people.
    pub(super) shown: String,
    pub(super) place: Place,
}

impl Rule {
    /// It is for this protocol, among others or alone.
    fn is_for(&self, protocol: Protocol) -> bool {
        self.conditions.iter().all(|condition| match &condition.question {
            Question::Protocols(named) => named.contains(&protocol) != condition.negated,
            _ => true,
        })
    }

    /// It asks for nothing but what `other` asks for, protocols aside.
    fn asks_as(&self, other: &Self) -> bool {
        let rest = |rule: &Self| {
            let besides =
                rule.conditions.iter().filter(|condition| !matches!(condition.question, Question::Protocols(_)));
            besides.cloned().collect::<Vec<_>>()
        };
        let (mine, others) = (rest(self), rest(other));
        (self.unread.is_empty() || self.unread == other.unread)
            && mine.iter().all(|condition| others.contains(condition))
    }

    /// Whether a connection that it translates may get one of these ports.
    pub(super) fn hands_out(&self, ports: &PortSet) -> Option<PortSet> {
        let Target::SourceNat(nat) = &self.target else { return None };
        let both = nat.ports.as_ref().map_or_else(|| ports.clone(), |named| named.intersection(ports));
        (!both.is_empty()).then_some(both)
    }

    /// Whether one of `earlier`, the rules before it in its chain, takes all that it could hand one of these ports to.
    pub(super) fn is_forestalled(&self, earlier: &[Self], ports: &PortSet) -> bool {
        let ends = |rule: &&Self| {
            let harmless = matches!(rule.target, Target::SourceNat(_)) && rule.hands_out(ports).is_none();
            (harmless || matches!(rule.target, Target::Accept | Target::Return)) && rule.asks_as(self)
        };
        let mut open = Protocol::ALL.iter().filter(|protocol| self.is_for(**protocol));
        open.all(|protocol| earlier.iter().filter(ends).any(|rule| rule.is_for(*protocol)))
    }

    /// It is only for what leaves by interfaces inside of this host, or goes back to where it came from (a container that asks its own published port).
    pub(super) fn stays_inside(&self, inside: &BTreeSet<String>) -> bool {
        let asked = || self.conditions.iter().filter(|condition| !condition.negated).map(|c| &c.question);
        let by_inside = asked().any(|question| match question {
            Question::LeavesBy(names) => names.iter().all(|name| name == "lo" || inside.contains(name)),
            _ => false,
        });
        let nets = |wanted: fn(&Question) -> Option<&[IpNet]>| asked().find_map(wanted);
        let source = nets(|q| if let Question::Source(nets) = q { Some(nets) } else { None });
        let destination = nets(|q| if let Question::Destination(nets) = q { Some(nets) } else { None });
        by_inside || source.is_some_and(|source| Some(source) == destination)
    }

    /// `None`: it cannot be told.
    fn matches(&self, packet: &Leaving<'_>) -> Option<bool> {
        if !self.conditions.iter().all(|condition| condition.holds(packet)) {
            return Some(false);
        }
        self.unread.is_empty().then_some(true)
    }
}

/// Whose rules a table has, for the lines that change them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Home {
    /// The command.
    Iptables(String),
    Nft,
}

/// Rules of one tool that see what leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) home: Home,
    /// The one family that it is for.
    pub(super) only_v6: Option<bool>,
    /// The chains that the kernel calls, in its order.
    pub(super) entries: Vec<String>,
    pub(super) chains: BTreeMap<String, Vec<Rule>>,
    /// The chains' order in the listing.
    pub(super) order: Vec<String>,
}

/// What became of a packet.
pub(super) enum Walked<'t> {
    Untouched,
    Translated { rule: &'t Rule, nat: &'t SourceNat, certain: bool, entry: &'t str },
}

/// How a chain ended.
enum End<'t> {
    /// The calling chain goes on.
    Returned,
    Accepted,
    Translated(&'t Rule, &'t SourceNat),
}

impl Table {
    /// The rules of each chain, as they were listed.
    pub(super) fn chains(&self) -> impl Iterator<Item = &[Rule]> {
        self.order.iter().filter_map(|chain| self.chains.get(chain)).map(Vec::as_slice)
    }

    /// What becomes of `packet`. Rules that cannot be judged are taken to match if that translates it.
    pub(super) fn walk(&self, packet: &Leaving<'_>) -> Walked<'_> {
        if self.only_v6.is_some_and(|only_v6| packet.source.is_ipv6() != only_v6) {
            return Walked::Untouched;
        }
        for entry in &self.entries {
            let mut certain = true;
            match self.chain(entry, packet, MAX_JUMPS, &mut certain) {
                End::Translated(rule, nat) => return Walked::Translated { rule, nat, certain, entry },
                End::Accepted | End::Returned => {}
            }
        }
        Walked::Untouched
    }

    fn chain(&self, chain: &str, packet: &Leaving<'_>, jumps: usize, certain: &mut bool) -> End<'_> {
        let Some(jumps) = jumps.checked_sub(1) else { return End::Returned };
        for rule in self.chains.get(chain).into_iter().flatten() {
            let matched = match rule.matches(packet) {
                Some(false) => continue,
                matched => matched.is_some(),
            };
            let end = match &rule.target {
                Target::Continue => continue,
                Target::Unread => {
                    *certain = false;
                    continue;
                }
                Target::SourceNat(nat) => End::Translated(rule, nat),
                Target::Accept => End::Accepted,
                Target::Return => End::Returned,
                Target::Jump(next) => match self.chain(next, packet, jumps, certain) {
                    End::Returned => continue,
                    end => end,
                },
                Target::Goto(next) => self.chain(next, packet, jumps, certain),
            };
            *certain &= matched;
            // What may have ended here goes on, for a translation may come.
            if matched || matches!(end, End::Translated(..)) {
                return end;
            }
        }
        End::Returned
    }
}
