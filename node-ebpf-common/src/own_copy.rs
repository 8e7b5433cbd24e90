//! The copy of its own multicast or broadcast that the kernel gives a node back (`dev_loopback_xmit`), without an Ethernet header: to be seen in generic mode
//! and at tc. No hook tells which frames those are. Somebody on the link can send what looks like one, and wins nothing.

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::{frame::Frame, reason::Reason, wire::IPV6_BYTES};

/// First byte of an IPv6 multicast address (RFC 4291 section 2.7).
const IPV6_MULTICAST: u8 = 0xff;

/// What tells an IP packet of either version from the first bytes of an Ethernet frame. Any packet with ports is as long.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C, packed)]
struct Start {
    /// Version in the high four bits.
    version_ihl: u8,
    _class: u8,
    /// Bytes of an IPv4 packet.
    total_bytes_be: u16,
    /// Bytes after an IPv6 header.
    payload_bytes_be: u16,
    _between: [u8; 18],
    /// First byte of an IPv6 packet's destination.
    destination: u8,
}

/// The reasons, by their numbers' bits, of frames that the kernel delivers to no port whatever their bytes are: the only ones that may turn out to be
/// something else.
const NEVER_DELIVERED: u64 = 1 << Reason::NonIp.number()
    | 1 << Reason::Encapsulated.number()
    | 1 << Reason::MalformedIpv4.number()
    | 1 << Reason::MalformedIpv6.number();

/// The reason's number of a settled frame of which `reason` was found.
#[inline(always)]
pub(crate) fn settled_reason<F: Frame + ?Sized>(frame: &F, reason: u32) -> u32 {
    let own = 1 << reason & NEVER_DELIVERED != 0 && is_own_copy(frame);
    if own { Reason::OwnMulticast.number() } else { reason }
}

/// Whether it is one IP packet from its first byte to its last.
#[inline(always)]
fn is_own_copy<F: Frame + ?Sized>(frame: &F) -> bool {
    let Some(start) = frame.read::<Start>(0) else { return false };
    let (version, whole) = (u32::from(start.version_ihl >> 4), frame.total_bytes() as u32);
    // Not 0 below 5, and without a branch.
    let short = u32::from(start.version_ihl & 15).wrapping_sub(5) >> 4;
    let not_v4 = version ^ 4 | short | u32::from(u16::from_be(start.total_bytes_be)) ^ whole;
    let length = u32::from(u16::from_be(start.payload_bytes_be)) + IPV6_BYTES as u32;
    let not_v6 = version ^ 6 | length ^ whole | u32::from(start.destination) ^ u32::from(IPV6_MULTICAST);
    frame.protocol().is_none() && (not_v4 == 0 || not_v6 == 0)
}
