//! Packets inside packets: outer headers around a whole frame or packet, byte by byte from the RFCs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of an Ethernet header.
const ETHERNET_BYTES: usize = 14;
pub(crate) const IPIP: u8 = 4;
pub(crate) const IPV6_IN_IP: u8 = 41;
pub(crate) const GRE: u8 = 47;
pub(crate) const UDP: u8 = 17;

/// The packet in a frame.
pub(crate) fn packet_of(frame: &[u8]) -> &[u8] {
    &frame[ETHERNET_BYTES..]
}

/// The frame's Ethernet header in front of another packet.
pub(crate) fn around(frame: &[u8], ethertype: u16, packet: &[u8]) -> Vec<u8> {
    [&frame[..ETHERNET_BYTES - 2], &ethertype.to_be_bytes(), packet].concat()
}

/// An IP packet of this protocol.
pub(crate) fn ip(from: IpAddr, to: IpAddr, protocol: u8, payload: &[u8]) -> (u16, Vec<u8>) {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => (0x0800, ipv4(from, to, protocol, payload)),
        (IpAddr::V6(from), IpAddr::V6(to)) => (0x86dd, ipv6(from, to, protocol, payload)),
        mixed => panic!("one packet, two families: {mixed:?}"),
    }
}

fn ipv4(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let mut header = vec![0x45, 0, length[0], length[1], 0, 0, 0, 0, 64, protocol, 0, 0];
    header.extend(from.octets());
    header.extend(to.octets());
    let sum: u32 = header.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !((folded & 0xffff) + (folded >> 16)) as u16;
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    [header.as_slice(), payload].concat()
}

fn ipv6(from: Ipv6Addr, to: Ipv6Addr, next_header: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    let mut packet = vec![0x60, 0, 0, 0, length[0], length[1], next_header, 64];
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(payload);
    packet
}

/// GRE without options (RFC 2784).
pub(crate) fn gre(ethertype: u16, packet: &[u8]) -> Vec<u8> {
    [&[0, 0][..], &ethertype.to_be_bytes(), packet].concat()
}

/// VXLAN (RFC 7348): the flag that a network identifier is there, and the identifier.
pub(crate) fn vxlan(network: u8, frame: &[u8]) -> Vec<u8> {
    [&[8, 0, 0, 0, 0, 0, network, 0][..], frame].concat()
}

/// Geneve (RFC 8926) with an Ethernet frame inside and no options.
pub(crate) fn geneve(network: u8, frame: &[u8]) -> Vec<u8> {
    [&[0, 0, 0x65, 0x58, 0, 0, network, 0][..], frame].concat()
}

/// Generic UDP encapsulation (draft-ietf-intarea-gue, variant 0) without options, around what is of this protocol.
pub(crate) fn gue(protocol: u8, payload: &[u8]) -> Vec<u8> {
    [&[0, protocol, 0, 0][..], payload].concat()
}

/// What an IPv4 packet without options carries.
pub(crate) fn segment_of(packet: &[u8]) -> &[u8] {
    &packet[20..]
}

/// The frame with a tag of this VLAN.
pub(crate) fn tagged(frame: &[u8], vlan: u16) -> Vec<u8> {
    let (addresses, rest) = frame.split_at(12);
    [addresses, &[0x81, 0x00], &vlan.to_be_bytes(), rest].concat()
}
