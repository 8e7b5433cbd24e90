//! A frame's headers by `etherparse`: who sent it, to what, how many bytes. Where `etherparse` wants more than the rules do (whole TCP headers, no empty
//! AH), bytes are read by hand. Must not look at the policy. Each step takes a slice that ends where its packet ends.

use std::net::IpAddr;

use super::answer::To;
use etherparse::{
    Ethernet2HeaderSlice, Ipv4HeaderSlice, Ipv6FragmentHeaderSlice, Ipv6HeaderSlice, SingleVlanHeaderSlice,
};
use node_ebpf_common::Reason;
use nodewall_policy::config::Protocol;

const MOST_TAGS: usize = 8;
const MOST_EXTENSIONS: usize = 8;

/// What the headers say.
pub(super) enum Parsed {
    /// No port to look up. The sender is told where a block would matter.
    Unported { reason: Reason, source: Option<IpAddr>, bytes: usize },
    /// The policy has to say.
    Sent { source: IpAddr, to: To, bytes: usize },
}

/// What stands behind the IP headers.
enum Inner<'f> {
    /// Nothing that is looked at, but for who sent it.
    Settled(Reason),
    /// Nothing that is looked at, whoever sent it.
    Untouched(Reason),
    /// The middle of something.
    LaterFragment,
    /// A protocol and its bytes, to the packet's end.
    Payload(u8, &'f [u8]),
}

/// A sound IP packet.
struct Packet<'f> {
    source: IpAddr,
    bytes: usize,
    inner: Inner<'f>,
}

pub(super) fn parse(frame: &[u8]) -> Parsed {
    let unsound = |reason| {
        let looks_looped = ![Reason::ShortFrame, Reason::TooManyVlanTags].contains(&reason) && is_looped_back(frame);
        let reason = if looks_looped { Reason::OwnMulticast } else { reason };
        Parsed::Unported { reason, source: None, bytes: frame.len() }
    };
    let (ethertype, rest) = match link(frame) {
        Ok(found) => found,
        Err(reason) => return unsound(reason),
    };
    let link_bytes = frame.len() - rest.len();
    let packet = match ethertype {
        0x0800 => ipv4(rest, frame.len() > 65_535),
        0x86dd => ipv6(rest, frame.len() > 65_575),
        // PPPoE session, MPLS, MPLS multicast, MACsec.
        0x8864 | 0x8847 | 0x8848 | 0x88e5 => return unsound(Reason::Encapsulated),
        _ => return unsound(Reason::NonIp),
    };
    match packet {
        Ok(packet) => transport(&packet, link_bytes + packet.bytes),
        Err(reason) => unsound(reason),
    }
}

/// Whether the bytes from the first on are one IP packet, to the last.
fn is_looped_back(bytes: &[u8]) -> bool {
    match bytes {
        [0x45..=0x4f, _, high, low, ..] => {
            bytes.len() >= 25 && bytes.len() == usize::from(u16::from_be_bytes([*high, *low]))
        }
        [0x60..=0x6f, _, _, _, high, low, ..] => {
            bytes.get(24) == Some(&0xff) && bytes.len() == 40 + usize::from(u16::from_be_bytes([*high, *low]))
        }
        _ => false,
    }
}

/// The type of what the link layer carries, and its bytes.
fn link(frame: &[u8]) -> Result<(u16, &[u8]), Reason> {
    let header = Ethernet2HeaderSlice::from_slice(frame).map_err(|_| Reason::ShortFrame)?;
    let mut ethertype = header.ether_type().0;
    let mut rest = &frame[14..];
    let mut tags = 0;
    while ethertype == 0x8100 || ethertype == 0x88a8 {
        tags += 1;
        if tags > MOST_TAGS {
            return Err(Reason::TooManyVlanTags);
        }
        let tag = SingleVlanHeaderSlice::from_slice(rest).map_err(|_| Reason::ShortFrame)?;
        ethertype = tag.ether_type().0;
        rest = &rest[4..];
    }
    Ok((ethertype, rest))
}

fn ipv4(bytes: &[u8], longer_than_the_field: bool) -> Result<Packet<'_>, Reason> {
    // Also refuses what is not version 4 and header lengths below 20 or beyond the frame.
    let header = Ipv4HeaderSlice::from_slice(bytes).map_err(|_| Reason::MalformedIpv4)?;
    let header_bytes = usize::from(header.ihl()) * 4;
    let total_bytes = match usize::from(header.total_len()) {
        0 if longer_than_the_field => bytes.len(),
        stated => stated,
    };
    if total_bytes < header_bytes || total_bytes > bytes.len() {
        return Err(Reason::MalformedIpv4);
    }
    let source = IpAddr::V4(header.source_addr());
    let inner = if header.fragments_offset().value() > 0 {
        Inner::LaterFragment
    } else if header.protocol().0 == 51 {
        Inner::Settled(Reason::Encapsulated)
    } else {
        Inner::Payload(header.protocol().0, &bytes[header_bytes..total_bytes])
    };
    Ok(Packet { source, bytes: total_bytes, inner })
}

fn ipv6(bytes: &[u8], longer_than_the_field: bool) -> Result<Packet<'_>, Reason> {
    let header = Ipv6HeaderSlice::from_slice(bytes).map_err(|_| Reason::MalformedIpv6)?;
    let payload_bytes = match usize::from(header.payload_length()) {
        0 if longer_than_the_field => bytes.len() - 40,
        stated => stated,
    };
    let payload = bytes.get(40..40 + payload_bytes).ok_or(Reason::MalformedIpv6)?;
    let inner = match (header.next_header().0, header.hop_limit(), payload) {
        (58, 255, [133..=137, 0, _, _, _, _, _, _, ..]) => Inner::Untouched(Reason::Icmp),
        (first, ..) => extensions(first, payload),
    };
    Ok(Packet { source: IpAddr::V6(header.source_addr()), bytes: 40 + payload_bytes, inner })
}

fn is_extension(number: u8) -> bool {
    [0, 43, 44, 51, 60, 135, 139, 140].contains(&number)
}

/// Walks a chain of extension headers.
fn extensions(first: u8, payload: &[u8]) -> Inner<'_> {
    let (mut number, mut rest) = (first, payload);
    for _ in 0..MOST_EXTENSIONS {
        if !is_extension(number) {
            return Inner::Payload(number, rest);
        }
        let [next, length, ..] = *rest else { return Inner::Untouched(Reason::ExtensionChain) };
        let header_bytes = match number {
            44 => {
                let Ok(fragment) = Ipv6FragmentHeaderSlice::from_slice(rest) else {
                    return Inner::Untouched(Reason::ExtensionChain);
                };
                if fragment.fragment_offset().value() > 0 {
                    return Inner::LaterFragment;
                }
                8
            }
            51 => (usize::from(length) + 2) * 4,
            _ => (usize::from(length) + 1) * 8,
        };
        let Some(behind) = rest.get(header_bytes..) else { return Inner::Untouched(Reason::ExtensionChain) };
        (number, rest) = (next, behind);
    }
    if is_extension(number) { Inner::Untouched(Reason::ExtensionChain) } else { Inner::Payload(number, rest) }
}

fn transport(packet: &Packet<'_>, bytes: usize) -> Parsed {
    let unported = |reason| Parsed::Unported { reason, source: Some(packet.source), bytes };
    let untouched = |reason| Parsed::Unported { reason, source: None, bytes };
    let (number, payload) = match packet.inner {
        Inner::Settled(reason) => return unported(reason),
        Inner::Untouched(reason) => return untouched(reason),
        Inner::LaterFragment => return Parsed::Sent { source: packet.source, to: To::LaterFragment, bytes },
        Inner::Payload(number, payload) => (number, payload),
    };
    let to = match number {
        6 | 17 => {
            let [_, _, high, low, ..] = *payload else { return untouched(Reason::NoPorts) };
            let protocol = if number == 6 { Protocol::Tcp } else { Protocol::Udp };
            To::Port(protocol, u16::from_be_bytes([high, low]))
        }
        4 | 41 | 47 => To::Tunnel,
        1 | 58 => return unported(Reason::Icmp),
        50 | 115 => return unported(Reason::Encapsulated),
        _ => return unported(Reason::OtherProtocol),
    };
    Parsed::Sent { source: packet.source, to, bytes }
}
