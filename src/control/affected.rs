//! Whom a change would cut off or let in, of those that talk with this node, that did so, and that an audit has recorded. A conversation went both ways; whoever
//! only knocked may be anybody, so nothing may depend on him. Changes nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use node_ebpf_common::{PolicyImage, Reason, decide, frame::Received};
use serde::Serialize;

use super::{
    error::AgentError,
    seen::{Seen, TALKING_NS},
    surroundings::own_addresses,
};
use crate::control::Good;
use nodewall_host::{
    net::{self, Conversation, Network, Redirect, Sockets, Way, listings, tcp_redirects},
    state::{Clock, StateDir},
};
use nodewall_policy::{
    Policy,
    config::{Mode, Protocol},
    probe_frame,
};

/// Whoever only knocked, at most so many by name: those that knocked most.
const MAX_KNOCKS: usize = 1_000;

/// What the kernel and the evidence say of what is in force.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// What the kernel has.
    pub kernel: InKernel,
    /// What an audit recorded that would have been dropped.
    pub would_drop: Vec<Denied>,
    /// A peer was counted on the ports for peers.
    pub peers_talked: bool,
}

/// The policy that the kernel has, whatever is on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum InKernel {
    /// It could not be asked.
    #[default]
    Unknown,
    /// None: nothing is filtered.
    Nothing,
    /// SHA-256 of the policy, in hexadecimal.
    Policy(String),
}

/// What somebody sent to a port and the policy denied. The address is what the frames said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// From whom.
    pub source: IpAddr,
    /// To which port; `None`: what has no port (a tunnel's packet, a later fragment).
    pub port: Option<u16>,
    /// As the evidence names it.
    pub protocol: &'static str,
    /// Name of the reason.
    pub reason: &'static str,
    /// Frames.
    pub packets: u64,
    /// When last, Unix time.
    pub last_unix_ns: u64,
}

/// Somebody whose verdict would change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Affected {
    /// The other end.
    pub source: IpAddr,
    /// This node's port; `null`: what has no port.
    pub port: Option<u16>,
    /// `tcp`, `udp`, or as the evidence names it.
    pub protocol: &'static str,
    /// What happens to its packets: `pass` or `drop`.
    pub from: &'static str,
    /// What would.
    pub to: &'static str,
    /// Name of the new reason.
    pub reason: &'static str,
    /// It went both ways: a TCP connection, datagrams and answers. Else it is a knock, which proves nothing.
    pub conversation: bool,
    /// The conversation goes on: seen now, or within the last hour.
    pub current: bool,
    /// The connection is there right now.
    pub connected: bool,
    /// Frames that an audit recorded as `would_drop` since it began; `null`: none, or nobody records.
    pub packets: Option<u64>,
    /// When something of it was seen last, Unix time; `null`: right now.
    pub last_unix_ns: Option<u64>,
}

/// From one policy to another.
pub(super) struct Change<'a> {
    /// `None`: nothing is in force.
    pub(super) old: Option<&'a PolicyImage>,
    pub(super) new: &'a PolicyImage,
    /// What they were made from.
    pub(super) policies: [Option<&'a Policy>; 2],
}

/// What was found.
pub(super) struct Found {
    /// Conversations first, those of now before the others; then those that knocked most.
    pub(super) affected: Vec<Affected>,
    pub(super) more_knocks: usize,
    /// A peer of the new policy is among those that talk, or did.
    pub(super) has_peer: bool,
}

/// When somebody was seen; `None`: right now.
type Talks = BTreeMap<Conversation, Option<u64>>;
type Place = (IpAddr, Option<u16>, &'static str);

/// Looks at the sockets, at what the agent noted, and at `would_drop`.
pub(super) async fn affected(
    state: Option<&StateDir>,
    good: Option<&Good>,
    network: &Network,
    change: &Change<'_>,
    would_drop: &[Denied],
) -> Result<Found, AgentError> {
    let own: BTreeSet<IpAddr> = own_addresses(network).into_iter().collect();
    let now = Clock::now();
    let now_unix_ns = now.unix_ns;
    let sockets = net::sockets()?;
    let talks = talks(state, &sockets, &own, good, &now);
    let redirects = tcp_redirects(&listings());
    let sources = || talks.keys().map(|talk| talk.source).chain(would_drop.iter().map(|denied| denied.source));
    let by_interface = change.policies.iter().flatten().any(|policy| !policy.interface_peers.is_empty());
    let interfaces = if by_interface { interfaces_of(&sources().collect()).await? } else { BTreeMap::new() };
    let judge = Judge { change, interfaces, redirects };

    let mut found: BTreeMap<Place, Affected> = BTreeMap::new();
    for (talk, last) in &talks {
        if let Some(affected) = judge.conversation(talk, *last, now_unix_ns) {
            found.insert((talk.source, Some(talk.port), talk.protocol.as_str()), affected);
        }
    }
    for denied in would_drop.iter().filter(|denied| !own.contains(&denied.source)) {
        judge.add(denied, &mut found);
    }
    let peers: Vec<_> = change.policies.iter().rev().flatten().take(1).flat_map(|policy| &policy.peers).collect();
    let mut talking = talks.keys().map(|talk| talk.source).chain(sockets.connections().map(|end| end.remote.ip()));
    let has_peer = talking.any(|source| !own.contains(&source) && peers.iter().any(|peer| peer.contains(&source)));

    let mut affected: Vec<Affected> = found.into_values().collect();
    affected.sort_by_key(|a| std::cmp::Reverse((a.conversation, a.current, a.connected, a.packets)));
    let named = affected.iter().filter(|affected| affected.conversation).count() + MAX_KNOCKS;
    let more_knocks = affected.len().saturating_sub(named);
    affected.truncate(named);
    Ok(Found { affected, more_knocks, has_peer })
}

/// Since when those count who talked: since the audit began, of the whole policy or of one class; else for an hour.
fn since(good: Option<&Good>, now_unix_ns: u64) -> u64 {
    let audits = |good: &&Good| good.desired.policy.mode == Mode::Audit || !good.desired.policy.audited().is_empty();
    let hour = now_unix_ns.saturating_sub(TALKING_NS);
    good.filter(audits).map_or(hour, |good| good.mode_since(now_unix_ns).min(hour))
}

fn talks(
    state: Option<&StateDir>,
    sockets: &Sockets,
    own: &BTreeSet<IpAddr>,
    good: Option<&Good>,
    now: &Clock,
) -> Talks {
    let now_unix_ns = now.unix_ns;
    let seen = state.map(|state| Seen::read(state, now)).unwrap_or_default();
    // An address may have become this node's since.
    let others = seen.since(since(good, now_unix_ns)).filter(|(talk, _)| !own.contains(&talk.source));
    let mut talks: Talks = others.map(|(talk, last)| (talk, Some(last))).collect();
    // The host tracks what has just ended, too.
    talks.extend(tracked(own).into_iter().map(|talk| (talk, Some(now_unix_ns))));
    talks.extend(connected(sockets, own).map(|talk| (talk, None)));
    talks
}

/// Who is connected from outside. Not this node itself: what it sends to an address of its own goes over `lo`, which nobody filters.
pub(crate) fn connected<'a>(
    sockets: &'a Sockets,
    own: &'a BTreeSet<IpAddr>,
) -> impl Iterator<Item = Conversation> + 'a {
    let ends = sockets.inbound().map(|end| (end.remote.ip().to_canonical(), end.local.port()));
    let connected = ends.map(|(source, port)| Conversation { source, port, protocol: Protocol::Tcp });
    connected.filter(|talk| is_from_outside(talk, own))
}

/// What the host tracks of that. Many hosts track nothing.
pub(crate) fn tracked(own: &BTreeSet<IpAddr>) -> BTreeSet<Conversation> {
    let mut tracked = net::tracked().unwrap_or_else(|error| {
        tracing::debug!("{error}");
        BTreeSet::new()
    });
    tracked.retain(|talk| is_from_outside(talk, own));
    tracked
}

/// Whether somebody else talks.
pub(crate) fn is_from_outside(talk: &Conversation, own: &BTreeSet<IpAddr>) -> bool {
    !talk.source.is_loopback() && !own.contains(&talk.source)
}

/// By which interface each source comes in: the one by which this node answers, for nothing else says it of a connection.
async fn interfaces_of(sources: &BTreeSet<IpAddr>) -> Result<BTreeMap<IpAddr, u32>, AgentError> {
    let sources: Vec<IpAddr> = sources.iter().copied().collect();
    let ways = net::ways_to(&sources).await?;
    let interface = |way| match way {
        Way::Out(route) => route.interface,
        Way::Here | Way::Nowhere(_) => None,
    };
    Ok(sources.into_iter().zip(ways).filter_map(|(source, way)| Some((source, interface(way)?))).collect())
}

struct Judge<'a> {
    change: &'a Change<'a>,
    interfaces: BTreeMap<IpAddr, u32>,
    redirects: Vec<Redirect>,
}

impl Judge<'_> {
    /// What happens to a packet, what would, and why, where the two differ.
    fn differs(
        &self,
        source: IpAddr,
        port: u16,
        protocol: Protocol,
    ) -> Option<(&'static str, &'static str, &'static str)> {
        let if_index = self.interfaces.get(&source).copied().unwrap_or(0);
        let frame = probe_frame(source, port, protocol);
        let action = |image| action(image, &frame, if_index);
        let ((from, _), (to, reason)) = (action(self.change.old), action(Some(self.change.new)));
        (from != to).then_some((from, to, reason))
    }

    /// Behind a redirect nobody can tell which port it was on the wire; it is told only where every answer is the same.
    fn conversation(&self, talk: &Conversation, last: Option<u64>, now_unix_ns: u64) -> Option<Affected> {
        let is_to_this = |redirect: &&Redirect| talk.protocol == Protocol::Tcp && redirect.to == talk.port;
        let from = self.redirects.iter().filter(is_to_this).flat_map(|redirect| &redirect.from);
        let mut ports = std::iter::once(talk.port).chain(from.map(|range| range.first()));
        if !ports.all(|port| self.differs(talk.source, port, talk.protocol).is_some()) {
            return None;
        }
        let (from, to, reason) = self.differs(talk.source, talk.port, talk.protocol)?;
        Some(Affected {
            source: talk.source,
            port: Some(talk.port),
            protocol: talk.protocol.as_str(),
            from,
            to,
            reason,
            conversation: true,
            current: last.is_none_or(|then| now_unix_ns.abs_diff(then) < TALKING_NS),
            connected: last.is_none(),
            packets: None,
            last_unix_ns: last,
        })
    }

    /// Adds what an audit recorded: to a conversation, else as a knock.
    fn add(&self, denied: &Denied, found: &mut BTreeMap<Place, Affected>) {
        let Denied { source, port, protocol, reason, packets, last_unix_ns } = *denied;
        let known = Protocol::ALL.iter().find(|known| known.as_str() == protocol);
        let (from, to, reason) = match (port, known) {
            (Some(port), Some(known)) => match self.differs(source, port, *known) {
                Some(differs) => differs,
                None => return,
            },
            // Such a packet is judged by its sender alone.
            _ if self.change.new.enforce != 0 && !self.is_peer(source) => ("pass", "drop", reason),
            _ => return,
        };
        let knock = Affected {
            source,
            port,
            protocol,
            from,
            to,
            reason,
            conversation: false,
            current: false,
            connected: false,
            packets: None,
            last_unix_ns: Some(last_unix_ns),
        };
        let entry = found.entry((source, port, protocol)).or_insert(knock);
        entry.packets = Some(entry.packets.unwrap_or(0) + packets);
        entry.last_unix_ns = entry.last_unix_ns.map(|then| then.max(last_unix_ns));
    }

    fn is_peer(&self, source: IpAddr) -> bool {
        let [_, new] = self.change.policies;
        new.is_some_and(|policy| policy.peers.iter().any(|peer| peer.contains(&source)))
    }
}

/// What is done to a packet: nothing in force passes everything; so does a policy or a class that only audits, but for what a block drops.
fn action(image: Option<&PolicyImage>, frame: &[u8], if_index: u32) -> (&'static str, &'static str) {
    let Some(image) = image else { return ("pass", "unmanaged") };
    let decision = decide(&Received { frame, if_index }, image);
    let reason = decision.reason().map_or("unknown", Reason::name);
    (if decision.dropped() == 1 { "drop" } else { "pass" }, reason)
}
