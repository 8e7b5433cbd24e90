//! `Policy` -> `PolicyImage`: rows, port tables, groups, sources. Pure: the same policy, rows and facts give the same image. It must not touch the
//! kernel and must not refuse what `config` accepted, except for what does not fit.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use node_ebpf_common::{
    ABI_VERSION, PolicyImage, Reason,
    counter::{self, ROW_IP_TUNNELS, ROW_LATER_FRAGMENTS, ROW_PORTLESS, ROW_TCP_UNMANAGED, ROW_UDP_UNMANAGED},
    packet::{TABLE_TCP, TABLE_UDP},
    policy::{
        GROUP_BLOCKED, GROUP_RULE_FIRST, GROUP_SPOOFED, InterfaceRule, MAGIC, MAX_INTERFACE_RULES, MAX_RULE_GROUPS,
    },
    rule::{GROUP_PEER, PortWord, Row},
    wire::{TUNNEL_UDP_PORTS, protocol},
};
use sha2::{Digest, Sha256};
use zerocopy::FromZeros;

use super::{
    Origin, PeerTable, Policy, PortClass,
    rows::{MAX_PORTS_WITH_OWN_ROWS, RowKey, RowTable, RowsExhausted},
    sources::{self, Grant, Lengths, SourceError},
};
use crate::config::{Access, InterfacePeers, LaterFragments, Mode, Protocol, Tunnels};

/// Class name of fragments after the first, where the policy asks who sent them.
pub const FRAGMENT_CLASS: &str = "fragment";
/// Class name of tunnel traffic, IP protocols and UDP ports alike.
pub const TUNNEL_CLASS: &str = "tunnel";
/// Rows that ports of tunnels may take, those of earlier policies among them.
const MAX_TUNNEL_ROWS: usize = 64;

/// Why a policy does not become an image.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// Too many ports.
    #[error(transparent)]
    Rows(#[from] RowsExhausted),
    /// Too many sources.
    #[error(transparent)]
    Sources(#[from] SourceError),
    /// Too many lists of sources.
    #[error(
        "{lists} rules with also_allow and interfaces with peers in prefixes, and {MAX_RULE_GROUPS} fit; merge rules that allow the same sources"
    )]
    Groups {
        /// How many there are.
        lists: usize,
    },
    /// Too many interfaces.
    #[error(
        "{interfaces} interfaces (slaves of bonds included) have peers of their own, and {MAX_INTERFACE_RULES} fit; leave `peers` out for some"
    )]
    Interfaces {
        /// How many there are.
        interfaces: usize,
    },
    /// No memory for an image.
    #[error("not enough memory for a policy image of {} bytes", size_of::<PolicyImage>())]
    Memory,
}

/// What the image depends on besides the policy.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Number of the image.
    pub generation: u64,
    /// Unix time of the compilation, ns.
    pub now_ns: u64,
    /// The node's own addresses: no genuine packet on a wire has them as its source.
    pub own_addresses: Vec<IpAddr>,
    /// The UDP ports that this host's kernel takes packets out of, besides those that every host is taken to ([`TUNNEL_UDP_PORTS`]).
    pub tunnel_ports: BTreeSet<u16>,
    /// The indexes of the interfaces that the policy has rules for, by their names: what comes in by a bond has the index of a slave, so there are several.
    pub interfaces: BTreeMap<String, BTreeSet<u32>>,
    /// Sources that an operator blocked: nothing from them passes but what is not IP and neighbour discovery. A block outranks peers and allowed sources
    /// inside it and around it, but does not reach own addresses: what has one as its source lies, and is `spoofed_source` where the source matters.
    pub blocked: Vec<IpNet>,
    /// The peers' slots so far: a peer that has one keeps it.
    pub peers: PeerTable,
}

/// A compiled policy.
pub struct Compiled {
    /// For the kernel.
    pub image: Box<PolicyImage>,
    /// The rows with this policy's names.
    pub rows: RowTable,
    /// The peers' slots with this policy's peers.
    pub peers: PeerTable,
    /// Distinct prefix lengths in use.
    pub lengths: Lengths,
}

/// SHA-256 of a policy's canonical text.
pub(super) fn policy_sha256(policy: &Policy) -> [u8; 32] {
    Sha256::digest(policy.canonical().as_bytes()).into()
}

/// Compiles `policy`; ports that `rows` knows keep their rows.
pub fn compile(policy: &Policy, mut rows: RowTable, facts: &Facts) -> Result<Compiled, CompileError> {
    let mut image = PolicyImage::new_box_zeroed().map_err(|_| CompileError::Memory)?;
    image.magic = MAGIC;
    image.abi_version = ABI_VERSION;
    image.generation = facts.generation;
    image.compiled_at_ns = facts.now_ns;
    image.policy_sha256 = policy_sha256(policy);
    image.peers = policy.peers.len() as u16;
    image.per_peer = u8::from(policy.per_peer);
    let enforce = policy.mode == Mode::Enforce;
    image.enforce = u16::from(enforce);
    image.denied_from = counter::denied_from(enforce) as u8;

    let groups = Groups::new(policy)?;
    fill_interfaces(&mut image, policy, &groups, &facts.interfaces)?;
    rows.deactivate_all();
    let unmanaged = Row::new(0, Reason::Unmanaged, enforce);
    for (table, row) in image.port_words.iter_mut().zip([ROW_TCP_UNMANAGED, ROW_UDP_UNMANAGED]) {
        table.fill(PortWord::new(row, unmanaged).bits());
        put(&mut image.rows, row, unmanaged);
    }
    put(&mut image.rows, ROW_PORTLESS, unmanaged);
    put(&mut image.rows, ROW_LATER_FRAGMENTS, later_fragment_row(policy, enforce));
    let tunnel = tunnel_row(policy, enforce);
    put(&mut image.rows, ROW_IP_TUNNELS, tunnel);
    for port in TUNNEL_UDP_PORTS {
        // A rule of the operator's for such a port comes after and wins.
        name_ports(&mut image, &mut rows, key(Protocol::Udp, port, port), TUNNEL_CLASS, tunnel)?;
    }
    for class in &policy.classes {
        let row = class_row(class, groups.allowed(class), enforce);
        for entry in &class.ports {
            let (first, last) = (entry.ports.first(), entry.ports.last());
            if entry.ports.count() > MAX_PORTS_WITH_OWN_ROWS {
                name_ports(&mut image, &mut rows, key(entry.protocol, first, last), &class.name, row)?;
            } else {
                for port in first..=last {
                    name_ports(&mut image, &mut rows, key(entry.protocol, port, port), &class.name, row)?;
                }
            }
        }
    }
    for port in facts.tunnel_ports.iter().filter(|port| is_tunnel(policy, **port)) {
        name_tunnel(&mut image, &mut rows, *port, tunnel);
    }
    let blocked: BTreeSet<IpNet> = facts.blocked.iter().map(IpNet::trunc).collect();
    image.blocked = blocked.len() as u16;
    sources::fill_mission_control(&mut image, &policy.mission_control);
    let mut peers = facts.peers.clone();
    let numbers = peers.assign(&policy.peers);
    let lengths = sources::fill(&mut image, &groups.sources(policy, &numbers, &blocked, &facts.own_addresses))?;
    Ok(Compiled { image, rows, peers, lengths })
}

const fn key(protocol: Protocol, first_port: u16, last_port: u16) -> RowKey {
    RowKey { protocol: number_of(protocol), first_port, last_port }
}

/// The number that a protocol has in an IP header.
pub(super) const fn number_of(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => protocol::TCP,
        Protocol::Udp => protocol::UDP,
    }
}

fn put(rows: &mut [Row], number: u32, row: Row) {
    if let Some(at) = rows.get_mut(number as usize) {
        *at = row;
    }
}

fn name_ports(
    image: &mut PolicyImage,
    rows: &mut RowTable,
    key: RowKey,
    class: &str,
    row: Row,
) -> Result<(), RowsExhausted> {
    let number = rows.assign(key, class)?;
    put(&mut image.rows, number, row);
    lead(image, key, PortWord::new(number, row));
    Ok(())
}

/// Whether UDP packets to a port that this host's kernel unpacks are judged as tunnels. The operator's own rules win, as they do over the usual ports,
/// and so do classes that keep the port from outsiders. The profile opens some ports to everyone, and does not know of this host's devices.
fn is_tunnel(policy: &Policy, port: u16) -> bool {
    !TUNNEL_UDP_PORTS.contains(&port)
        && policy
            .class_of(Protocol::Udp, port)
            .is_none_or(|class| class.access == Access::Public && matches!(class.from, Origin::Profile(_)))
}

/// A port of this host's devices. They come and go, and rows are never given back: so that they leave enough for the policy, they get a few rows of
/// their own and share that of the tunnels without a port beyond.
fn name_tunnel(image: &mut PolicyImage, rows: &mut RowTable, port: u16, row: Row) {
    let key = key(Protocol::Udp, port, port);
    let number = rows.assign_few(key, TUNNEL_CLASS, MAX_TUNNEL_ROWS).unwrap_or(ROW_IP_TUNNELS);
    put(&mut image.rows, number, row);
    lead(image, key, PortWord::new(number, row));
}

/// What peers must be to come in by single interfaces. One that this host lacks has no index, and nothing comes in by it.
fn fill_interfaces(
    image: &mut PolicyImage,
    policy: &Policy,
    groups: &Groups<'_>,
    indexes: &BTreeMap<String, BTreeSet<u32>>,
) -> Result<(), CompileError> {
    let rules: Vec<InterfaceRule> = policy
        .interface_peers
        .iter()
        .flat_map(|(name, peers)| {
            let admits = groups.admitted(name, peers);
            indexes.get(name).into_iter().flatten().map(move |&if_index| InterfaceRule { if_index, admits })
        })
        .collect();
    if rules.len() > MAX_INTERFACE_RULES {
        return Err(CompileError::Interfaces { interfaces: rules.len() });
    }
    for (to, rule) in image.interface_rules.iter_mut().zip(rules) {
        *to = rule;
    }
    Ok(())
}

/// Gives ports their word.
fn lead(image: &mut PolicyImage, key: RowKey, word: PortWord) {
    let table = if key.protocol == protocol::TCP { TABLE_TCP } else { TABLE_UDP };
    for port in key.first_port..=key.last_port {
        // The index is the port as it lies on the wire, loaded little-endian.
        if let Some(at) = image.port_words.get_mut(table as usize).and_then(|t| t.get_mut(port.swap_bytes() as usize)) {
            *at = word.bits();
        }
    }
}

fn class_row(class: &PortClass, allow: u32, enforce: bool) -> Row {
    let row = match class.access {
        Access::Public => Row::new(0, Reason::Public, enforce),
        Access::Cluster => Row::new(allow, Reason::Outsider, enforce),
        Access::Closed => Row::new(allow, Reason::Closed, enforce),
    };
    if class.audited { row.audited() } else { row }
}

fn tunnel_row(policy: &Policy, enforce: bool) -> Row {
    match policy.tunnels {
        Tunnels::Peers => Row::new(GROUP_PEER, Reason::TunnelOutsider, enforce),
        Tunnels::All => Row::new(0, Reason::Public, enforce),
    }
}

fn later_fragment_row(policy: &Policy, enforce: bool) -> Row {
    match policy.later_fragments {
        LaterFragments::Peers => Row::new(GROUP_PEER, Reason::FragmentOutsider, enforce),
        // Not consulted: the verdict function passes them under their own reason.
        LaterFragments::All => Row::default(),
    }
}

/// The group bit of each list of sources: of the classes that let extra ones in, and of the interfaces that let some peers in.
struct Groups<'p> {
    bits: BTreeMap<&'p str, u32>,
    interface_bits: BTreeMap<&'p str, u32>,
}

impl<'p> Groups<'p> {
    fn new(policy: &'p Policy) -> Result<Self, CompileError> {
        let names: Vec<&str> =
            policy.classes.iter().filter(|c| !c.also_allow.is_empty()).map(|c| c.name.as_str()).collect();
        let within = |(name, peers): (&'p String, &'p InterfacePeers)| {
            matches!(peers, InterfacePeers::Within(_)).then_some(name.as_str())
        };
        let interfaces: Vec<&str> = policy.interface_peers.iter().filter_map(within).collect();
        let lists = names.len() + interfaces.len();
        if lists > MAX_RULE_GROUPS {
            return Err(CompileError::Groups { lists });
        }
        let mut bits = (0..).map(|n| GROUP_RULE_FIRST << n);
        Ok(Self {
            bits: names.into_iter().zip(&mut bits).collect(),
            interface_bits: interfaces.into_iter().zip(&mut bits).collect(),
        })
    }

    /// One of which groups a peer must be in to come in by this interface.
    fn admitted(&self, interface: &str, peers: &InterfacePeers) -> u32 {
        match peers {
            InterfacePeers::All => GROUP_PEER,
            InterfacePeers::None => 0,
            InterfacePeers::Within(_) => self.interface_bits.get(interface).copied().unwrap_or(0),
        }
    }

    fn allowed(&self, class: &PortClass) -> u32 {
        let own = self.bits.get(class.name.as_str()).copied().unwrap_or(0);
        match class.access {
            Access::Public => 0,
            Access::Cluster => own | GROUP_PEER,
            Access::Closed => own,
        }
    }

    fn sources(
        &self,
        policy: &Policy,
        numbers: &[u16],
        blocked: &BTreeSet<IpNet>,
        own_addresses: &[IpAddr],
    ) -> BTreeMap<IpNet, Grant> {
        let mut sources: BTreeMap<IpNet, Grant> = BTreeMap::new();
        for (peer, net) in numbers.iter().zip(&policy.peers) {
            *sources.entry(*net).or_default() = Grant { groups: GROUP_PEER, peer: *peer };
        }
        for class in &policy.classes {
            let bit = self.bits.get(class.name.as_str()).copied().unwrap_or(0);
            for net in &class.also_allow {
                sources.entry(*net).or_default().groups |= bit;
            }
        }
        for (name, peers) in &policy.interface_peers {
            let InterfacePeers::Within(prefixes) = peers else { continue };
            let bit = self.interface_bits.get(name.as_str()).copied().unwrap_or(0);
            for net in prefixes {
                sources.entry(*net).or_default().groups |= bit;
            }
        }
        for net in blocked {
            sources.entry(*net).or_default().groups |= GROUP_BLOCKED;
        }
        mark_martians(&mut sources, &policy.peers);
        for address in own_addresses {
            sources.insert(IpNet::from(*address), Grant { groups: GROUP_SPOOFED, peer: 0 });
        }
        sources
    }
}

/// Sources that no genuine packet on a wire has: those of [`Address::is_martian`], as prefixes.
const MARTIANS: [&str; 8] =
    ["0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4", "255.255.255.255/32", "::/128", "::1/128", "::ffff:0:0/96", "ff00::/8"];

/// Where peers' prefixes meet martian addresses the table says so: the verdict function asks whether a source is one only where it is denied anyway.
fn mark_martians(sources: &mut BTreeMap<IpNet, Grant>, peers: &[IpNet]) {
    for martian in MARTIANS.iter().filter_map(|text| text.parse::<IpNet>().ok()) {
        for peer in peers {
            if peer.contains(&martian) {
                sources.entry(martian).or_default().groups |= GROUP_SPOOFED;
            } else if martian.contains(peer) {
                sources.entry(*peer).or_default().groups |= GROUP_SPOOFED;
            }
        }
    }
}

#[cfg(test)]
mod tests;
