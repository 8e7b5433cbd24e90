//! Fragments of both families: in order and out of it, tiny, overlapping, alone.

use std::net::{IpAddr, Ipv4Addr};

use super::Shape;
use crate::{
    ask::{Ask, NODE, NODE6, OUTSIDER, OUTSIDER6, to_node4, to_node6},
    wire::{V4, V6, fragment, options, segment},
};

type Pieces<'a> = Vec<(usize, &'a [u8], bool)>;
/// How a segment is cut.
type Cut = for<'a> fn(&'a [u8]) -> Pieces<'a>;

fn halves(whole: &[u8]) -> Pieces<'_> {
    vec![(0, &whole[..24], true), (24, &whole[24..], false)]
}

fn first_of_8(whole: &[u8]) -> Pieces<'_> {
    vec![(0, &whole[..8], true), (8, &whole[8..], false)]
}

fn all_of_8(whole: &[u8]) -> Pieces<'_> {
    let count = whole.len().div_ceil(8);
    whole.chunks(8).enumerate().map(|(n, piece)| (n * 8, piece, n + 1 < count)).collect()
}

fn backwards(whole: &[u8]) -> Pieces<'_> {
    let mut pieces = all_of_8(whole);
    pieces.reverse();
    pieces
}

fn last_first(whole: &[u8]) -> Pieces<'_> {
    vec![(24, &whole[24..], false), (0, &whole[..24], true)]
}

fn repeated(whole: &[u8]) -> Pieces<'_> {
    vec![(0, &whole[..24], true), (0, &whole[..24], true), (24, &whole[24..], false)]
}

fn overlapping(whole: &[u8]) -> Pieces<'_> {
    vec![(0, &whole[..24], true), (16, &whole[16..], false)]
}

fn overlapping_by_8(whole: &[u8]) -> Pieces<'_> {
    vec![(0, &whole[..16], true), (8, &whole[8..24], true), (24, &whole[24..], false)]
}

fn contained(whole: &[u8]) -> Pieces<'_> {
    vec![(0, &whole[..24], true), (8, &whole[8..16], true), (24, &whole[24..], false)]
}

fn with_an_empty_one(whole: &[u8]) -> Pieces<'_> {
    vec![(0, &whole[..24], true), (24, &[], true), (24, &whole[24..], false)]
}

fn without_ports(whole: &[u8]) -> Pieces<'_> {
    vec![(0, &whole[..4], true), (8, &whole[8..], false), (4, &whole[4..8], true)]
}

fn never_ending(whole: &[u8]) -> Pieces<'_> {
    vec![(0, &whole[..whole.len() & !7], true)]
}

fn only_later(whole: &[u8]) -> Pieces<'_> {
    vec![(8, &whole[8..], false)]
}

fn later_as_if_first(whole: &[u8]) -> Pieces<'_> {
    vec![(8, whole, false)]
}

const IN_ORDER: [(&str, Cut); 3] =
    [("two", halves), ("the first of 8 bytes", first_of_8), ("all of 8 bytes", all_of_8)];
const OUT_OF_ORDER: [(&str, Cut); 2] = [("two", last_first), ("all of 8 bytes", backwards)];
const OVERLAPS: [(&str, Cut); 5] = [
    ("the first twice", repeated),
    ("over the first's end", overlapping),
    ("by 8 bytes", overlapping_by_8),
    ("one within another", contained),
    ("one empty", with_an_empty_one),
];
const INCOMPLETE: [(&str, Cut); 4] = [
    ("4 bytes first", without_ports),
    ("never ending", never_ending),
    ("only a later one", only_later),
    ("a whole datagram as a later one", later_as_if_first),
];

fn cut4(ask: &Ask, options: &[u8], cut: Cut) -> Vec<Vec<u8>> {
    let packet = ask.v4();
    let packet = V4 { options: options.to_vec(), ..packet.clone() };
    packet.fragments(&cut(&packet.payload)).into_iter().map(to_node4).collect()
}

fn cut6(ask: &Ask, headers: usize, cut: Cut) -> Vec<Vec<u8>> {
    let packet = V6 { chain: vec![options(60); headers], ..ask.v6() };
    packet.fragments(ask.id + 1, &cut(&packet.payload)).into_iter().map(to_node6).collect()
}

fn cuts(name: &'static str, table: &[(&'static str, Cut)], dress: fn(&Ask, Cut) -> Vec<Vec<u8>>) -> Shape {
    table.iter().fold(Shape::new(name), |shape, (label, cut)| {
        let cut = *cut;
        shape.with(*label, move |ask| dress(ask, cut))
    })
}

/// A first fragment to 443, and one that would write the asked port over it, before or after.
fn rewriting(ask: &Ask, first: bool, at: usize) -> Vec<Vec<u8>> {
    let harmless = segment(ask.protocol, (OUTSIDER.into(), ask.source_port()), (NODE.into(), 443), &ask.payload(24));
    let packet = V4 { payload: harmless.clone(), ..ask.v4() };
    let wanted = ask.v4().payload;
    let mut pieces =
        vec![(0, &harmless[..24], true), (at, &wanted[at..24.max(at + 8)], true), (24, &wanted[24..], false)];
    if first {
        pieces.swap(0, 1);
    }
    packet.fragments(&pieces).into_iter().map(to_node4).collect()
}

/// The fragment header of the first piece is followed by another extension header, and the ports come in the second piece.
fn ports_in_the_second(ask: &Ask, headers: usize) -> Vec<Vec<u8>> {
    let inner = V6 { chain: vec![options(60); headers], ..ask.v6() }.bytes()[40..].to_vec();
    let packet = V6 { next: 60, payload: Vec::new(), ..ask.v6() };
    let at = headers * 8;
    packet
        .fragments(ask.id + 1, &[(0, &inner[..at], true), (at, &inner[at..], false)])
        .into_iter()
        .map(to_node6)
        .collect()
}

/// Fragments of IPv6 that would write another port over an open one's: no stack may put overlapping ones together (RFC 5722).
fn rewriting6(ask: &Ask, first: bool) -> Vec<Vec<u8>> {
    let harmless = segment(ask.protocol, (OUTSIDER6.into(), ask.source_port()), (NODE6.into(), 443), &ask.payload(24));
    let wanted = ask.v6().payload;
    let mut pieces = vec![(0, &harmless[..24], true), (0, &wanted[..24], true), (24, &wanted[24..], false)];
    if first {
        pieces.swap(0, 1);
    }
    ask.v6().fragments(ask.id + 1, &pieces).into_iter().map(to_node6).collect()
}

/// Fragments whose payload, put together, is a fragment again: whole, or one of two.
fn nested(ask: &Ask, inner: Cut, outer: Cut) -> Vec<Vec<u8>> {
    let packet = ask.v6();
    let mut frames = Vec::new();
    for (n, (at, piece, more)) in (1..).zip(inner(&packet.payload)) {
        let within = [&[packet.next][..], &fragment(at, more, ask.id + 1).rest, piece].concat();
        let outside = V6 { next: 44, payload: Vec::new(), ..packet.clone() };
        let id = (ask.id + 1).wrapping_add(n << 20);
        frames.extend(outside.fragments(id, &outer(&within)).into_iter().map(to_node6));
    }
    frames
}

fn middle(bytes: &[u8]) -> Pieces<'_> {
    let at = (bytes.len() / 2).next_multiple_of(8);
    vec![(0, &bytes[..at], true), (at, &bytes[at..], false)]
}

fn whole(bytes: &[u8]) -> Pieces<'_> {
    vec![(0, bytes, false)]
}

/// Two datagrams under one identification, from two senders: the receiver must keep them apart.
fn of_two_senders(ask: &Ask) -> Vec<Vec<u8>> {
    let other = Ipv4Addr::new(10, 77, 0, 98);
    let (one, two) = (ask.v4(), ask.v4_between(other, NODE));
    let [mut one_pieces, mut two_pieces] = [&one, &two]
        .map(|packet| packet.fragments(&halves(&packet.payload)).into_iter().map(to_node4).collect::<Vec<_>>());
    vec![one_pieces.remove(0), two_pieces.remove(0), two_pieces.remove(0), one_pieces.remove(0)]
}

/// As large as the wire takes, in three pieces.
fn large(ask: &Ask) -> Vec<Vec<u8>> {
    let (from, to): (IpAddr, IpAddr) = (OUTSIDER.into(), NODE.into());
    let whole = ask.segment_of(from, to, 2 * ask.mtu);
    let at = (ask.mtu - 20) & !7;
    let packet = V4 { payload: whole.clone(), ..ask.v4() };
    packet
        .fragments(&[(0, &whole[..at], true), (at, &whole[at..2 * at], true), (2 * at, &whole[2 * at..], false)])
        .into_iter()
        .map(to_node4)
        .collect()
}

fn large6(ask: &Ask) -> Vec<Vec<u8>> {
    let whole = ask.segment_of(OUTSIDER6.into(), NODE6.into(), 2 * ask.mtu);
    let at = (ask.mtu - 48) & !7;
    let packet = V6 { payload: whole.clone(), ..ask.v6() };
    packet
        .fragments(
            ask.id + 1,
            &[(0, &whole[..at], true), (at, &whole[at..2 * at], true), (2 * at, &whole[2 * at..], false)],
        )
        .into_iter()
        .map(to_node6)
        .collect()
}

pub(crate) fn shapes() -> Vec<Shape> {
    let atomic = (1..=7).fold(Shape::new("IPv6 atomic fragments, 1 to 7 headers").required(), |shape, count| {
        shape.one(format!("{count}"), move |ask| {
            to_node6(V6 { chain: vec![fragment(0, false, ask.id + 1); count], ..ask.v6() }.bytes())
        })
    });
    vec![
        cuts("IPv4 fragments in order", &IN_ORDER, |ask, cut| cut4(ask, &[], cut)).required(),
        cuts("IPv4 fragments with options", &IN_ORDER, |ask, cut| cut4(ask, &[1; 40], cut)).required(),
        cuts("IPv4 fragments out of order", &OUT_OF_ORDER, |ask, cut| cut4(ask, &[], cut)).required(),
        cuts("IPv4 fragments that overlap", &OVERLAPS, |ask, cut| cut4(ask, &[], cut)).required(),
        cuts("IPv4 fragments that are no whole", &INCOMPLETE, |ask, cut| cut4(ask, &[], cut)),
        Shape::new("IPv4 fragments that would rewrite the port")
            .required()
            .with("after the first, at 0", |ask| rewriting(ask, false, 0))
            .with("before the first, at 0", |ask| rewriting(ask, true, 0))
            .with("after the first, at 8", |ask| rewriting(ask, false, 8)),
        Shape::new("IPv4 fragments of two senders").required().with("interleaved", of_two_senders),
        Shape::new("fragments of the MTU's size").required().with("IPv4", large).with("IPv6", large6),
        cuts("IPv6 fragments in order", &IN_ORDER, |ask, cut| cut6(ask, 0, cut)).required(),
        cuts("IPv6 fragments behind options", &IN_ORDER, |ask, cut| cut6(ask, 2, cut)).required(),
        cuts("IPv6 fragments out of order", &OUT_OF_ORDER, |ask, cut| cut6(ask, 0, cut)).required(),
        cuts("IPv6 fragments that overlap", &OVERLAPS, |ask, cut| cut6(ask, 0, cut)).required(),
        cuts("IPv6 fragments that are no whole", &INCOMPLETE, |ask, cut| cut6(ask, 0, cut)),
        (1..=3).fold(Shape::new("IPv6, ports not in the first fragment").dropped("no_ports"), |shape, headers| {
            shape.with(format!("{headers}"), move |ask| ports_in_the_second(ask, headers))
        }),
        atomic,
        Shape::new("IPv6 fragments that would rewrite the port")
            .with("after the first", |ask| rewriting6(ask, false))
            .with("before the first", |ask| rewriting6(ask, true)),
        Shape::new("IPv6 fragments within fragments")
            .with("one in two", |ask| nested(ask, whole, middle))
            .with("one in pieces of 8 bytes", |ask| nested(ask, whole, all_of_8))
            .with("two in one each", |ask| nested(ask, halves, whole))
            .with("two in two each", |ask| nested(ask, halves, middle))
            .with("two in two each, the last first", |ask| nested(ask, last_first, middle))
            .with("two in pieces of 8 bytes", |ask| nested(ask, halves, all_of_8)),
    ]
}
