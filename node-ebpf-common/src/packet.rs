//! Walking a frame's headers to what the policy asks about: who sent it, which protocol and port it is for, how long it is. It must not look at the
//! policy. Ports are only ever read where the IP packet says they are, never at a fixed offset and never past the packet's own end.

use crate::{
    address::Address,
    frame::Frame,
    reason::Reason,
    verifier::{rebound, zero_mask},
    wire::{
        self, Bytes2, ETHERNET_BYTES, ETHERTYPE_OFFSET, Extension, HeaderKind, IPV6_BYTES, Icmpv6, Ipv4, Ipv6, KINDS,
        Ports, Start, Tagged, Untagged, VLAN_TAG_BYTES, VlanTag, ethertype_le, protocol,
    },
};

/// Index of the TCP table in [`crate::PolicyImage::port_words`].
pub const TABLE_TCP: u32 = 0;
/// Index of the UDP table.
pub const TABLE_UDP: u32 = 1;
/// VLAN tags that are skipped; a frame with more is dropped.
pub const MAX_VLAN_TAGS: usize = 8;
/// IPv6 extension headers that are walked; a packet with more is dropped.
pub const MAX_EXTENSIONS: usize = 8;
/// Larger than any frame on a wire: only aggregates of generic-mode receive offload are longer.
const MAX_IP_BYTES: usize = 0xffff;
/// Above the length of any frame, receive-offload aggregates included (`GRO_MAX_SIZE` is 524,280): what byte counts are masked to.
const MAX_COUNTED_BYTES: usize = 0xf_ffff;
/// Above the largest offset that tags, an IP header and [`MAX_EXTENSIONS`] extension headers of 2,048 bytes can lead to.
const MAX_TRANSPORT_OFFSET: usize = 0x7fff;

/// What kind of thing a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum PacketKind {
    /// TCP to a port.
    Tcp = TABLE_TCP,
    /// UDP to a port.
    Udp = TABLE_UDP,
    /// A protocol that carries whole IP packets (IPIP, 6in4, GRE).
    Tunnel,
    /// A fragment after the first: without a port, but with a source that a policy may ask for.
    LaterFragment,
    /// An IP packet that has no port: only a block asks who sent it.
    Portless,
    /// Nothing whose sender is ever asked for: no IP packet, no sound one, or neighbour discovery, which no block may stop: without it the node could
    /// not even reach a blocked neighbour on its own account, and no network behind a blocked router.
    Settled,
}

impl PacketKind {
    /// The kind with this number.
    pub const fn from_number(number: u32) -> Option<Self> {
        const ALL: [PacketKind; 6] = [
            PacketKind::Tcp,
            PacketKind::Udp,
            PacketKind::Tunnel,
            PacketKind::LaterFragment,
            PacketKind::Portless,
            PacketKind::Settled,
        ];
        let mut n = 0;
        while n < ALL.len() {
            #[allow(clippy::indexing_slicing, reason = "a constant function has no get")]
            if ALL[n] as u32 == number {
                return Some(ALL[n]);
            }
            n += 1;
        }
        None
    }
}

/// What a frame is about. Flat, with every field always set: where an enum's variants have different fields LLVM leaves registers undefined, and the
/// verifier refuses a program that merely copies one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// What kind of thing it is.
    pub kind: PacketKind,
    /// Index of the port table of TCP or UDP: the kind's number, for these two.
    pub table: u32,
    /// For [`PacketKind::Portless`], [`PacketKind::LaterFragment`] and [`PacketKind::Settled`]: why, always one without a row. Else [`Reason::Unmanaged`].
    pub reason: Reason,
    /// Who sent it, if the packet tells the truth. [`Address::NONE`] for [`PacketKind::Settled`].
    pub source: Address,
    /// Whom it is for. The verdict never asks; what counts outbound frames does.
    pub destination: Address,
    /// The destination port's two wire bytes, loaded little-endian; 0 where there is none.
    pub port_wire: u32,
    /// The source port's, likewise. Never trusted in what arrives; what this node sends is its own.
    pub source_port_wire: u32,
    /// Link-layer header plus IP packet, or the buffer's length where there is no sound IP packet.
    pub bytes: u32,
}

impl Packet {
    #[inline(always)]
    const fn settled(reason: Reason, bytes: usize) -> Self {
        Self::of(PacketKind::Settled, reason, Addresses::NONE, 0, 0, bytes)
    }

    #[inline(always)]
    const fn portless(kind: PacketKind, reason: Reason, addresses: Addresses, bytes: usize) -> Self {
        Self::of(kind, reason, addresses, 0, 0, bytes)
    }

    #[inline(always)]
    const fn to(kind: PacketKind, addresses: Addresses, ports: Ports, bytes: usize) -> Self {
        let (from, to) = (u16::from_le(ports.source_be), u16::from_le(ports.destination_be));
        Self::of(kind, Reason::Unmanaged, addresses, from as u32, to as u32, bytes)
    }

    #[inline(always)]
    const fn of(kind: PacketKind, reason: Reason, addresses: Addresses, from: u32, to: u32, bytes: usize) -> Self {
        Self {
            kind,
            table: kind as u32,
            reason,
            source: addresses.source,
            destination: addresses.destination,
            port_wire: to,
            source_port_wire: from,
            bytes: bytes as u32,
        }
    }
}

/// The addresses of a packet.
#[derive(Clone, Copy)]
struct Addresses {
    source: Address,
    destination: Address,
}

impl Addresses {
    const NONE: Self = Self { source: Address::NONE, destination: Address::NONE };

    #[inline(always)]
    const fn v4(ip: Ipv4) -> Self {
        Self { source: Address::v4(u32::from_le(ip.source)), destination: Address::v4(u32::from_le(ip.destination)) }
    }

    #[inline(always)]
    const fn v6(ip: Ipv6) -> Self {
        Self {
            source: Address::v6(u64::from_le(ip.source_hi), u64::from_le(ip.source_lo)),
            destination: Address::v6(u64::from_le(ip.destination_hi), u64::from_le(ip.destination_lo)),
        }
    }
}

/// The commonest shapes: TCP or UDP in an untagged or once-tagged frame, without options, extension headers, fragments or lengths that lie, all of it
/// in the first buffer. `None` means nothing but "not one of these". Must say of them what [`walk`] says; a test holds it to that.
#[inline(always)]
pub fn common<F: Frame + ?Sized>(frame: &F) -> Option<Packet> {
    common_by_family(frame, Whole)
}

/// What comes next for a packet of a common shape. A trait, for a closure that is called twice is not inlined.
pub(crate) trait Next: Copy {
    /// What comes of it.
    type Result;

    /// Gets an IPv4 packet behind so many bytes of tags.
    fn v4(self, packet: Packet, tag_bytes: usize) -> Self::Result;

    /// Gets an IPv6 packet, likewise.
    fn v6(self, packet: Packet, tag_bytes: usize) -> Self::Result;
}

#[derive(Clone, Copy)]
struct Whole;

impl Next for Whole {
    type Result = Packet;

    #[inline(always)]
    fn v4(self, packet: Packet, _tag_bytes: usize) -> Packet {
        packet
    }

    #[inline(always)]
    fn v6(self, packet: Packet, _tag_bytes: usize) -> Packet {
        packet
    }
}

/// The same, with what comes next. It is there once for each family, with and without a tag, with all that is known of it: were they to come together again, every
/// packet would pay for what the others keep.
#[inline(always)]
pub(crate) fn common_by_family<F: Frame + ?Sized, N: Next>(frame: &F, next: N) -> Option<N::Result> {
    // The shortest common shape at once, so that what follows asks no more.
    match frame.start::<Start<Untagged, Ipv4>>(0)?.link.ethertype {
        ethertype_le::IPV4 => Some(next.v4(common_v4(frame, 0)?, 0)),
        ethertype_le::VLAN => match frame.start::<Tagged>(0)?.tag.ethertype {
            ethertype_le::IPV4 => Some(next.v4(common_v4(frame, VLAN_TAG_BYTES)?, VLAN_TAG_BYTES)),
            ethertype_le::IPV6 => Some(next.v6(common_v6(frame, VLAN_TAG_BYTES)?, VLAN_TAG_BYTES)),
            _ => None,
        },
        ethertype_le::IPV6 => Some(next.v6(common_v6(frame, 0)?, 0)),
        _ => None,
    }
}

#[inline(always)]
fn common_v4<F: Frame + ?Sized>(frame: &F, tag_bytes: usize) -> Option<Packet> {
    let Start { ip, ports, .. } = frame.start::<Start<Untagged, Ipv4>>(tag_bytes)?;
    let total_bytes = u16::from_be(ip.total_bytes_be) as usize;
    let end = size_of::<Untagged>() + tag_bytes + total_bytes;
    let plain = ip.version_ihl == 0x45 && ip.fragment_be & wire::IPV4_OFFSET_MASK_BE == 0;
    let fits = total_bytes >= size_of::<Ipv4>() + size_of::<Ports>() && end <= frame.linear_bytes();
    if !plain || !fits {
        return None;
    }
    common_port(ip.protocol, Addresses::v4(ip), ports, end)
}

#[inline(always)]
fn common_v6<F: Frame + ?Sized>(frame: &F, tag_bytes: usize) -> Option<Packet> {
    let Start { ip, ports, .. } = frame.start::<Start<Untagged, Ipv6>>(tag_bytes)?;
    let payload_bytes = u16::from_be(ip.payload_bytes_be) as usize;
    let end = size_of::<Untagged>() + tag_bytes + IPV6_BYTES + payload_bytes;
    if ip.version_class >> 4 != 6 || payload_bytes < size_of::<Ports>() || end > frame.linear_bytes() {
        return None;
    }
    common_port(ip.next_header, Addresses::v6(ip), ports, end)
}

#[inline(always)]
fn common_port(number: u8, addresses: Addresses, ports: Ports, end: usize) -> Option<Packet> {
    if number != protocol::TCP && number != protocol::UDP {
        return None;
    }
    let kind = if number == protocol::TCP { PacketKind::Tcp } else { PacketKind::Udp };
    // Of 6 and 17 this bit tells them apart, without a branch.
    let table = (u32::from(number) / u32::from(protocol::UDP - 1)) & 1;
    Some(Packet { table, ..Packet::to(kind, addresses, ports, end) })
}

/// What any frame is about. `zero` is the image's unknown zero, see [`rebound`].
#[inline(always)]
pub fn walk<F: Frame + ?Sized>(frame: &F, zero: u64) -> Packet {
    let located = locate(frame, zero);
    if located.end == 0 {
        return Packet::settled(located.problem.unwrap_or(Reason::NonIp), frame.linear_bytes());
    }
    transport(frame, &located, zero)
}

/// Where its transport header is.
#[inline(always)]
fn locate<F: Frame + ?Sized>(frame: &F, zero: u64) -> Located {
    let (mut ethertype, mut offset) = if let Some(protocol) = frame.protocol() {
        (protocol, 0)
    } else {
        let at = rebound::<F, 63>(frame, zero, ETHERTYPE_OFFSET);
        let Some(first) = frame.read::<Bytes2>(at) else { return Located::unsound(Reason::ShortFrame) };
        (first.value_le(), rebound::<F, 63>(frame, zero, ETHERNET_BYTES))
    };
    let mut tags = 0;
    while ethertype == ethertype_le::VLAN || ethertype == ethertype_le::SERVICE_VLAN {
        if tags == MAX_VLAN_TAGS {
            return Located::unsound(Reason::TooManyVlanTags);
        }
        let Some(tag) = frame.read::<VlanTag>(offset) else { return Located::unsound(Reason::ShortFrame) };
        ethertype = tag.ethertype;
        offset = rebound::<F, 63>(frame, zero, offset + VLAN_TAG_BYTES);
        tags += 1;
    }
    if tags == MAX_VLAN_TAGS && frame.has_tag_beside() {
        return Located::unsound(Reason::TooManyVlanTags);
    }
    let offset = rebound::<F, 63>(frame, zero, offset);
    match ethertype {
        ethertype_le::IPV4 => ipv4(frame, offset, zero),
        ethertype_le::IPV6 => ipv6(frame, offset, zero),
        ethertype_le::PPPOE_SESSION | ethertype_le::MPLS | ethertype_le::MPLS_MULTICAST | ethertype_le::MACSEC => {
            Located::unsound(Reason::Encapsulated)
        }
        _ => Located::unsound(Reason::NonIp),
    }
}

/// What the IP headers say. Flat for the same reason as [`Packet`].
struct Located {
    /// Why there is nothing more to read.
    problem: Option<Reason>,
    kind: HeaderKind,
    addresses: Addresses,
    /// Offset of the transport header.
    at: usize,
    /// Offset behind the IP packet; 0: there is no sound IP packet.
    end: usize,
}

impl Located {
    #[inline(always)]
    const fn unsound(reason: Reason) -> Self {
        Self::sound(reason, 0)
    }

    #[inline(always)]
    const fn sound(reason: Reason, end: usize) -> Self {
        Self { problem: Some(reason), kind: HeaderKind::Other, addresses: Addresses::NONE, at: 0, end }
    }
}

#[inline(always)]
fn ipv4<F: Frame + ?Sized>(frame: &F, offset: usize, zero: u64) -> Located {
    let malformed = Located::unsound(Reason::MalformedIpv4);
    let Some(header) = frame.read::<Ipv4>(offset) else { return malformed };
    let header_bytes = ((header.version_ihl & 15) as usize) << 2;
    let mut total_bytes = u16::from_be(header.total_bytes_be) as usize;
    if header.version_ihl >> 4 != 4 || header_bytes < size_of::<Ipv4>() {
        return malformed;
    }
    if total_bytes == 0 {
        total_bytes = aggregate_bytes(frame, zero, offset, MAX_IP_BYTES);
    }
    let end = offset + total_bytes;
    if total_bytes < header_bytes || !frame.holds(end) {
        return malformed;
    }
    let end = rebound::<F, MAX_COUNTED_BYTES>(frame, zero, end);
    let addresses = Addresses::v4(header);
    let later = header.fragment_be & wire::IPV4_OFFSET_MASK_BE != 0;
    let kind = if later { HeaderKind::LaterFragment } else { kind_v4(header.protocol) };
    Located { problem: None, kind, addresses, at: offset + header_bytes, end }
}

/// The bytes from `offset` on of a receive-offload aggregate, which has no length of its own when it is longer than the field can say (BIG TCP, Linux
/// 5.19 for IPv6, 6.3 for IPv4); 0 for a frame of `limit` bytes or fewer, whose length is a lie.
#[inline(always)]
fn aggregate_bytes<F: Frame + ?Sized>(frame: &F, zero: u64, offset: usize, limit: usize) -> usize {
    let whole = frame.total_bytes();
    if whole <= limit {
        return 0;
    }
    rebound::<F, MAX_COUNTED_BYTES>(frame, zero, whole - offset)
}

/// Under IPv4 the numbers of IPv6's extension headers are protocols without ports, but for AH.
#[inline(always)]
#[expect(clippy::indexing_slicing, reason = "the table has an entry for every u8")]
fn kind_v4(number: u8) -> HeaderKind {
    match KINDS[number as usize] {
        HeaderKind::Authentication => HeaderKind::Encapsulated,
        HeaderKind::Extension | HeaderKind::Fragment => HeaderKind::Other,
        kind => kind,
    }
}

#[inline(always)]
#[expect(clippy::indexing_slicing, reason = "the table has an entry for every u8")]
fn ipv6<F: Frame + ?Sized>(frame: &F, offset: usize, zero: u64) -> Located {
    let malformed = Located::unsound(Reason::MalformedIpv6);
    let Some(header) = frame.read::<Ipv6>(offset) else { return malformed };
    let mut payload_bytes = u16::from_be(header.payload_bytes_be) as usize;
    if header.version_class >> 4 != 6 {
        return malformed;
    }
    if payload_bytes == 0 {
        payload_bytes = aggregate_bytes(frame, zero, offset + IPV6_BYTES, MAX_IP_BYTES + IPV6_BYTES);
    }
    let mut at = offset + IPV6_BYTES;
    let end = at + payload_bytes;
    if !frame.holds(end) {
        return malformed;
    }
    let end = rebound::<F, MAX_COUNTED_BYTES>(frame, zero, end);
    if is_discovery(frame, &header, at, end) {
        return Located::sound(Reason::Icmp, end);
    }
    let addresses = Addresses::v6(header);
    let mut kind = KINDS[header.next_header as usize];
    let mut walked = 0;
    while kind as u32 >= HeaderKind::Extension as u32 {
        // Every extension header has at least 8 bytes, and all of them must lie within the packet.
        let Some(extension) = frame.read::<Extension>(at) else { break };
        if walked == MAX_EXTENSIONS || at + size_of::<Extension>() > end {
            break;
        }
        let is_fragment = kind as u32 == HeaderKind::Fragment as u32;
        if is_fragment && extension.offset_be & wire::IPV6_OFFSET_MASK_BE != 0 {
            return Located { problem: None, kind: HeaderKind::LaterFragment, addresses, at, end };
        }
        at = rebound::<F, MAX_TRANSPORT_OFFSET>(frame, zero, at + extension_bytes(frame, kind, extension.length));
        kind = KINDS[extension.next_header as usize];
        walked += 1;
    }
    if kind as u32 >= HeaderKind::Extension as u32 || at > end {
        return Located::sound(Reason::ExtensionChain, end);
    }
    Located { problem: None, kind, addresses, at, end }
}

/// Whether a packet is neighbour discovery as RFC 4861 wants it: directly behind the IPv6 header (so no fragment either, RFC 6980), whole, and from this
/// very link. What only looks like it is `ICMPv6` like any other.
#[inline(always)]
fn is_discovery<F: Frame + ?Sized>(frame: &F, header: &Ipv6, at: usize, end: usize) -> bool {
    let local = header.next_header == protocol::ICMPV6 && header.hop_limit == wire::DISCOVERY_HOP_LIMIT;
    if !local || at + size_of::<Icmpv6>() > end {
        return false;
    }
    let Some(message) = frame.read::<Icmpv6>(at) else { return false };
    message.code == 0 && wire::DISCOVERY_TYPES.contains(&message.number)
}

/// How long an extension header is. Without branches: each would double what the verifier follows.
#[inline(always)]
fn extension_bytes<F: Frame + ?Sized>(frame: &F, kind: HeaderKind, length: u8) -> usize {
    let is = |wanted: HeaderKind| zero_mask(frame, u64::from(kind as u32 ^ wanted as u32));
    let (fragment, authentication) = (is(HeaderKind::Fragment), is(HeaderKind::Authentication));
    let length = u64::from(length);
    let usual = ((length + 1) << 3) & !fragment & !authentication;
    let in_words = ((length + 2) << 2) & authentication;
    (usual | in_words | (size_of::<Extension>() as u64 & fragment)) as usize
}

#[inline(always)]
fn transport<F: Frame + ?Sized>(frame: &F, located: &Located, zero: u64) -> Packet {
    let bytes = located.end;
    if let Some(reason) = located.problem {
        return Packet::settled(reason, bytes);
    }
    let portless = |kind, reason| Packet::portless(kind, reason, located.addresses, bytes);
    let kind = match located.kind {
        HeaderKind::LaterFragment => return portless(PacketKind::LaterFragment, Reason::LaterFragment),
        HeaderKind::Tcp => PacketKind::Tcp,
        HeaderKind::Udp => PacketKind::Udp,
        HeaderKind::Icmp => return portless(PacketKind::Portless, Reason::Icmp),
        HeaderKind::Tunnel => return portless(PacketKind::Tunnel, Reason::Unmanaged),
        HeaderKind::Encapsulated => return portless(PacketKind::Portless, Reason::Encapsulated),
        _ => return portless(PacketKind::Portless, Reason::OtherProtocol),
    };
    // The verifiers of 5.10 and 6.1 want a mask, not a comparison.
    let at = rebound::<F, MAX_TRANSPORT_OFFSET>(frame, zero, located.at);
    if at + size_of::<Ports>() > located.end {
        return Packet::settled(Reason::NoPorts, bytes);
    }
    let Some(ports) = frame.read::<Ports>(at) else { return Packet::settled(Reason::NoPorts, bytes) };
    Packet::to(kind, located.addresses, ports, bytes)
}
