//! The policy's rule for a port and a source, by the policy's meaning. Must not read packets or images.

use std::net::IpAddr;

use super::{
    answer::{Answer, To, outcome_of, verdict_of},
    node::Node,
};
use ipnet::IpNet;
use node_ebpf_common::Reason;
use nodewall_policy::{
    Origin, Policy,
    config::{Access, InterfacePeers, LaterFragments, Mode, Protocol, Tunnels},
};

/// VXLAN (RFC 7348), the number that Linux used for it before, Geneve (RFC 8926).
const TUNNEL_PORTS: [u16; 3] = [4789, 8472, 6081];

/// Who may send to a destination.
struct Rule<'p> {
    class: Option<&'p str>,
    everyone: Option<Reason>,
    peers_may: bool,
    also: &'p [IpNet],
    refusal: Reason,
    /// What it denies goes on all the same.
    audited: bool,
}

pub(super) fn rule(source: IpAddr, to: To, policy: &Policy, node: &Node<'_>, blocked: bool) -> Answer {
    if to == To::LaterFragment && policy.later_fragments == LaterFragments::All {
        let reason = if blocked { Reason::BlockedSource } else { Reason::LaterFragment };
        return Answer::unported(reason, policy.mode, 0);
    }
    let rule = rule_for(to, policy, node.tunnels);
    let sound = is_genuine(source, node.own);
    // In no prefix of a peer is a source that lies.
    let peer = sound.then(|| narrowest(source, &policy.peers)).flatten();
    let allowed = sound && rule.also.iter().any(|net| net.contains(&source));
    let reason = match rule.everyone {
        _ if blocked => Reason::BlockedSource,
        Some(reason) => reason,
        None if !sound => Reason::SpoofedSource,
        None if rule.peers_may && peer.is_some() && comes_in(source, policy, node.interface) => Reason::Peer,
        None if allowed => Reason::AllowedSource,
        None => rule.refusal,
    };
    // A block is no part of the class.
    let mode = if rule.audited && !blocked { Mode::Audit } else { policy.mode };
    Answer {
        verdict: verdict_of(reason),
        reason,
        outcome: outcome_of(reason, mode),
        class: rule.class.map(str::to_owned),
        to: Some(to),
        peer: peer.filter(|_| reason == Reason::Peer),
        bytes: None,
    }
}

fn rule_for<'p>(to: To, policy: &'p Policy, tunnels: &[u16]) -> Rule<'p> {
    if let To::Port(protocol, port) = to {
        let unpacked = protocol == Protocol::Udp && tunnels.contains(&port) && !TUNNEL_PORTS.contains(&port);
        for class in &policy.classes {
            // The profile opens ports without knowing what the node unpacks.
            let unknowing = class.access == Access::Public && class.from != Origin::Rule;
            if unpacked && unknowing {
                continue;
            }
            for entry in &class.ports {
                let holds = entry.ports.first() <= port && port <= entry.ports.last();
                if entry.protocol == protocol && holds {
                    return Rule {
                        class: Some(&class.name),
                        everyone: (class.access == Access::Public).then_some(Reason::Public),
                        peers_may: class.access == Access::Cluster,
                        also: if class.access == Access::Public { &[] } else { &class.also_allow },
                        refusal: if class.access == Access::Closed { Reason::Closed } else { Reason::Outsider },
                        audited: class.audited,
                    };
                }
            }
        }
        if !unpacked && (protocol != Protocol::Udp || !TUNNEL_PORTS.contains(&port)) {
            let everyone = Some(Reason::Unmanaged);
            return Rule {
                class: None,
                everyone,
                peers_may: false,
                also: &[],
                refusal: Reason::Unmanaged,
                audited: false,
            };
        }
    }
    if to == To::LaterFragment {
        let refusal = Reason::FragmentOutsider;
        return Rule { class: Some("fragment"), everyone: None, peers_may: true, also: &[], refusal, audited: false };
    }
    let for_all = policy.tunnels == Tunnels::All;
    Rule {
        class: Some("tunnel"),
        everyone: for_all.then_some(Reason::Public),
        peers_may: !for_all,
        also: &[],
        refusal: Reason::TunnelOutsider,
        audited: false,
    }
}

/// Whether peers with this source may come in by this interface.
fn comes_in(source: IpAddr, policy: &Policy, interface: Option<&str>) -> bool {
    match interface.and_then(|name| policy.interface_peers.get(name)) {
        None | Some(InterfacePeers::All) => true,
        Some(InterfacePeers::None) => false,
        Some(InterfacePeers::Within(nets)) => nets.iter().any(|net| net.contains(&source)),
    }
}

/// The longest of the prefixes that hold `source`.
fn narrowest(source: IpAddr, nets: &[IpNet]) -> Option<IpNet> {
    nets.iter().filter(|net| net.contains(&source)).max_by_key(|net| net.prefix_len()).copied()
}

/// Whether a packet with this source may tell the truth.
pub(super) fn is_genuine(source: IpAddr, own: &[IpAddr]) -> bool {
    !cannot_be_sent(source) && !own.contains(&source)
}

/// Addresses that no genuine packet on a wire has as its source (RFC 1122 3.2.1.3, RFC 6890, RFC 4291).
fn cannot_be_sent(source: IpAddr) -> bool {
    match source {
        IpAddr::V4(a) => a.octets()[0] == 0 || a.is_loopback() || a.is_multicast() || a.is_broadcast(),
        IpAddr::V6(a) => a.is_unspecified() || a.is_loopback() || a.is_multicast() || a.to_ipv4_mapped().is_some(),
    }
}
