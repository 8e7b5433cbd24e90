//! IPv6 headers in combination: every pair of extension headers, segment routes with all that they may hold, jumbo options where they do not belong.

use std::net::Ipv6Addr;

use super::Shape;
use crate::{
    ask::{Ask, NODE6, NODE6_SECOND, OUTSIDER6, to_node6},
    wire::{Extension, V6, authentication, fragment, long_options, options, routing},
};

fn chained(ask: &Ask, chain: Vec<Extension>) -> Vec<u8> {
    to_node6(V6 { chain, ..ask.v6() }.bytes())
}

/// Every header that may come before another, by name; the fragment header has the ask's identification.
fn header(number: u8, ask: &Ask) -> Extension {
    match number {
        43 => routing(4, 0, &[NODE6]),
        44 => fragment(0, false, ask.id + 1),
        51 => authentication(0),
        // ESP in clear, and the end of a chain that goes on.
        50 | 59 => Extension { number, ..options(60) },
        _ => Extension { number, ..options(0) },
    }
}

fn pairs() -> Shape {
    const HEADERS: [u8; 12] = [0, 43, 44, 50, 51, 59, 60, 135, 139, 140, 253, 254];
    let mut shape = Shape::new("every pair of IPv6 extension headers");
    for first in HEADERS {
        for second in HEADERS {
            shape = shape.one(format!("{first}, {second}"), move |ask| {
                chained(ask, vec![header(first, ask), header(second, ask)])
            });
        }
    }
    shape.required()
}

/// A segment routing header (RFC 8754) with these numbers and TLVs, for a packet that has arrived.
fn segments(left: u8, last: u8, flags: u8, addresses: &[Ipv6Addr], tlvs: &[u8]) -> Extension {
    let mut rest = vec![((addresses.len() * 16 + tlvs.len()) / 8) as u8, 4, left, last, flags, 0, 0];
    rest.extend(addresses.iter().flat_map(Ipv6Addr::octets));
    rest.extend(tlvs);
    Extension { number: 43, rest }
}

fn segment_routes() -> Shape {
    let one = [NODE6];
    let padding: &'static [u8] = &[4, 6, 0, 0, 0, 0, 0, 0];
    let key: &'static [u8] = &[5, 38, 0, 0, 0, 0, 0, 1];
    Shape::new("segment routes with all that they may hold")
        .one("padding", move |ask| chained(ask, vec![segments(0, 0, 0, &one, padding)]))
        .one("a keyed hash", move |ask| chained(ask, vec![segments(0, 0, 0x08, &one, &[key, &[0; 32]].concat())]))
        .one("flags", move |ask| chained(ask, vec![segments(0, 0, 0xff, &one, &[])]))
        .one("the last one lies", move |ask| chained(ask, vec![segments(0, 9, 0, &one, &[])]))
        .one("more left than there are", move |ask| chained(ask, vec![segments(9, 0, 0, &one, &[])]))
        .one("no address", |ask| chained(ask, vec![segments(0, 0, 0, &[], &[])]))
        .one("two routes", move |ask| chained(ask, vec![segments(0, 0, 0, &one, &[]), segments(0, 0, 0, &one, &[])]))
        .one("a route to the node, then one that is done", move |ask| {
            let packet = ask.v6_between(OUTSIDER6, NODE6_SECOND);
            let chain = vec![routing(4, 1, &[NODE6_SECOND, NODE6]), segments(0, 0, 0, &one, padding)];
            to_node6(V6 { to: NODE6, chain, ..packet }.bytes())
        })
        .one("a route to the node, reduced", |ask| {
            // RFC 8754 section 4.1.1: the first segment is not in the list.
            let packet = ask.v6_between(OUTSIDER6, NODE6_SECOND);
            to_node6(V6 { to: NODE6, chain: vec![segments(1, 0, 0, &[NODE6_SECOND], &[])], ..packet }.bytes())
        })
        .required()
}

/// What Linux unpacks without any device, where segment routes are on (`seg6_enabled`).
fn routed_tunnel() -> Shape {
    Shape::new("a packet within a segment route")
        .dropped("tunnel_outsider")
        .one("IPv6", |ask| {
            let outer = V6::new(OUTSIDER6, NODE6, 41, ask.v6().bytes());
            to_node6(V6 { chain: vec![routing(4, 0, &[NODE6])], ..outer }.bytes())
        })
        .one("IPv4", |ask| {
            let outer = V6::new(OUTSIDER6, NODE6, 4, ask.v4().bytes());
            to_node6(V6 { chain: vec![routing(4, 0, &[NODE6])], ..outer }.bytes())
        })
}

fn jumbo(number: u8, said: u32) -> Extension {
    Extension { number, rest: [&[0, 0xc2, 4][..], &said.to_be_bytes()].concat() }
}

fn jumbo_options() -> Shape {
    Shape::new("jumbo options where they do not belong")
        .each(&[0_u32, 40, 65_536], |said, ask| chained(ask, vec![jumbo(0, *said)]))
        .each(&[40_u32, 65_536], |said, ask| chained(ask, vec![jumbo(60, *said)]))
        .one("twice", |ask| {
            let twice =
                Extension { number: 0, rest: [&[1][..], &[0xc2, 4, 0, 1, 0, 0, 0xc2, 4, 0, 1, 0, 0, 1, 0]].concat() };
            to_node6(V6 { chain: vec![twice], payload_bytes: Some(0), ..ask.v6() }.bytes())
        })
        .one("and a fragment", |ask| {
            let chain = vec![jumbo(0, 65_536), fragment(0, false, ask.id + 1)];
            to_node6(V6 { chain, payload_bytes: Some(0), ..ask.v6() }.bytes())
        })
        .one("behind long options", |ask| {
            to_node6(
                V6 { chain: vec![long_options(0, 7), jumbo(60, 70_000)], payload_bytes: Some(0), ..ask.v6() }.bytes(),
            )
        })
}

pub(crate) fn shapes() -> Vec<Shape> {
    vec![pairs(), segment_routes(), routed_tunnel(), jumbo_options()]
}
