//! IP behind link headers that are not plain Ethernet, or that look like something else: what a stack, or a filter, might read on its own account.

use std::net::Ipv6Addr;

use nodewall_testbed::Family;

use super::Shape;
use crate::{
    ask::{Ask, NODE, NODE_MAC, NODE6, OUTSIDER, OUTSIDER_MAC, to_node4, to_node6},
    wire::{V4, V6, ethernet, tagged},
};

/// What is put between the addresses and the packet: given the `EtherType` and the packet.
type Carry = fn(u16, &[u8]) -> (u16, Vec<u8>);

fn snap_header(oui: [u8; 3], ethertype: u16) -> Vec<u8> {
    [&[0xaa, 0xaa, 3][..], &oui, &ethertype.to_be_bytes()].concat()
}

/// With a length where the type is.
fn llc(header: &[u8], packet: &[u8]) -> (u16, Vec<u8>) {
    let body = [header, packet].concat();
    (body.len() as u16, body)
}

fn customer(ethertype: u16, packet: &[u8]) -> Vec<u8> {
    ethernet(NODE_MAC, OUTSIDER_MAC, ethertype, packet)
}

/// IEEE 802.1ah: a service instance tag, then the customer's whole frame.
fn service_instance(ethertype: u16, packet: &[u8]) -> (u16, Vec<u8>) {
    (0x88e7, [&[0, 0, 0, 1][..], &customer(ethertype, packet)].concat())
}

/// RFC 8300: version 0, TTL 63, 6 or 2 words, metadata of type 1 or 2, what comes next, service path 1 at index 255.
fn nsh(words: u8, kind: u8, next: u8, rest: &[u8]) -> (u16, Vec<u8>) {
    let metadata = vec![0; usize::from(words - 2) * 4];
    (0x894f, [&[0x0f, 0xc0 | words, kind, next, 0, 0, 1, 255][..], &metadata, rest].concat())
}

/// RFC 8300 section 10.1.5: 1 is IPv4, 2 is IPv6.
fn nsh_ip(ethertype: u16) -> u8 {
    if ethertype == 0x0800 { 1 } else { 2 }
}

const LLC: [(&str, Carry); 7] = [
    ("SNAP", |kind, packet| llc(&snap_header([0; 3], kind), packet)),
    ("SNAP, of a bridge tunnel", |kind, packet| llc(&snap_header([0, 0, 0xf8], kind), packet)),
    ("SNAP, Ethernet within", |kind, packet| {
        llc(&[&[0xaa, 0xaa, 3, 0, 0x80, 0xc2, 0, 1][..], &customer(kind, packet)].concat(), &[])
    }),
    ("IP's own access point", |_, packet| llc(&[6, 6, 3], packet)),
    ("NetWare's raw frame", |_, packet| llc(&[0xff, 0xff], packet)),
    ("SNAP, and a type where the length is", |kind, packet| {
        (0x0870, [snap_header([0; 3], kind), packet.to_vec()].concat())
    }),
    ("no header behind the length", |_, packet| llc(&[], packet)),
];

const CARRIERS: [(&str, Carry); 14] = [
    ("802.1ah", service_instance),
    ("802.1ah, no addresses within", |kind, packet| {
        (0x88e7, [&[0, 0, 0, 1][..], &kind.to_be_bytes(), packet].concat())
    }),
    ("NSH", |kind, packet| nsh(6, 1, nsh_ip(kind), packet)),
    ("NSH without metadata", |kind, packet| nsh(2, 2, nsh_ip(kind), packet)),
    ("NSH, Ethernet within", |kind, packet| nsh(2, 2, 3, &customer(kind, packet))),
    ("Ethernet bridged", |kind, packet| (0x6558, customer(kind, packet))),
    ("TRILL", |kind, packet| (0x22f3, [&[0, 0x3f, 0, 1, 0, 2][..], &customer(kind, packet)].concat())),
    ("MPLS, explicit null", |kind, packet| {
        (0x8847, [&[0, if kind == 0x0800 { 0x01 } else { 0x21 }, 0xff, 64][..], packet].concat())
    }),
    ("PPPoE session", |kind, packet| {
        let protocol = if kind == 0x0800 { 0x0021_u16 } else { 0x0057 };
        let length = (packet.len() + 2) as u16;
        (0x8864, [&[0x11, 0, 0, 1][..], &length.to_be_bytes(), &protocol.to_be_bytes(), packet].concat())
    }),
    ("MACsec without encryption", |kind, packet| {
        let body = [&[0x00, 0, 0, 0, 0, 1][..], &kind.to_be_bytes(), packet, &[0; 16]].concat();
        (0x88e5, body)
    }),
    ("a tag of Cisco's", |kind, packet| (0x8909, [&[1, 1, 0, 7][..], &kind.to_be_bytes(), packet].concat())),
    ("the obsolete QinQ tag", |kind, packet| (0x9100, [&[0, 0][..], &kind.to_be_bytes(), packet].concat())),
    ("batman-adv", |kind, packet| {
        (0x4305, [&[0x40, 15, 50, 0, 2, 0, 0, 0, 0, 1][..], &customer(kind, packet)].concat())
    }),
    ("GRE's keepalive type", |_, packet| (0x0880, packet.to_vec())),
];

fn carried(mut shape: Shape, table: &'static [(&'static str, Carry)], tags: &'static [(u16, u16)]) -> Shape {
    for family in Family::ALL {
        for (label, carry) in table {
            shape = shape.one(format!("{family}, {label}"), move |ask| {
                let (ethertype, packet) = ask.packet(family);
                let (ethertype, body) = carry(ethertype, &packet);
                tagged(&ethernet(NODE_MAC, OUTSIDER_MAC, ethertype, &body), tags)
            });
        }
    }
    shape
}

/// Frames whose link addresses would be the beginning of an IPv4 packet as long as the frame: what the node's own multicast looks like when the kernel
/// gives it back.
fn like_an_own_copy(packet: &[u8], ethertype: u16) -> Vec<u8> {
    let [high, low] = ((14 + packet.len()) as u16).to_be_bytes();
    ethernet([0x45, 0, high, low, 0, 1], OUTSIDER_MAC, ethertype, packet)
}

/// The same for IPv6, whose byte 24 must be that of a multicast address: byte 10 of the packet.
fn like_an_own_copy6(packet: &[u8], ethertype: u16) -> Vec<u8> {
    let [high, low] = ((14 + packet.len()) as u16 - 40).to_be_bytes();
    ethernet([0x61, 0, 0, 0, high, low], OUTSIDER_MAC, ethertype, packet)
}

/// An IPv4 packet whose checksum begins with 0xff: whichever identification makes it so.
fn with_checksum_of_ff(ask: &Ask) -> Vec<u8> {
    let packet = ask.v4();
    let found = (0..=u16::MAX).map(|id| V4 { id, ..packet.clone() }.bytes()).find(|bytes| bytes[10] == 0xff);
    found.unwrap_or_else(|| packet.bytes())
}

/// An IPv6 packet from an address of which byte 2 is 0xff.
fn from_ff(ask: &Ask) -> Vec<u8> {
    ask.v6_between(Ipv6Addr::new(0xfd77, 0xff00, 0, 0, 0, 0, 0, 0x98), NODE6).bytes()
}

fn lookalikes() -> [Shape; 2] {
    let sound = Shape::new("link addresses that look like an IP header")
        .one("IPv4 like IPv4", |ask| like_an_own_copy(&ask.v4().bytes(), 0x0800))
        .one("IPv6 like IPv4", |ask| like_an_own_copy(&ask.v6().bytes(), 0x86dd))
        .one("IPv4 like IPv6", |ask| like_an_own_copy6(&with_checksum_of_ff(ask), 0x0800))
        .one("IPv6 like IPv6", |ask| like_an_own_copy6(&from_ff(ask), 0x86dd))
        .one("IPv4 like IPv4, VLAN 0", |ask| {
            let packet = ask.v4().bytes();
            let [high, low] = ((18 + packet.len()) as u16).to_be_bytes();
            tagged(&ethernet([0x45, 0, high, low, 0, 1], OUTSIDER_MAC, 0x0800, &packet), &[(0x8100, 0)])
        });
    let broken = Shape::new("link addresses that look like an IP header, and no sound packet")
        .one("IPv4's version", |ask| like_an_own_copy(&V4 { version: 5, ..ask.v4() }.bytes(), 0x0800))
        .one("IPv4's header length", |ask| like_an_own_copy(&V4 { ihl: Some(4), ..ask.v4() }.bytes(), 0x0800))
        .one("IPv4's total length", |ask| like_an_own_copy(&V4 { total_bytes: Some(1400), ..ask.v4() }.bytes(), 0x0800))
        .one("IPv6's version", |ask| like_an_own_copy(&V6 { version: 4, ..ask.v6() }.bytes(), 0x86dd))
        .one("IPv6's payload length", |ask| {
            like_an_own_copy(&V6 { payload_bytes: Some(1400), ..ask.v6() }.bytes(), 0x86dd)
        })
        .one("the other family's type", |ask| like_an_own_copy(&ask.v4().bytes(), 0x86dd))
        .one("an unknown type", |ask| like_an_own_copy(&ask.v4().bytes(), 0x88b5))
        .one("MPLS", |ask| like_an_own_copy(&[&[0, 1, 0xff, 64][..], &ask.v4().bytes()].concat(), 0x8847));
    [sound.required(), broken]
}

/// Under every number of a protocol, and under IPv6 of a next header: a stack that took one of them for TCP or UDP would be seen.
fn every_protocol() -> Shape {
    let mut shape = Shape::new("TCP's and UDP's bytes under every protocol number");
    for number in 0..=u8::MAX {
        shape = shape
            .one(format!("IPv4, {number}"), move |ask| to_node4(V4 { protocol: number, ..ask.v4() }.bytes()))
            .one(format!("IPv6, {number}"), move |ask| to_node6(V6 { next: number, ..ask.v6() }.bytes()));
    }
    shape.required()
}

/// UDP-Lite (RFC 3828): what covers how much stands where UDP has its length.
fn udp_lite() -> Shape {
    Shape::new("UDP-Lite").each(&[0_u16, 8, 12, 0xffff], |coverage, ask| {
        let mut packet = V4 { protocol: 136, ..V4::new(OUTSIDER, NODE, 136, ask.v4().payload) };
        packet.payload[4..6].copy_from_slice(&coverage.to_be_bytes());
        to_node4(packet.bytes())
    })
}

pub(crate) fn shapes() -> Vec<Shape> {
    let mut all = vec![
        carried(Shape::new("behind LLC"), &LLC, &[]),
        carried(Shape::new("behind LLC, VLAN 0"), &LLC, &[(0x8100, 0)]),
        carried(Shape::new("behind 802.1ah, NSH and other carriers"), &CARRIERS, &[]),
        carried(Shape::new("behind 802.1ah and others, VLAN 0"), &CARRIERS, &[(0x88a8, 0)]),
    ];
    all.extend(lookalikes());
    all.extend([every_protocol(), udp_lite()]);
    all
}
