//! Walking a frame's headers to what the policy asks about: who sent it, which protocol and port it is for, how long it is. It must not look at the
//! policy. Ports are only ever read where the IP packet says they are, never at a fixed offset and never past the packet's own end.

use crate::{
    frame::Frame,
    policy::{Source, TABLE_TCP, TABLE_UDP, rebound},
    reason::Reason,
    wire::{
        self, Bytes2, ETHERNET_BYTES, ETHERTYPE_OFFSET, Extension, Fragment, IPV6_BYTES, Ipv4, Ipv6, Ports,
        VLAN_TAG_BYTES, VlanTag, ethertype_le, protocol,
    },
};

/// VLAN tags that are skipped; a frame with more is dropped.
pub const MAX_VLAN_TAGS: usize = 8;
/// IPv6 extension headers that are walked; a packet with more is dropped.
pub const MAX_EXTENSIONS: usize = 8;
/// Larger than any frame on a wire: only aggregates of generic-mode receive offload are longer.
const MAX_IP_BYTES: usize = 0xffff;

/// What a frame is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet {
    /// TCP or UDP to a port.
    Port {
        /// Who sent it, if the packet tells the truth.
        source: Source,
        /// [`TABLE_TCP`] or [`TABLE_UDP`].
        table: usize,
        /// The destination port's two wire bytes, loaded little-endian.
        port_wire: u16,
        /// Link-layer header plus IP packet.
        bytes: u32,
    },
    /// A protocol that carries whole IP packets (IPIP, 6in4, GRE).
    Tunnel {
        /// Who sent it.
        source: Source,
        /// Link-layer header plus IP packet.
        bytes: u32,
    },
    /// Anything that has no port: the reason says what, and the verdict with it.
    Portless {
        /// Always one without a row.
        reason: Reason,
        /// Link-layer header plus IP packet, or the buffer's length where there is no sound IP packet.
        bytes: u32,
    },
}

/// Walks the headers. `zero` is the image's unknown zero, see [`rebound`].
#[inline(always)]
pub fn parse<F: Frame + ?Sized>(frame: &F, zero: u64) -> Packet {
    let unsound = |reason| Packet::Portless { reason, bytes: frame.linear_bytes() as u32 };
    let Some(first) = frame.read::<Bytes2>(ETHERTYPE_OFFSET) else { return unsound(Reason::ShortFrame) };
    let mut ethertype = first.value_le();
    let mut offset = ETHERNET_BYTES;
    let mut tags = 0;
    while ethertype == ethertype_le::VLAN || ethertype == ethertype_le::SERVICE_VLAN {
        if tags == MAX_VLAN_TAGS {
            return unsound(Reason::TooManyVlanTags);
        }
        let Some(tag) = frame.read::<VlanTag>(offset) else { return unsound(Reason::ShortFrame) };
        ethertype = tag.ethertype;
        offset = rebound::<F, 63>(frame, zero, offset + VLAN_TAG_BYTES);
        tags += 1;
    }
    let offset = rebound::<F, 63>(frame, zero, offset);
    match ethertype {
        ethertype_le::IPV4 => ipv4(frame, offset),
        ethertype_le::IPV6 => ipv6(frame, offset, zero),
        ethertype_le::PPPOE_SESSION | ethertype_le::MPLS | ethertype_le::MPLS_MULTICAST | ethertype_le::MACSEC => {
            unsound(Reason::Encapsulated)
        }
        _ => unsound(Reason::NonIp),
    }
}

#[inline(always)]
fn ipv4<F: Frame + ?Sized>(frame: &F, offset: usize) -> Packet {
    let malformed = Packet::Portless { reason: Reason::MalformedIpv4, bytes: frame.linear_bytes() as u32 };
    let Some(header) = frame.read::<Ipv4>(offset) else { return malformed };
    let header_bytes = ((header.version_ihl & 15) as usize) << 2;
    let mut total_bytes = u16::from_be(header.total_bytes_be) as usize;
    if header.version_ihl >> 4 != 4 || header_bytes < size_of::<Ipv4>() {
        return malformed;
    }
    if total_bytes == 0 && frame.total_bytes() > MAX_IP_BYTES {
        // A receive-offload aggregate beyond 65,535 bytes has no length of its own (BIG TCP, Linux 6.3).
        total_bytes = frame.total_bytes() - offset;
    }
    if total_bytes < header_bytes || !frame.holds(offset + total_bytes) {
        return malformed;
    }
    let bytes = (offset + total_bytes) as u32;
    if header.fragment_be & wire::IPV4_OFFSET_MASK_BE != 0 {
        return Packet::Portless { reason: Reason::LaterFragment, bytes };
    }
    let source = Source::V4(u32::from_le(header.source));
    transport(frame, offset + header_bytes, total_bytes - header_bytes, header.protocol, source, bytes)
}

#[inline(always)]
fn ipv6<F: Frame + ?Sized>(frame: &F, offset: usize, zero: u64) -> Packet {
    let malformed = Packet::Portless { reason: Reason::MalformedIpv6, bytes: frame.linear_bytes() as u32 };
    let Some(header) = frame.read::<Ipv6>(offset) else { return malformed };
    let mut payload_bytes = u16::from_be(header.payload_bytes_be) as usize;
    if header.version_class >> 4 != 6 {
        return malformed;
    }
    if payload_bytes == 0 && frame.total_bytes() > MAX_IP_BYTES + IPV6_BYTES {
        // BIG TCP for IPv6 (Linux 5.19), as for IPv4.
        payload_bytes = frame.total_bytes() - offset - IPV6_BYTES;
    }
    let mut at = offset + IPV6_BYTES;
    let end = at + payload_bytes;
    if !frame.holds(end) {
        return malformed;
    }
    let bytes = end as u32;
    let broken = Packet::Portless { reason: Reason::ExtensionChain, bytes };
    let source = Source::V6(u64::from_le(header.source_hi), u64::from_le(header.source_lo));
    let mut next = header.next_header;
    let mut walked = 0;
    while walked <= MAX_EXTENSIONS {
        let step = match next {
            protocol::HOP_BY_HOP
            | protocol::ROUTING
            | protocol::DESTINATION_OPTIONS
            | protocol::MOBILITY
            | protocol::HIP
            | protocol::SHIM6 => {
                let Some(extension) = frame.read::<Extension>(at) else { return broken };
                next = extension.next_header;
                (extension.length as usize + 1) << 3
            }
            protocol::AH => {
                let Some(extension) = frame.read::<Extension>(at) else { return broken };
                next = extension.next_header;
                (extension.length as usize + 2) << 2
            }
            protocol::FRAGMENT => {
                let Some(fragment) = frame.read::<Fragment>(at) else { return broken };
                if at + size_of::<Fragment>() > end {
                    return broken;
                }
                if fragment.offset_be & wire::IPV6_OFFSET_MASK_BE != 0 {
                    return Packet::Portless { reason: Reason::LaterFragment, bytes };
                }
                next = fragment.next_header;
                size_of::<Fragment>()
            }
            _ => {
                if at > end {
                    return broken;
                }
                return transport(frame, at, end - at, next, source, bytes);
            }
        };
        at = rebound::<F, 0x7fff>(frame, zero, at + step);
        walked += 1;
    }
    broken
}

#[inline(always)]
fn transport<F: Frame + ?Sized>(
    frame: &F,
    at: usize,
    left_bytes: usize,
    number: u8,
    source: Source,
    bytes: u32,
) -> Packet {
    let portless = |reason| Packet::Portless { reason, bytes };
    let table = match number {
        protocol::TCP => TABLE_TCP,
        protocol::UDP => TABLE_UDP,
        protocol::ICMP | protocol::ICMPV6 => return portless(Reason::Icmp),
        protocol::IPIP | protocol::IPV6_IN_IP | protocol::GRE => return Packet::Tunnel { source, bytes },
        protocol::ESP | protocol::AH | protocol::L2TP => return portless(Reason::Encapsulated),
        _ => return portless(Reason::OtherProtocol),
    };
    if left_bytes < size_of::<Ports>() {
        return portless(Reason::NoPorts);
    }
    let Some(ports) = frame.read::<Ports>(at) else { return portless(Reason::NoPorts) };
    Packet::Port { source, table, port_wire: u16::from_le(ports.destination_be), bytes }
}
