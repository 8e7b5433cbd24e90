//! IPv4 in one piece: options, lengths and checksums that lie, sources and destinations that are odd.

use std::net::Ipv4Addr;

use nodewall_testbed::Protocol;

use super::Shape;
use crate::ask::{NODE_MAC, OUTSIDER_MAC};
use crate::{
    ask::{Ask, NODE, NODE_SECOND, OUTSIDER, to_node4},
    wire::{V4, ethernet},
};

/// The ordinary packet, changed.
fn changed(
    change: impl Fn(&mut V4) + Clone + Send + Sync + 'static,
) -> impl Fn(&Ask) -> Vec<u8> + Clone + Send + Sync + 'static {
    move |ask| {
        let mut packet = ask.v4();
        change(&mut packet);
        to_node4(packet.bytes())
    }
}

/// A UDP datagram whose header says another length, behind it bytes that it does not own up to.
fn udp_length(ask: &Ask, said: usize) -> Vec<u8> {
    let mut packet = ask.v4();
    packet.payload.extend([0x55; 16]);
    packet.payload[4..6].copy_from_slice(&(said as u16).to_be_bytes());
    // No checksum is a right one.
    packet.payload[6..8].copy_from_slice(&[0, 0]);
    to_node4(packet.bytes())
}

fn options() -> Shape {
    let lengths: Vec<usize> = (1..=10).map(|words| words * 4).collect();
    Shape::new("options of every length")
        .required()
        .each(&lengths, |bytes, ask| to_node4(V4 { options: vec![1; *bytes], ..ask.v4() }.bytes()))
}

fn kinds_of_options() -> Shape {
    let [a, b, c, d] = NODE_SECOND.octets();
    let [e, f, g, h] = OUTSIDER.octets();
    let kinds: [(&str, Vec<u8>); 9] = [
        ("router alert", vec![0x94, 4, 0, 0]),
        ("record route", vec![7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("timestamp", vec![0x44, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("source route, at its end", vec![0x83, 7, 8, e, f, g, h]),
        ("strict source route, at its end", vec![0x89, 7, 8, e, f, g, h]),
        ("source route over the node itself", vec![0x83, 7, 4, a, b, c, d]),
        ("security", vec![0x82, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("unknown", vec![0x1e, 4, 0, 0]),
        ("end of options, then noise", vec![0, 0xff, 0xff, 0xff]),
    ];
    let shape = Shape::new("options of every kind").required();
    kinds.into_iter().fold(shape, |shape, (label, options)| {
        shape.one(label, move |ask| to_node4(V4 { options: options.clone(), ..ask.v4() }.bytes()))
    })
}

fn lengths() -> Vec<Shape> {
    let beyond = Shape::new("IPv4 total length longer than the frame").each(&[1_usize, 8, 100], |n, ask| {
        to_node4(V4 { total_bytes: Some(ask.v4().bytes().len() + n), ..ask.v4() }.bytes())
    });
    let short = Shape::new("IPv4 total length shorter than the packet")
        .each(&[0_usize, 1, 19, 20, 23, 24, 27, 28], |n, ask| {
            to_node4(V4 { total_bytes: Some(*n), ..ask.v4() }.bytes())
        });
    let ihl = Shape::new("IPv4 header length that lies")
        .each(&[0_u8, 1, 4, 6, 7, 8, 15], |n, ask| to_node4(V4 { ihl: Some(*n), ..ask.v4() }.bytes()));
    let udp = [0_usize, 7, 8, 16, 31, 32, 33, 48, 49, 1000, 65_535].into_iter().fold(
        Shape::new("IPv4, UDP length that lies").required(),
        |shape, said| {
            shape.with(format!("{said}"), move |ask| match ask.protocol {
                Protocol::Udp => vec![udp_length(ask, said)],
                Protocol::Tcp => Vec::new(),
            })
        },
    );
    vec![beyond, short, ihl, udp]
}

fn sources() -> Vec<Shape> {
    let from = |shape: Shape, sources: &[&str]| {
        let sources: Vec<Ipv4Addr> = sources.iter().map(|text| text.parse().unwrap()).collect();
        shape.each(&sources, |source, ask| to_node4(ask.v4_between(*source, NODE).bytes()))
    };
    vec![
        from(
            Shape::new("IPv4 from other networks").required(),
            &["203.0.113.5", "8.8.8.8", "10.77.0.98", "169.254.1.1", "240.0.0.1"],
        ),
        from(Shape::new("IPv4 from the node's own address").required(), &["10.77.0.1", "10.77.0.2"]),
        from(Shape::new("IPv4 from loopback").required(), &["127.0.0.1", "127.9.9.9"]),
        from(
            Shape::new("IPv4 from multicast, broadcast, nowhere").required(),
            &["224.0.0.1", "239.1.1.1", "255.255.255.255", "0.0.0.0", "0.0.0.9", "10.77.0.255", "10.77.0.0"],
        ),
    ]
}

fn destinations() -> Vec<Shape> {
    let to = |shape: Shape, targets: &[(&str, [u8; 6])]| {
        let targets: Vec<(Ipv4Addr, [u8; 6])> = targets.iter().map(|(ip, mac)| (ip.parse().unwrap(), *mac)).collect();
        shape.each(&targets, |(ip, mac), ask| {
            ethernet(*mac, OUTSIDER_MAC, 0x0800, &ask.v4_between(OUTSIDER, *ip).bytes())
        })
    };
    let (all, group) = ([0xff; 6], [1, 0, 0x5e, 0, 0, 1]);
    vec![
        to(
            Shape::new("to IPv4 broadcast").required(),
            &[
                ("255.255.255.255", all),
                ("10.77.0.255", all),
                ("255.255.255.255", NODE_MAC),
                ("10.77.0.255", NODE_MAC),
                ("10.77.0.0", all),
            ],
        ),
        to(Shape::new("to 224.0.0.1").required(), &[("224.0.0.1", group), ("224.0.0.1", NODE_MAC), ("224.0.0.1", all)]),
        to(Shape::new("to another address of the node's").required(), &[("10.77.0.2", NODE_MAC)]),
        to(
            Shape::new("to IPv4 loopback").required(),
            &[("127.0.0.1", NODE_MAC), ("127.1.2.3", NODE_MAC), ("0.0.0.0", NODE_MAC)],
        ),
    ]
}

pub(crate) fn shapes() -> Vec<Shape> {
    let marked = Shape::new("IPv4 header fields without meaning here")
        .required()
        .one("TOS 0xff", changed(|p| p.tos = 0xff))
        .one("TTL 0", changed(|p| p.ttl = 0))
        .one("TTL 1", changed(|p| p.ttl = 1))
        .one("do not fragment", changed(|p| p.fragment = 0x4000))
        .one("the reserved flag", changed(|p| p.fragment = 0x8000))
        .one("all flags but more", changed(|p| p.fragment = 0xc000));
    let checksums = Shape::new("IPv4, wrong checksums")
        .one("header", changed(|p| p.checksum_error = 1))
        .one("segment", changed(|p| p.payload.iter_mut().last().map_or((), |byte| *byte ^= 1)));
    let unchecked = Shape::new("IPv4, UDP without a checksum").required().with("zero", |ask| match ask.protocol {
        Protocol::Udp => {
            let mut packet = ask.v4();
            packet.payload[6..8].copy_from_slice(&[0, 0]);
            vec![to_node4(packet.bytes())]
        }
        Protocol::Tcp => Vec::new(),
    });
    let versions = Shape::new("IPv4, version that lies")
        .each(&[0_u8, 5, 6, 15], |v, ask| to_node4(V4 { version: *v, ..ask.v4() }.bytes()));
    [
        vec![options(), kinds_of_options()],
        lengths(),
        vec![marked, checksums, unchecked, versions],
        sources(),
        destinations(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
