//! Below IP: tags, destinations of frames, sizes, padding.

use std::net::IpAddr;

use nodewall_testbed::{Family, Protocol};

use super::{Shape, Via};
use crate::{
    ask::{Ask, NODE, NODE_MAC, NODE6, OUTSIDER, OUTSIDER_MAC, OUTSIDER6, to_node4, to_node6},
    rig::Device,
    wire::{IPV4, IPV6, V4, V6, ethernet, options, segment, tagged},
};

const C: u16 = 0x8100;
const S: u16 = 0x88a8;
/// Ethernet frames of these lengths, as far as the MTU goes. 4,096 less head and tail room is where a second buffer begins.
const SIZES: [usize; 22] = [
    60, 61, 64, 100, 128, 256, 512, 1024, 1280, 1500, 1514, 2000, 2900, 3014, 3500, 3600, 4096, 4110, 5000, 7000, 8192,
    9014,
];

fn both(name: &'static str, dress: impl Fn(&Ask, Family) -> Vec<u8> + Clone + Send + Sync + 'static) -> Shape {
    let (four, six) = (dress.clone(), dress);
    Shape::new(name).one("IPv4", move |ask| four(ask, Family::V4)).one("IPv6", move |ask| six(ask, Family::V6))
}

fn tags(mut shape: Shape, stacks: &[Vec<(u16, u16)>]) -> Shape {
    for family in Family::ALL {
        shape = shape.each(stacks, move |tags, ask| tagged(&ask.frame(family), tags));
    }
    shape
}

fn sizes() -> Shape {
    let mut shape = Shape::new("sizes from 60 bytes to the MTU").required();
    for family in Family::ALL {
        for bytes in SIZES {
            shape = shape.with(format!("{family}, {bytes} bytes"), move |ask| {
                if bytes <= ask.mtu + 14 { vec![ask.frame_of(family, bytes)] } else { Vec::new() }
            });
        }
    }
    shape
}

fn bare_syn(ask: &Ask, family: Family) -> Vec<u8> {
    let syn = |from: IpAddr, to: IpAddr| segment(Protocol::Tcp, (from, ask.source_port()), (to, ask.port), &[]);
    match family {
        Family::V4 => to_node4(V4 { payload: syn(OUTSIDER.into(), NODE.into()), ..ask.v4() }.bytes()),
        Family::V6 => to_node6(V6 { payload: syn(OUTSIDER6.into(), NODE6.into()), ..ask.v6() }.bytes()),
    }
}

/// Padding behind what is not the commonest of packets.
fn padded_dressed() -> Shape {
    Shape::new("padding behind options, extension headers, tags, fragments")
        .required()
        .each(&[1_usize, 18, 300], |n, ask| {
            [to_node4(V4 { options: vec![1; 8], ..ask.v4() }.bytes()), vec![0x55; *n]].concat()
        })
        .each(&[1_usize, 18, 300], |n, ask| {
            [to_node6(V6 { chain: vec![options(60)], ..ask.v6() }.bytes()), vec![0x55; *n]].concat()
        })
        .each(&[1_usize, 18, 300], |n, ask| {
            [tagged(&ask.frame(Family::V4), &[(S, 0), (C, 0)]), vec![0x55; *n]].concat()
        })
        .with("short fragments", |ask| {
            let packet = ask.v4();
            let (first, rest) = packet.payload.split_at(8);
            let pieces = packet.fragments(&[(0, first, true), (8, rest, false)]);
            pieces.into_iter().map(|piece| [to_node4(piece), vec![0; 18]].concat()).collect()
        })
}

fn to_mac(ask: &Ask, family: Family, mac: [u8; 6]) -> Vec<u8> {
    let (ethertype, packet) = ask.packet(family);
    ethernet(mac, OUTSIDER_MAC, ethertype, &packet)
}

fn behind_offload(ask: &Ask, family: Family, stack: &[(u16, u16)]) -> Vec<u8> {
    tagged(&ask.frame(family), stack)
}

pub(crate) fn shapes(devices: &[Device]) -> Vec<Shape> {
    let stacked = |kind: u16| (2..=8).map(|n| vec![(kind, 0); n]).collect::<Vec<_>>();
    let mixed = vec![
        vec![(S, 0), (C, 0)],
        vec![(C, 0), (S, 0)],
        vec![(S, 0), (S, 0), (C, 0)],
        vec![(C, 0x6000)],
        vec![(C, 0x1000)],
    ];
    let many: Vec<_> = [9, 10, 16, 200].into_iter().map(|n| vec![(C, 0); n]).chain([vec![(S, 0); 9]]).collect();
    let numbered = vec![vec![(C, 99)], vec![(S, 99)], vec![(C, 4095)], vec![(C, 0), (C, 99)], vec![(C, 99), (C, 0)]];
    let bridged = [vec![(C, 0)], vec![(S, 0)], vec![(C, 0); 2], vec![(S, 0), (C, 0)], vec![(C, 0); 3], vec![(C, 0); 8]];
    let macs = [
        [0xff; 6],
        [1, 0, 0x5e, 0, 0, 1],
        [0x33, 0x33, 0, 0, 0, 1],
        [1, 0x80, 0xc2, 0, 0, 0],
        [2, 0, 0, 0x77, 0, 0x50],
    ];
    let mut over_bridge =
        Shape::new("VLAN 0 tags over a bridge (the outermost beside the frame, with offload)").via(Via::Bridge);
    let mut wrong_macs = Shape::new("to a broadcast, multicast or foreign MAC");
    let mut padded = Shape::new("padding behind the packet").required();
    for family in Family::ALL {
        over_bridge = over_bridge.each(&bridged, move |stack, ask| behind_offload(ask, family, stack));
        wrong_macs = wrong_macs.each(&macs, move |mac, ask| to_mac(ask, family, *mac));
        padded =
            padded.each(&[1_usize, 2, 7, 18, 100, 1000], move |n, ask| [ask.frame(family), vec![0x55; *n]].concat());
    }
    let mut bare = Shape::new("a SYN without data").required();
    for family in Family::ALL {
        bare = bare.with(family.to_string(), move |ask| match ask.protocol {
            Protocol::Tcp => vec![bare_syn(ask, family)],
            Protocol::Udp => Vec::new(),
        });
    }
    let mut all = vec![
        both("plain", |ask: &Ask, family| ask.frame(family)).required(),
        both("plain, over a bridge", |ask: &Ask, family| ask.frame(family)).via(Via::Bridge).required(),
        bare,
        sizes(),
        padded,
        padded_dressed(),
        wrong_macs.required(),
        both("the other family's EtherType", |ask: &Ask, family| {
            let (ethertype, packet) = ask.packet(family);
            ethernet(NODE_MAC, OUTSIDER_MAC, if ethertype == IPV4 { IPV6 } else { IPV4 }, &packet)
        }),
        tags(Shape::new("a VLAN 0 tag"), &[vec![(C, 0)], vec![(S, 0)], vec![(C, 0xe000)]]).required(),
        tags(Shape::new("2 to 8 VLAN 0 tags, 802.1Q"), &stacked(C)).required(),
        tags(Shape::new("2 to 8 VLAN 0 tags, 802.1ad"), &stacked(S)).required(),
        tags(Shape::new("mixed VLAN 0 tags"), &mixed).required(),
        tags(Shape::new("9 to 200 VLAN 0 tags"), &many)
            .required_up_to((6, 18), "Linux 7.3 delivers no more than 8 tags")
            .dropped("too_many_vlan_tags"),
        tags(Shape::new("tags of a VLAN without a device"), &numbered),
        over_bridge.required(),
    ];
    let vlan = devices.iter().find(|d| d.kind == "vlan");
    let mut shape = tags(Shape::new("tag of a VLAN with a device"), &[vec![(C, 7)], vec![(C, 0), (C, 7)]]);
    shape.skipped = vlan.and_then(|d| d.missing.clone());
    all.push(if shape.skipped.is_none() { shape.required() } else { shape });
    all
}
