//! The wire formats: one packed struct per header and the numbers of the registries. Decides nothing.
//!
//! Fields are native integers over the wire's bytes (a `[u8; 40]` becomes forty byte loads in BPF): `_be` fields hold network byte
//! order and are converted where they are used; addresses stay as the wire's bytes read little-endian, the form the image's
//! source table is keyed by.

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// Ethernet destination, source and type (IEEE 802.3 clause 3).
pub const ETHERNET_BYTES: usize = 14;
/// Offset of the first `EtherType`.
pub const ETHERTYPE_OFFSET: usize = 12;
/// One 802.1Q / 802.1ad tag.
pub const VLAN_TAG_BYTES: usize = 4;
/// An IPv6 header without extensions (RFC 8200 section 3).
pub const IPV6_BYTES: usize = 40;

/// `EtherType`s as the wire's two bytes loaded little-endian (IEEE registry).
pub mod ethertype_le {
    /// IPv4, 0x0800.
    pub const IPV4: u16 = 0x0800_u16.to_be();
    /// IPv6, 0x86dd.
    pub const IPV6: u16 = 0x86dd_u16.to_be();
    /// 802.1Q customer tag, 0x8100.
    pub const VLAN: u16 = 0x8100_u16.to_be();
    /// 802.1ad service tag, 0x88a8.
    pub const SERVICE_VLAN: u16 = 0x88a8_u16.to_be();
    /// `PPPoE` session, 0x8864 (RFC 2516).
    pub const PPPOE_SESSION: u16 = 0x8864_u16.to_be();
    /// MPLS unicast, 0x8847 (RFC 3032).
    pub const MPLS: u16 = 0x8847_u16.to_be();
    /// MPLS multicast, 0x8848 (RFC 5332).
    pub const MPLS_MULTICAST: u16 = 0x8848_u16.to_be();
    /// `MACsec`, 0x88e5 (IEEE 802.1AE).
    pub const MACSEC: u16 = 0x88e5_u16.to_be();
}

/// IP protocol and IPv6 next-header numbers (IANA registry).
pub mod protocol {
    /// IPv6 hop-by-hop options (RFC 8200).
    pub const HOP_BY_HOP: u8 = 0;
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// IPv4 in IP (RFC 2003).
    pub const IPIP: u8 = 4;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// IPv6 in IP, "6in4" (RFC 4213).
    pub const IPV6_IN_IP: u8 = 41;
    /// IPv6 routing header.
    pub const ROUTING: u8 = 43;
    /// IPv6 fragment header.
    pub const FRAGMENT: u8 = 44;
    /// GRE (RFC 2784).
    pub const GRE: u8 = 47;
    /// ESP (RFC 4303).
    pub const ESP: u8 = 50;
    /// Authentication header (RFC 4302).
    pub const AH: u8 = 51;
    /// `ICMPv6`.
    pub const ICMPV6: u8 = 58;
    /// IPv6 no next header.
    pub const NO_NEXT: u8 = 59;
    /// IPv6 destination options.
    pub const DESTINATION_OPTIONS: u8 = 60;
    /// `L2TPv3` over IP (RFC 3931).
    pub const L2TP: u8 = 115;
    /// Mobility header (RFC 6275).
    pub const MOBILITY: u8 = 135;
    /// Host identity protocol (RFC 7401).
    pub const HIP: u8 = 139;
    /// Shim6 (RFC 5533).
    pub const SHIM6: u8 = 140;
}

/// What an IP protocol or next-header number means for the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum HeaderKind {
    /// SCTP, IGMP and everything else without the policy's ports.
    Other,
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP, `ICMPv6`.
    Icmp,
    /// Carries whole IP packets.
    Tunnel,
    /// Opened only by a configured tunnel.
    Encapsulated,
    /// No number at all: a fragment after the first.
    LaterFragment,
    /// An IPv6 extension header.
    Extension,
    /// A fragment header.
    Fragment,
    /// An authentication header.
    Authentication,
}

/// [`HeaderKind`] of every number, under IPv6. A table, because a chain of comparisons would make the verifier follow each.
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which would refuse an index out of bounds")]
pub static KINDS: [HeaderKind; 256] = {
    let mut kinds = [HeaderKind::Other; 256];
    let mut n = 0;
    while n < 256 {
        kinds[n] = match n as u8 {
            protocol::TCP => HeaderKind::Tcp,
            protocol::UDP => HeaderKind::Udp,
            protocol::ICMP | protocol::ICMPV6 => HeaderKind::Icmp,
            protocol::IPIP | protocol::IPV6_IN_IP | protocol::GRE => HeaderKind::Tunnel,
            protocol::ESP | protocol::L2TP => HeaderKind::Encapsulated,
            protocol::HOP_BY_HOP
            | protocol::ROUTING
            | protocol::DESTINATION_OPTIONS
            | protocol::MOBILITY
            | protocol::HIP
            | protocol::SHIM6 => HeaderKind::Extension,
            protocol::FRAGMENT => HeaderKind::Fragment,
            protocol::AH => HeaderKind::Authentication,
            _ => HeaderKind::Other,
        };
        n += 1;
    }
    kinds
};

/// UDP destination ports of tunnels that Linux decapsulates once a device of the kind is up: VXLAN (RFC 7348), Linux' own older
/// VXLAN default, Geneve (RFC 8926).
pub const TUNNEL_UDP_PORTS: [u16; 3] = [4789, 8472, 6081];

/// Two bytes of the wire.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C, packed)]
pub struct Bytes2(u16);

impl Bytes2 {
    /// The two bytes as a little-endian load.
    #[inline(always)]
    pub const fn value_le(self) -> u16 {
        u16::from_le(self.0)
    }
}

/// A VLAN tag's control information and the `EtherType` after it (IEEE 802.1Q).
#[derive(FromBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C, packed)]
pub struct VlanTag {
    /// Priority, DEI and VLAN id.
    pub control_be: u16,
    /// What follows, see [`ethertype_le`].
    pub ethertype: u16,
}

/// The fixed part of an IPv4 header (RFC 791).
#[derive(FromBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C, packed)]
pub struct Ipv4 {
    /// Version in the high four bits, header length in 4-byte units in the low.
    pub version_ihl: u8,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// Header and payload, bytes.
    pub total_bytes_be: u16,
    /// Fragment group.
    pub identification_be: u16,
    /// Flags (3 bits) and fragment offset in 8-byte units (13 bits).
    pub fragment_be: u16,
    /// Time to live.
    pub ttl: u8,
    /// See [`protocol`].
    pub protocol: u8,
    /// Header checksum (not verified: the stack does).
    pub checksum_be: u16,
    /// Source address, the wire's bytes.
    pub source: u32,
    /// Destination address, the wire's bytes.
    pub destination: u32,
}

/// `fragment_be` bits of the offset, as the field reads on a little-endian machine.
pub const IPV4_OFFSET_MASK_BE: u16 = 0x1fff_u16.to_be();

/// An IPv6 header (RFC 8200 section 3).
#[derive(FromBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C, packed)]
pub struct Ipv6 {
    /// Version in the high four bits.
    pub version_class: u8,
    /// Traffic class (low half) and flow label (high part).
    pub class_flow: u8,
    /// Flow label.
    pub flow_be: u16,
    /// Bytes after this header.
    pub payload_bytes_be: u16,
    /// See [`protocol`].
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source address, first eight bytes of the wire.
    pub source_hi: u64,
    /// Source address, last eight bytes of the wire.
    pub source_lo: u64,
    /// Destination address, first half.
    pub destination_hi: u64,
    /// Destination address, second half.
    pub destination_lo: u64,
}

/// An `ICMPv6` header (RFC 4443 section 2.1) and the four bytes that every neighbour discovery message has behind it.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C, packed)]
pub struct Icmpv6 {
    /// Type.
    pub number: u8,
    /// Code.
    pub code: u8,
    /// Checksum (not verified: the stack does).
    pub checksum_be: u16,
    /// Data.
    pub rest: u32,
}

/// `ICMPv6` types of neighbour discovery: router solicitation and advertisement, neighbour solicitation and advertisement, redirect (RFC 4861 section 4).
pub const DISCOVERY_TYPES: core::ops::RangeInclusive<u8> = 133..=137;
/// Hop limit of neighbour discovery: no router forwarded it (RFC 4861 section 7.1.1).
pub const DISCOVERY_HOP_LIMIT: u8 = 255;

/// The first eight bytes of an IPv6 extension header, as long as the shortest of them (RFC 8200 section 4).
#[derive(FromBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C, packed)]
pub struct Extension {
    /// What follows it.
    pub next_header: u8,
    /// Its length beyond the first 8 bytes in 8-byte units (AH: in 4-byte units, RFC 4302 2.2). A fragment header has none: reserved.
    pub length: u8,
    /// A fragment header's offset in 8-byte units (13 bits), 2 reserved bits, more-fragments (RFC 8200 section 4.5).
    pub offset_be: u16,
    /// Data.
    pub rest: u32,
}

/// `offset_be` bits of the offset, as the field reads on a little-endian machine.
pub const IPV6_OFFSET_MASK_BE: u16 = 0xfff8_u16.to_be();

/// A link-layer header without tags. The addresses do not matter here.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C, packed)]
pub struct Untagged {
    /// Destination and source.
    pub addresses: [u8; ETHERTYPE_OFFSET],
    /// What follows, see [`ethertype_le`].
    pub ethertype: u16,
}

/// The beginning of every Ethernet frame, for those who ask who sent it on the link.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C, packed)]
pub struct LinkAddresses {
    /// To whom.
    pub destination: [u16; 3],
    /// The sender's first four bytes.
    pub source_first: u32,
    /// The sender's last two bytes.
    pub source_last: u16,
}

impl LinkAddresses {
    /// The sender's six wire bytes, read little-endian.
    #[inline(always)]
    pub const fn source_le(self) -> u64 {
        u32::from_le(self.source_first) as u64 | (u16::from_le(self.source_last) as u64) << 32
    }
}

/// A link-layer header with one tag.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C, packed)]
pub struct Tagged {
    /// What should be the tag's own type.
    pub outer: Untagged,
    /// The tag.
    pub tag: VlanTag,
}

/// A frame's first bytes, if it has this link-layer header, an IP header without options or extension headers, and ports behind it: the
/// commonest shapes in one read.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C, packed)]
pub struct Start<L, I> {
    /// The link-layer header.
    pub link: L,
    /// The IP header.
    pub ip: I,
    /// The ports.
    pub ports: Ports,
}

/// An untagged frame up to TCP's flags.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C, packed)]
pub struct BeforeTcp<I> {
    /// The link-layer header.
    pub link: Untagged,
    /// The IP header.
    pub ip: I,
    /// What is behind it.
    pub tcp: Tcp,
}

/// TCP's header up to its flags (RFC 9293, 3.1).
#[derive(FromBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C, packed)]
pub struct Tcp {
    /// The ports.
    pub ports: Ports,
    /// Sequence and acknowledgement numbers, and the header's length.
    pub middle: [u8; 9],
    /// FIN is 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128.
    pub flags: u8,
}

/// The first four bytes that TCP (RFC 9293) and UDP (RFC 768) share.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C, packed)]
pub struct Ports {
    /// Source port: never trusted for anything.
    pub source_be: u16,
    /// Destination port, the wire's two bytes.
    pub destination_be: u16,
}
