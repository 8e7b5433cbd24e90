//! Packets in packets, for tunnel devices that are up on the node. Outside they come from the outsider; inside, from a peer.

use std::net::IpAddr;

use nodewall_testbed::{Family, Protocol};

use super::{Proof, Shape};
use crate::{
    ask::{Ask, NODE, NODE6, OUTSIDER, OUTSIDER_MAC, OUTSIDER6, PEER, PEER6, to_node4, to_node6},
    rig::{Device, INNER_MAC},
    wire::{IPV4, IPV6, UDP, V4, V6, ethernet, segment},
};

/// The packet inside, from a peer, and its `EtherType`.
fn inner(ask: &Ask, family: Family) -> (u16, Vec<u8>) {
    match family {
        Family::V4 => (IPV4, ask.v4_between(PEER, NODE).bytes()),
        Family::V6 => (IPV6, ask.v6_between(PEER6, NODE6).bytes()),
    }
}

fn in_v4(protocol: u8, payload: Vec<u8>) -> Vec<u8> {
    to_node4(V4::new(OUTSIDER, NODE, protocol, payload).bytes())
}

fn in_v6(payload: Vec<u8>, next: u8) -> Vec<u8> {
    to_node6(V6::new(OUTSIDER6, NODE6, next, payload).bytes())
}

/// A datagram of a tunnel over UDP: a header of 8 bytes and an Ethernet frame.
fn over_udp(ask: &Ask, port: u16, header: [u8; 8], family: Family) -> Vec<u8> {
    let (ethertype, packet) = inner(ask, family);
    let body = [&header[..], &ethernet(INNER_MAC, OUTSIDER_MAC, ethertype, &packet)].concat();
    let (from, to): (IpAddr, IpAddr) = (OUTSIDER.into(), NODE.into());
    let payload = segment(Protocol::Udp, (from, ask.source_port()), (to, port), &body);
    in_v4(UDP, payload)
}

/// GRE without options: flags and version 0, then what is inside.
fn gre(ask: &Ask, family: Family) -> Vec<u8> {
    let (ethertype, packet) = inner(ask, family);
    [&[0, 0][..], &ethertype.to_be_bytes(), &packet].concat()
}

fn gre_ethernet(ask: &Ask, family: Family) -> Vec<u8> {
    let (ethertype, packet) = inner(ask, family);
    [&[0, 0, 0x65, 0x58][..], &ethernet(INNER_MAC, OUTSIDER_MAC, ethertype, &packet)].concat()
}

const VXLAN: [u8; 8] = [8, 0, 0, 0, 0, 0, 5, 0];
const GENEVE: [u8; 8] = [0, 0, 0x65, 0x58, 0, 0, 5, 0];

type Dress = fn(&Ask, Family) -> Vec<u8>;

/// What each kind of device opens: its name in the table and how to dress a packet for it.
fn dressed(kind: &str) -> Option<(&'static str, Vec<Family>, Dress)> {
    let both = Family::ALL.to_vec();
    Some(match kind {
        "vxlan" => ("VXLAN", both, |ask, family| over_udp(ask, 4789, VXLAN, family)),
        "vxlan-8472" => ("VXLAN on Linux' own port", both, |ask, family| over_udp(ask, 8472, VXLAN, family)),
        "vxlan-5555" => ("VXLAN on a port of its own", both, |ask, family| over_udp(ask, 5555, VXLAN, family)),
        "geneve" => ("Geneve", both, |ask, family| over_udp(ask, 6081, GENEVE, family)),
        "ipip" => ("IPIP", vec![Family::V4], |ask, family| in_v4(4, inner(ask, family).1)),
        "sit" => ("6in4", vec![Family::V6], |ask, family| in_v4(41, inner(ask, family).1)),
        "gre" => ("GRE", both, |ask, family| in_v4(47, gre(ask, family))),
        "gretap" => ("Ethernet in GRE", both, |ask, family| in_v4(47, gre_ethernet(ask, family))),
        "ip6tnl" => ("IPv4 and IPv6 in IPv6", both, |ask, family| {
            in_v6(inner(ask, family).1, if family == Family::V4 { 4 } else { 41 })
        }),
        "ip6gre" => ("GRE in IPv6", both, |ask, family| in_v6(gre(ask, family), 47)),
        _ => return None,
    })
}

pub(crate) fn shapes(devices: &[Device]) -> Vec<Shape> {
    let mut all = Vec::new();
    for device in devices {
        let Some((name, families, dress)) = dressed(device.kind) else { continue };
        let mut shape = Shape::new(name).dropped("tunnel_outsider");
        for family in families {
            shape = shape.one(format!("{family} inside"), move |ask| dress(ask, family));
        }
        shape.proof = if device.missing.is_none() { Proof::Required } else { Proof::Learned };
        shape.skipped.clone_from(&device.missing);
        all.push(shape);
    }
    all
}
