//! IPv6 in one piece: chains of extension headers, lengths that lie, sources and destinations that are odd.

use std::net::Ipv6Addr;

use nodewall_testbed::Protocol;

use super::Shape;
use crate::{
    ask::{Ask, NODE_MAC, NODE6, NODE6_SECOND, OUTSIDER_MAC, OUTSIDER6, to_node6},
    wire::{Extension, V6, authentication, ethernet, fragment, long_options, options, routing},
};

fn chained(ask: &Ask, chain: Vec<Extension>) -> Vec<u8> {
    to_node6(V6 { chain, ..ask.v6() }.bytes())
}

fn chains(shape: Shape, lengths: &[usize]) -> Shape {
    shape
        .each(lengths, |n, ask| chained(ask, vec![options(60); *n]))
        .each(lengths, |n, ask| {
            let mut chain = vec![options(60); *n];
            chain[0] = options(0);
            chained(ask, chain)
        })
        .each(lengths, |n, ask| chained(ask, vec![fragment(0, false, ask.id + 1); *n]))
        .each(lengths, |n, ask| {
            let kinds = [options(60), fragment(0, false, ask.id + 1), routing(4, 0, &[NODE6])];
            chained(ask, kinds.into_iter().cycle().take(*n).collect())
        })
}

fn single_headers() -> Shape {
    Shape::new("each IPv6 extension header alone")
        .one("hop-by-hop options", |ask| chained(ask, vec![options(0)]))
        .one("destination options", |ask| chained(ask, vec![options(60)]))
        .one("fragment, atomic", |ask| chained(ask, vec![fragment(0, false, ask.id + 1)]))
        .one("authentication", |ask| chained(ask, vec![authentication(0)]))
        .one("authentication, long", |ask| chained(ask, vec![authentication(4)]))
        .one("mobility", |ask| chained(ask, vec![Extension { number: 135, ..options(60) }]))
        .one("host identity", |ask| chained(ask, vec![Extension { number: 139, ..options(60) }]))
        .one("shim6", |ask| chained(ask, vec![Extension { number: 140, ..options(60) }]))
        .one("experimental", |ask| chained(ask, vec![Extension { number: 253, ..options(60) }]))
        .required()
}

fn routes() -> Shape {
    let (through, spent): (Vec<Ipv6Addr>, Vec<Ipv6Addr>) = (vec![NODE6_SECOND], vec![OUTSIDER6]);
    let mut shape = Shape::new("IPv6 routing headers").required();
    for kind in [0, 2, 3, 4, 5, 253] {
        for (label, left, addresses) in
            [("done", 0, &spent), ("one hop left, to the node", 1, &through), ("empty", 0, &vec![])]
        {
            let addresses = addresses.clone();
            shape = shape
                .one(format!("type {kind}, {label}"), move |ask| chained(ask, vec![routing(kind, left, &addresses)]));
        }
    }
    shape
        .one("a segment route, node by node", |ask| {
            // The last segment is the final destination: the segment's checksum covers it.
            let packet = ask.v6_between(OUTSIDER6, NODE6_SECOND);
            to_node6(V6 { to: NODE6, chain: vec![routing(4, 1, &[NODE6_SECOND, NODE6])], ..packet }.bytes())
        })
        .one("a segment route, behind options", |ask| {
            let packet = ask.v6_between(OUTSIDER6, NODE6_SECOND);
            to_node6(
                V6 { to: NODE6, chain: vec![options(0), routing(4, 1, &[NODE6_SECOND, NODE6]), options(60)], ..packet }
                    .bytes(),
            )
        })
}

/// So long that the ports lie behind what the first buffer holds.
fn long_chains() -> Shape {
    let mut shape = Shape::new("long IPv6 headers in front of the ports").required();
    for (units, count) in
        [(1_u8, 1), (7, 2), (31, 1), (31, 8), (127, 1), (127, 4), (127, 7), (255, 1), (255, 2), (255, 3), (255, 4)]
    {
        shape = shape.with(format!("{count} of {} bytes", 8 + u16::from(units) * 8), move |ask| {
            let frame = chained(ask, vec![long_options(60, units); count]);
            if frame.len() <= ask.mtu + 14 { vec![frame] } else { Vec::new() }
        });
    }
    shape
}

fn udp_only(shape: Shape, label: String, dress: impl Fn(&Ask) -> Vec<u8> + Send + Sync + 'static) -> Shape {
    shape.with(label, move |ask| if ask.protocol == Protocol::Udp { vec![dress(ask)] } else { Vec::new() })
}

fn lengths() -> Vec<Shape> {
    let beyond = Shape::new("IPv6 payload length longer than the frame").each(&[1_usize, 8, 100], |n, ask| {
        to_node6(V6 { payload_bytes: Some(ask.v6().payload.len() + n), ..ask.v6() }.bytes())
    });
    let short = Shape::new("IPv6 payload length shorter than the packet")
        .each(&[0_usize, 1, 3, 4, 7, 8, 16], |n, ask| to_node6(V6 { payload_bytes: Some(*n), ..ask.v6() }.bytes()));
    let udp = [0_usize, 7, 8, 16, 31, 32, 33, 48, 49, 65_535].into_iter().fold(
        Shape::new("IPv6, UDP length that lies").required(),
        |shape, said| {
            udp_only(shape, format!("{said}"), move |ask| {
                let mut packet = ask.v6();
                packet.payload.extend([0x55; 16]);
                packet.payload[4..6].copy_from_slice(&(said as u16).to_be_bytes());
                packet.payload[6..8].copy_from_slice(&[0, 0]);
                to_node6(packet.bytes())
            })
        },
    );
    let jumbo =
        Shape::new("IPv6 jumbo payload option").each(&[0_u32, 32, 44, 48, 52, 65_535, 65_536, 70_000], |said, ask| {
            let rest = [&[0, 0xc2, 4][..], &said.to_be_bytes()].concat();
            to_node6(V6 { chain: vec![Extension { number: 0, rest }], payload_bytes: Some(0), ..ask.v6() }.bytes())
        });
    vec![beyond, short, udp, jumbo]
}

fn sources() -> Vec<Shape> {
    let from = |shape: Shape, sources: &[&str]| {
        let sources: Vec<Ipv6Addr> = sources.iter().map(|text| text.parse().unwrap()).collect();
        shape.each(&sources, |source, ask| to_node6(ask.v6_between(*source, NODE6).bytes()))
    };
    vec![
        from(
            Shape::new("IPv6 from other networks").required(),
            &[
                "2001:db8::5",
                "fd77::98",
                "fe80::66",
                "2002:a4d:d5a6::1",
                "64:ff9b::a4d:d5a6",
                "::a4d:d5a6",
                "::ffff:0:a4d:d5a6",
            ],
        ),
        from(Shape::new("IPv6 from the node's own address").required(), &["fd77::1", "fd77::2"]),
        from(Shape::new("IPv6 from a peer's IPv4 address, mapped").required(), &["::ffff:10.77.213.166"]),
        from(
            Shape::new("IPv6 from other mapped addresses").required(),
            &["::ffff:10.77.0.11", "::ffff:10.77.0.1", "::ffff:127.0.0.1"],
        ),
        from(Shape::new("IPv6 from loopback, multicast, nowhere").required(), &["::1", "::", "ff02::1", "ff05::99"]),
    ]
}

fn destinations() -> Shape {
    let groups = [
        ("ff02::1", [0x33, 0x33, 0, 0, 0, 1]),
        ("ff02::1", NODE_MAC),
        ("ff01::1", [0x33, 0x33, 0, 0, 0, 1]),
        ("ff02::1:ff00:1", [0x33, 0x33, 0xff, 0, 0, 1]),
        ("ff05::1", [0x33, 0x33, 0, 0, 0, 1]),
        ("::1", NODE_MAC),
        ("::ffff:10.77.0.1", NODE_MAC),
    ];
    let groups: Vec<(Ipv6Addr, [u8; 6])> = groups.iter().map(|(ip, mac)| (ip.parse().unwrap(), *mac)).collect();
    Shape::new("to IPv6 multicast and loopback")
        .required()
        .each(&groups, |(ip, mac), ask| ethernet(*mac, OUTSIDER_MAC, 0x86dd, &ask.v6_between(OUTSIDER6, *ip).bytes()))
}

pub(crate) fn shapes() -> Vec<Shape> {
    let changed = |shape: Shape, label: &str, change: fn(&mut V6)| {
        shape.one(label, move |ask| {
            let mut packet = ask.v6();
            change(&mut packet);
            to_node6(packet.bytes())
        })
    };
    let mut marked = Shape::new("IPv6 header fields without meaning here").required();
    marked = changed(marked, "class and flow", |p| p.class_flow = 0x0fff_ffff);
    marked = changed(marked, "hop limit 0", |p| p.hops = 0);
    marked = changed(marked, "hop limit 255", |p| p.hops = 255);
    let mut wrong = Shape::new("IPv6, wrong checksum, version, next header");
    wrong = changed(wrong, "checksum", |p| p.payload.iter_mut().last().map_or((), |byte| *byte ^= 1));
    wrong = changed(wrong, "version 4", |p| p.version = 4);
    wrong = changed(wrong, "version 7", |p| p.version = 7);
    wrong = changed(wrong, "no next header", |p| p.next = 59);
    wrong = changed(wrong, "UDP-Lite", |p| p.next = 136);
    let unchecked = udp_only(Shape::new("IPv6, UDP without a checksum").required(), "zero".into(), |ask| {
        let mut packet = ask.v6();
        packet.payload[6..8].copy_from_slice(&[0, 0]);
        to_node6(packet.bytes())
    });
    let few: Vec<usize> = (1..=8).collect();
    let many: Vec<usize> = vec![9, 10, 12, 16, 24, 32, 48, 60];
    let mut all = vec![
        single_headers(),
        chains(Shape::new("IPv6 chains of 1 to 8 headers").required(), &few),
        chains(Shape::new("IPv6 chains of 9 to 60 headers").required().dropped("extension_chain"), &many),
        routes(),
        long_chains(),
        marked,
        wrong,
        unchecked,
        destinations(),
    ];
    all.extend(lengths());
    all.extend(sources());
    all
}
