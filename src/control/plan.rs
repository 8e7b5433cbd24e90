//! What a configuration would change of what is in force: ports, access, peers, mode, interfaces, and who of those that are connected, or were within the
//! last hour, would be cut off or let in. Changes nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    net::IpAddr,
};

use ipnet::IpNet;
use node_ebpf_common::{PolicyImage, Reason, decide, frame::Received};
use serde::Serialize;

use super::{
    allow::Allow,
    block_list::Blocks,
    coverage::{CoverageState, InterfaceCoverage, Remembered, account},
    error::AgentError,
    guard::Guard,
    seen::Seen,
    session,
    state_files::readable,
    surroundings::{Surroundings, own_addresses, select},
};
use crate::control::{Desired, Good};
use nodewall_datapath::PinDir;
use nodewall_host::{
    net::{self, Network, Redirect, Selection, Sockets, Way, listings, tcp_redirects},
    state::{Clock, StateDir},
};
use nodewall_policy::{
    Facts, Policy, PortClass, RowTable, compile,
    config::{Access, PortRange, Protocol, show},
    probe_frame,
};

/// Everything that would change. Empty: nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Settings: name, as it is, as it would be. As it is: `null` where nothing is in force.
    pub settings: Vec<Setting>,
    /// Ports that get another class, access or extra source.
    pub ports: Vec<PortChange>,
    /// Peers that would come.
    pub peers_added: Vec<String>,
    /// Peers that would go.
    pub peers_removed: Vec<String>,
    /// Interfaces that would be attached.
    pub interfaces_added: Vec<String>,
    /// Interfaces that are attached and would no longer be asked for: they would be let go, and be open.
    pub interfaces_removed: Vec<String>,
    /// Ways in that would stay open, and interfaces that can not be attached, each with the reason.
    pub not_covered: Vec<String>,
    /// Sources whose verdict would change, of those that have a TCP connection to this node or had one within the last hour (as an agent saw it).
    pub affected: Vec<Affected>,
    /// Why `apply` would refuse it.
    pub held: Option<String>,
}

/// A setting that would change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Its key.
    pub name: &'static str,
    /// As it is.
    pub from: Option<String>,
    /// As it would be.
    pub to: String,
}

/// Ports whose rule would change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PortChange {
    /// The ports, both ends included.
    pub ports: String,
    /// TCP or UDP.
    pub protocol: String,
    /// What holds for them: class, access, extra sources; "unmanaged" where no class names them.
    pub from: String,
    /// What would.
    pub to: String,
}

/// Somebody who is connected, or was.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Affected {
    /// The other end.
    pub source: IpAddr,
    /// This node's port.
    pub port: u16,
    /// What happens to its packets: `pass` or `drop`.
    pub from: &'static str,
    /// What would.
    pub to: &'static str,
    /// Name of the new reason.
    pub reason: &'static str,
    /// The connection is there right now.
    pub connected: bool,
}

impl Difference {
    /// Whether nothing would change.
    pub fn is_empty(&self) -> bool {
        *self == Self { held: self.held.clone(), not_covered: self.not_covered.clone(), ..Self::default() }
    }
}

/// What `desired` would change of the last good policy in `state` (none: the node is open).
pub async fn plan(
    (state, pins): (Option<&StateDir>, Option<&PinDir>),
    desired: &Desired,
    allow: Allow,
) -> Result<Difference, AgentError> {
    let good = match state {
        Some(state) if !state.is_detached() => Good::last(state)?,
        _ => None,
    };
    let blocked = match state {
        Some(state) => readable(Blocks::load(state))?.prefixes(&Clock::now()),
        None => Vec::new(),
    };
    let network = net::snapshot().await?;
    let facts = |policy: &Policy| Facts { blocked: blocked.clone(), ..Surroundings::of(&network, policy).facts() };
    let image = |policy: &Policy| Ok::<_, AgentError>(compile(policy, RowTable::default(), &facts(policy))?.image);
    let new = image(&desired.policy)?;
    let old = good.as_ref().map(|good| image(&good.desired.policy)).transpose()?;

    let Remembered(stored) = match state {
        Some(state) if good.is_some() => Remembered::load(state)?,
        _ => Remembered::default(),
    };
    let (selection, held) = match select(desired, &network, &stored) {
        Ok(selection) => (selection, None),
        Err(error) => (Selection::default(), Some(error.to_string())),
    };
    let interfaces = selection.attach.iter().map(|selected| &selected.name).chain(&selection.missing);
    let interfaces: BTreeSet<String> = interfaces.cloned().collect();
    let attached: BTreeSet<String> = stored.into_iter().collect();
    let guard = Guard { allow, session: session::current() };
    let held = held.or_else(|| {
        guard
            .judge(desired, &new, &facts(&desired.policy).own_addresses, good.as_ref())
            .err()
            .map(|error| error.to_string())
    });
    let old_policy = good.as_ref().map(|good| &good.desired.policy);
    let old_peers: BTreeSet<IpNet> = old_policy.iter().flat_map(|policy| policy.peers.iter().copied()).collect();
    let new_peers: BTreeSet<IpNet> = desired.policy.peers.iter().copied().collect();
    Ok(Difference {
        settings: settings(good.as_ref(), desired),
        ports: ports(old_policy, &desired.policy),
        peers_added: new_peers.difference(&old_peers).map(show).collect(),
        peers_removed: old_peers.difference(&new_peers).map(show).collect(),
        interfaces_added: interfaces.difference(&attached).cloned().collect(),
        interfaces_removed: attached.difference(&interfaces).cloned().collect(),
        not_covered: not_covered(pins, desired, &selection, &network)?,
        affected: {
            let connections = connections(state, &own_addresses(&network).into_iter().collect())?;
            let by_interface = old_policy.into_iter().chain([&desired.policy]).any(|p| !p.interface_peers.is_empty());
            let interfaces = if by_interface { interfaces_of(&connections).await? } else { BTreeMap::new() };
            affected(&connections, &interfaces, &tcp_redirects(&listings()), (old.as_deref(), &new))
        },
        held,
    })
}

/// By which interface each source comes in: the one by which this node answers, for nothing else says it of a connection.
async fn interfaces_of(connections: &BTreeMap<(IpAddr, u16), bool>) -> Result<BTreeMap<IpAddr, u32>, AgentError> {
    let sources: Vec<IpAddr> =
        connections.keys().map(|(source, _)| *source).collect::<BTreeSet<_>>().into_iter().collect();
    let ways = net::ways_to(&sources).await?;
    let interface = |way| match way {
        Way::Out(route) => route.interface,
        Way::Here | Way::Nowhere(_) => None,
    };
    Ok(sources.into_iter().zip(ways).filter_map(|(source, way)| Some((source, interface(way)?))).collect())
}

/// What an account of the interfaces would say, but for those that are only waiting to be attached.
fn not_covered(
    pins: Option<&PinDir>,
    desired: &Desired,
    selection: &Selection,
    network: &Network,
) -> Result<Vec<String>, AgentError> {
    let account = account(network, pins, Some((desired, selection)))?;
    let open = account.iter().filter(|interface| interface.state != CoverageState::Failing || interface.foreign);
    Ok(open.filter_map(InterfaceCoverage::problem).collect())
}

fn settings(good: Option<&Good>, desired: &Desired) -> Vec<Setting> {
    let values = |desired: &Desired| {
        let policy = &desired.policy;
        [
            ("mode", policy.mode.to_string()),
            ("tunnels", policy.tunnels.to_string()),
            ("later_fragments", policy.later_fragments.to_string()),
            ("single_node", policy.single_node.to_string()),
            ("attach_mode", desired.attach_mode.to_string()),
            ("interface attach", listed(&desired.interface_attach)),
            ("interface peers", listed(&policy.interface_peers)),
        ]
    };
    let old = good.map(|good| values(&good.desired));
    let mut changed = Vec::new();
    for (n, (name, to)) in values(desired).into_iter().enumerate() {
        let from = old.as_ref().and_then(|old| old.get(n)).map(|(_, value)| value.clone());
        if from.as_ref() != Some(&to) {
            changed.push(Setting { name, from, to });
        }
    }
    changed
}

/// What differs on single interfaces, in one line.
fn listed(single: &BTreeMap<String, impl Display>) -> String {
    let all: Vec<String> = single.iter().map(|(name, what)| format!("{name} {what}")).collect();
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}

/// Every port of the table is compared, and neighbours with the same change are told together.
fn ports(old: Option<&Policy>, new: &Policy) -> Vec<PortChange> {
    let mut changes = Vec::new();
    for protocol in Protocol::ALL.iter().copied() {
        let (old, new) = (old.map_or_else(|| vec![None; 65_536], |old| table(old, protocol)), table(new, protocol));
        let mut run: Option<(u16, u16, Option<&PortClass>, Option<&PortClass>)> = None;
        let mut told = |run: Option<(u16, u16, Option<&PortClass>, Option<&PortClass>)>| {
            if let Some((first, last, from, to)) = run
                && let Some(range) = PortRange::new(first, last)
            {
                changes.push(PortChange {
                    ports: range.to_string(),
                    protocol: protocol.to_string(),
                    from: rule(from),
                    to: rule(to),
                });
            }
        };
        for ((port, from), to) in (0..=u16::MAX).zip(old).zip(new) {
            let differs = rule(from) != rule(to);
            match run {
                Some((first, last, f, t))
                    if differs && last + 1 == port && rule(f) == rule(from) && rule(t) == rule(to) =>
                {
                    run = Some((first, port, f, t));
                }
                _ if differs => {
                    told(run);
                    run = Some((port, port, from, to));
                }
                _ => {}
            }
        }
        told(run);
    }
    changes
}

fn table(policy: &Policy, protocol: Protocol) -> Vec<Option<&PortClass>> {
    let mut table = vec![None; 65_536];
    for class in &policy.classes {
        for range in class.ranges(protocol) {
            for port in range.ports() {
                if let Some(at) = table.get_mut(usize::from(port)) {
                    *at = Some(class);
                }
            }
        }
    }
    table
}

/// What holds for a port, in a few words.
fn rule(class: Option<&PortClass>) -> String {
    let Some(class) = class else { return "unmanaged".into() };
    let also: Vec<String> = class.also_allow.iter().map(show).collect();
    let also = if also.is_empty() { String::new() } else { format!(", also {}", also.join(", ")) };
    let access = match class.access {
        Access::Public => "public",
        Access::Cluster => "cluster",
        Access::Closed => "closed",
    };
    let audited = if class.audited { ", audited" } else { "" };
    format!("{access} ({}{also}{audited})", class.name)
}

/// What is done to a packet: nothing in force passes everything; so does a policy or a class that only audits, but for what a block drops.
fn action(image: Option<&PolicyImage>, source: IpAddr, port: u16, if_index: u32) -> (&'static str, &'static str) {
    let Some(image) = image else { return ("pass", "unmanaged") };
    let frame = probe_frame(source, port, Protocol::Tcp);
    let decision = decide(&Received { frame: &frame, if_index }, image);
    let reason = decision.reason().map_or("unknown", Reason::name);
    (if decision.dropped() == 1 { "drop" } else { "pass" }, reason)
}

/// The ports on the wire that may have led to this socket.
fn on_the_wire(port: u16, redirects: &[Redirect]) -> Vec<u16> {
    let from = redirects.iter().filter(|redirect| redirect.to == port).flat_map(|redirect| &redirect.from);
    std::iter::once(port).chain(from.map(|range| range.first())).collect()
}

/// Sources and local ports, each with whether the connection is there now.
fn connections(state: Option<&StateDir>, own: &BTreeSet<IpAddr>) -> Result<BTreeMap<(IpAddr, u16), bool>, AgentError> {
    let seen = state.and_then(StateDir::read_note::<Seen>).unwrap_or_default();
    let remembered = seen.within_the_hour(Clock::now().unix_ns);
    // An address may have become this node's since.
    let others = remembered.filter(|(source, _)| !own.contains(source));
    let mut all: BTreeMap<_, _> = others.map(|connection| (connection, false)).collect();
    all.extend(inbound(&net::sockets()?, own).into_iter().map(|connection| (connection, true)));
    Ok(all)
}

/// Who is connected from outside: source and local port. Not this node itself: what it sends to an address of its own goes over `lo`, which nobody filters.
pub(crate) fn inbound(sockets: &Sockets, own: &BTreeSet<IpAddr>) -> Vec<(IpAddr, u16)> {
    let ends = sockets.inbound().map(|end| (end.remote.ip().to_canonical(), end.local.port()));
    ends.filter(|(source, _)| !source.is_loopback() && !own.contains(source)).collect()
}

fn affected(
    connections: &BTreeMap<(IpAddr, u16), bool>,
    interfaces: &BTreeMap<IpAddr, u32>,
    redirects: &[Redirect],
    (old, new): (Option<&PolicyImage>, &PolicyImage),
) -> Vec<Affected> {
    let mut found = BTreeSet::new();
    for (&(source, local_port), &connected) in connections {
        let if_index = interfaces.get(&source).copied().unwrap_or(0);
        let changed = |port: u16| {
            let ((from, _), (to, reason)) =
                (action(old, source, port, if_index), action(Some(new), source, port, if_index));
            (from != to).then_some(Affected { source, port, from, to, reason, connected })
        };
        // Behind a redirect nobody can tell which port it was; it is told only where every answer is the same.
        let ports = on_the_wire(local_port, redirects);
        if ports.iter().all(|port| changed(*port).is_some()) {
            found.extend(changed(local_port));
        }
    }
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodewall_policy::config::Config;

    fn policy(text: &str) -> Policy {
        Policy::from_config(&Config::parse(text, "test.toml").unwrap()).unwrap()
    }

    #[test]
    fn neighbouring_ports_with_the_same_change_are_one_line() {
        let old = policy(
            "single_node = true\n[profile]\nname = \"none\"\n[[rule]]\nname = \"a\"\nports = [\"100-110\"]\naccess = \"cluster\"\n",
        );
        let new = policy(
            "single_node = true\n[profile]\nname = \"none\"\n[[rule]]\nname = \"a\"\nports = [\"100-104\"]\naccess = \"cluster\"\n[[rule]]\nname = \"b\"\nports = [\"108\"]\nprotocols = [\"tcp\"]\naccess = \"public\"\n",
        );
        let lines: Vec<String> = ports(Some(&old), &new)
            .into_iter()
            .map(|change| format!("{}/{}: {} -> {}", change.protocol, change.ports, change.from, change.to))
            .collect();
        assert_eq!(
            lines,
            [
                "tcp/105-107: cluster (a) -> unmanaged",
                "tcp/108: cluster (a) -> public (b)",
                "tcp/109-110: cluster (a) -> unmanaged",
                "udp/105-110: cluster (a) -> unmanaged",
            ]
        );
        assert!(ports(Some(&new), &new).is_empty());
        let audits = Policy {
            classes: new.classes.iter().cloned().map(|class| PortClass { audited: true, ..class }).collect(),
            ..new.clone()
        };
        assert_eq!(ports(Some(&audits), &new)[0].from, "cluster (a, audited)");
        assert!(!ports(None, &new).is_empty());
    }
}
