//! Walking a frame's headers to what the policy asks about: who sent it, which protocol and port it is for, how long it is. It must not look at the
//! policy. Ports are only ever read where the IP packet says they are, never at a fixed offset and never past the packet's own end.

use crate::{
    frame::Frame,
    policy::{Source, TABLE_TCP, TABLE_UDP, rebound, zero_mask},
    reason::Reason,
    wire::{
        self, Bytes2, ETHERNET_BYTES, ETHERTYPE_OFFSET, Extension, IPV6_BYTES, Ipv4, Ipv4Ports, Ipv6, Ipv6Ports, KINDS,
        Kind, Ports, VLAN_TAG_BYTES, VlanTag, ethertype_le, protocol,
    },
};

/// VLAN tags that are skipped; a frame with more is dropped.
pub const MAX_VLAN_TAGS: usize = 8;
/// IPv6 extension headers that are walked; a packet with more is dropped.
pub const MAX_EXTENSIONS: usize = 8;
/// Larger than any frame on a wire: only aggregates of generic-mode receive offload are longer.
const MAX_IP_BYTES: usize = 0xffff;
/// Above the length of any frame, receive-offload aggregates included (GRO_MAX_SIZE is 524,280): what byte counts are masked to.
const MAX_COUNTED_BYTES: usize = 0xf_ffff;
/// Above the largest offset that tags, an IP header and [`MAX_EXTENSIONS`] extension headers of 2,048 bytes can lead to.
const MAX_TRANSPORT_OFFSET: usize = 0x7fff;

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
        port_wire: u32,
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

/// What `frame` is about. `zero` is the image's unknown zero, see [`rebound`].
#[inline(always)]
pub fn parse<F: Frame + ?Sized>(frame: &F, zero: u64) -> Packet {
    match common(frame) {
        Some(packet) => packet,
        None => walk(frame, zero),
    }
}

/// The commonest shapes: TCP or UDP in an untagged or once-tagged frame, without options, extension headers, fragments or lengths that lie, all of it
/// in the first buffer. `None` means nothing but "not one of these". Must say of them what [`walk`] says; a test holds it to that.
#[inline(always)]
fn common<F: Frame + ?Sized>(frame: &F) -> Option<Packet> {
    let ethertype = frame.read_linear::<Bytes2>(ETHERTYPE_OFFSET)?.value_le();
    if ethertype == ethertype_le::VLAN {
        let tag = frame.read_linear::<VlanTag>(ETHERNET_BYTES)?;
        return common_ip(frame, tag.ethertype, ETHERNET_BYTES + VLAN_TAG_BYTES);
    }
    common_ip(frame, ethertype, ETHERNET_BYTES)
}

#[inline(always)]
fn common_ip<F: Frame + ?Sized>(frame: &F, ethertype: u16, offset: usize) -> Option<Packet> {
    match ethertype {
        ethertype_le::IPV4 => {
            let Ipv4Ports { ip, ports } = frame.read_linear(offset)?;
            let total_bytes = u16::from_be(ip.total_bytes_be) as usize;
            let plain = ip.version_ihl == 0x45 && ip.fragment_be & wire::IPV4_OFFSET_MASK_BE == 0;
            let fits = total_bytes >= size_of::<Ipv4Ports>() && offset + total_bytes <= frame.linear_bytes();
            if !plain || !fits {
                return None;
            }
            let source = Source::V4(u32::from_le(ip.source));
            common_port(ip.protocol, source, ports, offset + total_bytes)
        }
        ethertype_le::IPV6 => {
            let Ipv6Ports { ip, ports } = frame.read_linear(offset)?;
            let payload_bytes = u16::from_be(ip.payload_bytes_be) as usize;
            let end = offset + IPV6_BYTES + payload_bytes;
            if ip.version_class >> 4 != 6 || payload_bytes < size_of::<Ports>() || end > frame.linear_bytes() {
                return None;
            }
            let source = Source::V6(u64::from_le(ip.source_hi), u64::from_le(ip.source_lo));
            common_port(ip.next_header, source, ports, end)
        }
        _ => None,
    }
}

#[inline(always)]
fn common_port(number: u8, source: Source, ports: Ports, end: usize) -> Option<Packet> {
    if number != protocol::TCP && number != protocol::UDP {
        return None;
    }
    // TCP is 6 and UDP 17: bit 4 tells them apart without a branch.
    let table = (number >> 4) as usize & 1;
    Some(Packet::Port { source, table, port_wire: u32::from(u16::from_le(ports.destination_be)), bytes: end as u32 })
}

/// Walks the headers of any frame.
#[inline(always)]
pub fn walk<F: Frame + ?Sized>(frame: &F, zero: u64) -> Packet {
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
    let located = match ethertype {
        ethertype_le::IPV4 => ipv4(frame, offset),
        ethertype_le::IPV6 => ipv6(frame, offset, zero),
        ethertype_le::PPPOE_SESSION | ethertype_le::MPLS | ethertype_le::MPLS_MULTICAST | ethertype_le::MACSEC => {
            return unsound(Reason::Encapsulated);
        }
        _ => return unsound(Reason::NonIp),
    };
    match located {
        Ok(located) => transport(frame, &located, zero),
        Err(Unlocated::Unsound(reason)) => unsound(reason),
        Err(Unlocated::Sound(reason, end)) => {
            Packet::Portless { reason, bytes: rebound::<F, MAX_COUNTED_BYTES>(frame, zero, end) as u32 }
        }
    }
}

/// Where a packet's transport header begins.
struct Located {
    kind: Kind,
    source: Source,
    /// Offset of the transport header; may lie beyond `end`.
    at: usize,
    /// Offset behind the IP packet.
    end: usize,
}

/// Why there is no transport header to read.
enum Unlocated {
    /// No sound IP packet: the buffer's length is counted.
    Unsound(Reason),
    /// A sound packet that ends at this offset.
    Sound(Reason, usize),
}

#[inline(always)]
fn ipv4<F: Frame + ?Sized>(frame: &F, offset: usize) -> Result<Located, Unlocated> {
    let malformed = Err(Unlocated::Unsound(Reason::MalformedIpv4));
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
    let end = offset + total_bytes;
    if total_bytes < header_bytes || !frame.holds(end) {
        return malformed;
    }
    if header.fragment_be & wire::IPV4_OFFSET_MASK_BE != 0 {
        return Err(Unlocated::Sound(Reason::LaterFragment, end));
    }
    let source = Source::V4(u32::from_le(header.source));
    Ok(Located { kind: kind_v4(header.protocol), source, at: offset + header_bytes, end })
}

/// Under IPv4 the numbers of IPv6's extension headers are protocols without ports, but for AH.
#[inline(always)]
#[expect(clippy::indexing_slicing, reason = "the table has an entry for every u8")]
fn kind_v4(number: u8) -> Kind {
    match KINDS[number as usize] {
        Kind::Authentication => Kind::Encapsulated,
        Kind::Extension | Kind::Fragment => Kind::Other,
        kind => kind,
    }
}

#[inline(always)]
#[expect(clippy::indexing_slicing, reason = "the table has an entry for every u8")]
fn ipv6<F: Frame + ?Sized>(frame: &F, offset: usize, zero: u64) -> Result<Located, Unlocated> {
    let malformed = Err(Unlocated::Unsound(Reason::MalformedIpv6));
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
    let source = Source::V6(u64::from_le(header.source_hi), u64::from_le(header.source_lo));
    let mut kind = KINDS[header.next_header as usize];
    let mut walked = 0;
    while kind as u32 >= Kind::Extension as u32 {
        // Every extension header has at least 8 bytes, and all of them must lie within the packet.
        let Some(extension) = frame.read::<Extension>(at) else { break };
        if walked == MAX_EXTENSIONS || at + size_of::<Extension>() > end {
            break;
        }
        let is_fragment = kind as u32 == Kind::Fragment as u32;
        if is_fragment && extension.offset_be & wire::IPV6_OFFSET_MASK_BE != 0 {
            return Err(Unlocated::Sound(Reason::LaterFragment, end));
        }
        at = rebound::<F, MAX_TRANSPORT_OFFSET>(frame, zero, at + extension_bytes(frame, kind, extension.length));
        kind = KINDS[extension.next_header as usize];
        walked += 1;
    }
    if kind as u32 >= Kind::Extension as u32 || at > end {
        return Err(Unlocated::Sound(Reason::ExtensionChain, end));
    }
    Ok(Located { kind, source, at, end })
}

/// How long an extension header is. Without branches: each would double what the verifier follows.
#[inline(always)]
fn extension_bytes<F: Frame + ?Sized>(frame: &F, kind: Kind, length: u8) -> usize {
    let is = |wanted: Kind| zero_mask(frame, u64::from(kind as u32 ^ wanted as u32));
    let (fragment, authentication) = (is(Kind::Fragment), is(Kind::Authentication));
    let length = u64::from(length);
    let usual = ((length + 1) << 3) & !fragment & !authentication;
    let in_words = ((length + 2) << 2) & authentication;
    (usual | in_words | (size_of::<Extension>() as u64 & fragment)) as usize
}

#[inline(always)]
fn transport<F: Frame + ?Sized>(frame: &F, located: &Located, zero: u64) -> Packet {
    let bytes = rebound::<F, MAX_COUNTED_BYTES>(frame, zero, located.end) as u32;
    let portless = |reason| Packet::Portless { reason, bytes };
    let source = located.source;
    let table = match located.kind {
        Kind::Tcp => TABLE_TCP,
        Kind::Udp => TABLE_UDP,
        Kind::Icmp => return portless(Reason::Icmp),
        Kind::Tunnel => return Packet::Tunnel { source, bytes },
        Kind::Encapsulated => return portless(Reason::Encapsulated),
        _ => return portless(Reason::OtherProtocol),
    };
    if located.at + size_of::<Ports>() > located.end {
        return portless(Reason::NoPorts);
    }
    let Some(ports) = frame.read::<Ports>(located.at) else { return portless(Reason::NoPorts) };
    Packet::Port { source, table, port_wire: u32::from(u16::from_le(ports.destination_be)), bytes }
}
