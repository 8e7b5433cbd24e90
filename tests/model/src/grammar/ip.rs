//! IP packets and what they carry. Lengths are right, or lie.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Aim, Dice};
use crate::generated::Features;

const TCP: u8 = 6;
const UDP: u8 = 17;
const FRAGMENT: u8 = 44;
const ICMPV6: u8 = 58;
const AUTHENTICATION: u8 = 51;
/// With a length in 8-byte units: hop-by-hop, routing, destination options, mobility, HIP, Shim6.
const USUAL_EXTENSIONS: [u8; 6] = [0, 43, 60, 135, 139, 140];

pub(super) fn v4(dice: &mut Dice<'_>, aim: &Aim, bytes: &mut Vec<u8>, features: &mut Features) {
    let protocol = protocol(dice);
    let body = body(dice, aim, protocol);
    let words = match dice.below(100) {
        0..70 => 5,
        70..90 => 5 + dice.below(11),
        _ => dice.below(16),
    };
    features.options = words > 5;
    let version: u8 = if dice.one_in(50) { dice.below(16) as u8 } else { 4 };
    let (offset, more) = fragment(dice, features);
    let true_bytes = words.max(5) * 4 + body.len();
    let total_bytes = length(dice, true_bytes, words * 4, features);
    let flags = if dice.one_in(4) { dice.pick(&[0x4000_u16, 0x8000, 0xc000]) } else { 0 };
    let source = source_v4(dice, aim);
    bytes.extend([version << 4 | words as u8, 0]);
    bytes.extend(total_bytes.to_be_bytes());
    bytes.extend([0x12, 0x34]);
    bytes.extend((flags | if more { 0x2000 } else { 0 } | offset).to_be_bytes());
    bytes.extend([64, protocol, 0, 0]);
    bytes.extend(source.octets());
    bytes.extend([10, 0, 0, 1]);
    let options = words.saturating_sub(5) * 4;
    bytes.extend(if dice.one_in(2) { vec![1; options] } else { dice.bytes(options) });
    bytes.extend(body);
}

pub(super) fn v6(dice: &mut Dice<'_>, aim: &Aim, bytes: &mut Vec<u8>, features: &mut Features) {
    let protocol = if dice.one_in(12) { ICMPV6 } else { protocol(dice) };
    let discovers = protocol == ICMPV6 && !dice.one_in(4);
    let hop_limit = if discovers && !dice.one_in(6) || dice.one_in(6) { 255 } else { dice.pick(&[64, 254, 0, 1]) };
    // In front of it there should be nothing.
    let mut packet = if discovers && !dice.one_in(6) { vec![protocol] } else { chain(dice, protocol, features) };
    let first = packet.remove(0);
    features.discovery = discovers && hop_limit == 255;
    packet.extend(if discovers { discovery(dice) } else { body(dice, aim, protocol) });
    let payload_bytes = length(dice, packet.len(), 8, features);
    let version: u8 = if dice.one_in(50) { dice.below(16) as u8 } else { 6 };
    let source = source_v6(dice, aim);
    bytes.extend([version << 4, 0, 0, 0]);
    bytes.extend(payload_bytes.to_be_bytes());
    bytes.extend([first, hop_limit]);
    bytes.extend(source.octets());
    bytes.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    bytes.extend(packet);
}

/// A chain of extension headers that ends in `protocol`; its first byte is the number of its first header.
fn chain(dice: &mut Dice<'_>, protocol: u8, features: &mut Features) -> Vec<u8> {
    let count = match dice.below(100) {
        0..45 => 0,
        45..60 => 1,
        60..66 => 7 + dice.below(4),
        _ => dice.below(11),
    };
    features.extensions = count;
    let mut out = Vec::new();
    let mut rests = Vec::new();
    // Some chains are of one kind of header throughout, some of headers so long that the ports lie in a buffer of their own.
    let long = dice.one_in(40);
    for _ in 0..count {
        let (number, rest) = match dice.below(10) {
            0 | 1 => (FRAGMENT, fragment_header(dice, features)),
            2 | 3 => (AUTHENTICATION, authentication_header(dice, features)),
            _ => (dice.pick(&USUAL_EXTENSIONS), usual_header(dice, long)),
        };
        out.push(number);
        rests.push(rest);
    }
    out.push(protocol);
    // Every header's number stands in front of what the header before it says about itself.
    let mut bytes = vec![out[0]];
    for (next, rest) in out[1..].iter().zip(rests) {
        bytes.push(*next);
        bytes.extend(rest);
    }
    bytes
}

/// A stated length that is right, or off by a little, beside the true one.
fn stated(dice: &mut Dice<'_>, units: usize) -> u8 {
    match dice.below(24) {
        0 => (units + 1) as u8,
        1 => units.saturating_sub(1) as u8,
        2 => dice.below(256) as u8,
        _ => units as u8,
    }
}

fn usual_header(dice: &mut Dice<'_>, long: bool) -> Vec<u8> {
    let units = match dice.below(20) {
        _ if long => 200 + dice.below(56),
        0..10 => 0,
        10..19 => dice.below(4),
        _ => dice.below(256),
    };
    let mut rest = vec![0; 7 + units * 8];
    rest[0] = stated(dice, units);
    rest[1] = 1;
    rest[2] = (rest.len() - 3).min(255) as u8;
    rest
}

fn authentication_header(dice: &mut Dice<'_>, features: &mut Features) -> Vec<u8> {
    features.authentication = true;
    let most = if dice.one_in(10) { 256 } else { 8 };
    let units = dice.below(most);
    let mut rest = vec![0; 7 + units * 4];
    rest[0] = stated(dice, units);
    rest
}

fn fragment_header(dice: &mut Dice<'_>, features: &mut Features) -> Vec<u8> {
    let (offset, more) = fragment(dice, features);
    features.atomic_fragment |= offset == 0 && !more;
    // Bits 1 and 2 are reserved: they are no part of the offset.
    let reserved = if dice.one_in(4) { dice.below(4) as u16 } else { 0 };
    let field = (offset << 3 | reserved << 1 | u16::from(more)).to_be_bytes();
    let length = if dice.one_in(4) { dice.below(256) as u8 } else { 0 };
    vec![length, field[0], field[1], 0, 0, 0, 9]
}

/// Offset in 8-byte units, and whether more follow.
fn fragment(dice: &mut Dice<'_>, features: &mut Features) -> (u16, bool) {
    let found = match dice.below(100) {
        0..60 => (0, false),
        60..80 => (0, true),
        80..88 => (1 << dice.below(13), dice.one_in(2)),
        88..92 => (0x1fff, dice.one_in(2)),
        92..96 => (1 + dice.below(0x1fff) as u16, dice.one_in(2)),
        _ => (0, dice.one_in(2)),
    };
    features.first_fragment |= found == (0, true);
    features.later_fragment |= found.0 > 0;
    found
}

/// A length field: mostly right, else near what is right, near what is least, zero, or anything.
fn length(dice: &mut Dice<'_>, right: usize, least: usize, features: &mut Features) -> u16 {
    let stated = match dice.below(40) {
        0 => right + 1 + dice.below(8),
        1 => right.saturating_sub(1 + dice.below(8)),
        2 => (least + dice.below(8)).saturating_sub(4),
        3 => dice.below(right + 1),
        4 => 0,
        5 if dice.one_in(2) => dice.below(65_536),
        _ => right,
    };
    features.lies |= stated != right;
    stated.min(65_535) as u16
}

fn protocol(dice: &mut Dice<'_>) -> u8 {
    let known = [
        0, 1, 2, 3, 4, 5, 7, 33, 41, 43, 44, 47, 50, 51, 55, 58, 59, 60, 89, 94, 97, 98, 103, 112, 115, 132, 135, 136,
        137, 139, 140, 253,
    ];
    match dice.below(100) {
        0..38 => TCP,
        38..76 => UDP,
        76..84 => dice.pick(&[4, 41, 47]),
        84..96 => dice.pick(&known),
        _ => dice.below(256) as u8,
    }
}

/// What stands behind the IP headers: mostly more than the ports, sometimes hardly them.
fn body(dice: &mut Dice<'_>, aim: &Aim, protocol: u8) -> Vec<u8> {
    let port = if dice.one_in(16) { dice.below(65_536) as u16 } else { dice.pick(&aim.ports) };
    // The source port is a policy port, too: nobody may trust it.
    let from = if dice.one_in(2) { 40_000 } else { dice.pick(&aim.ports) };
    let mut bytes = from.to_be_bytes().to_vec();
    bytes.extend(port.to_be_bytes());
    match protocol {
        TCP => bytes.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0]),
        UDP => bytes.extend([0, 9, 0, 0, b'x']),
        _ => {
            let length = dice.below(24);
            bytes = dice.bytes(length);
        }
    }
    if dice.one_in(10) {
        bytes.truncate(dice.below(6));
    }
    bytes
}

/// A neighbour discovery message, or nearly one: of the type beside, with a code, too short.
fn discovery(dice: &mut Dice<'_>) -> Vec<u8> {
    let kind = if dice.one_in(6) { dice.pick(&[132, 138, 128, 143]) } else { 133 + dice.below(5) as u8 };
    let code = if dice.one_in(8) { 1 + dice.below(255) as u8 } else { 0 };
    let length = if dice.one_in(4) { dice.below(10) } else { 8 + dice.below(33) };
    let mut message = vec![kind, code];
    message.extend(dice.bytes(length.saturating_sub(2)));
    message.truncate(length);
    message
}

fn source_v4(dice: &mut Dice<'_>, aim: &Aim) -> Ipv4Addr {
    match dice.below(10) {
        _ if aim.v4.is_empty() => Ipv4Addr::new(192, 0, 2, 66),
        0 => Ipv4Addr::from_bits(dice.below(1 << 32) as u32),
        1 => Ipv4Addr::from_bits(dice.pick(&aim.v4).to_bits() ^ 1 << dice.below(32)),
        _ => dice.pick(&aim.v4),
    }
}

fn source_v6(dice: &mut Dice<'_>, aim: &Aim) -> Ipv6Addr {
    match dice.below(10) {
        _ if aim.v6.is_empty() => Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 0x66),
        0 => {
            Ipv6Addr::from_bits(dice.pick(&aim.v6).to_bits() ^ u128::from(dice.below(1 << 62) as u64) << dice.below(65))
        }
        1 => Ipv6Addr::from_bits(dice.pick(&aim.v6).to_bits() ^ 1 << dice.below(128)),
        _ => dice.pick(&aim.v6),
    }
}
