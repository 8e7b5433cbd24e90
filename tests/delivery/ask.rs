//! One question to the node: a shape's frames with a token in them, for one port. It owns addresses, ports and tokens; what the frames look
//! like is up to the shapes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nodewall_testbed::{Family, Protocol};

use super::wire::{IPV4, IPV6, V4, V6, ethernet, number, segment};

/// In front of a token's number.
const MAGIC: [u8; 4] = *b"nw\xd1\x7e";
/// The bytes of a token: magic, number, and the number inverted, so that a damaged token is none.
pub(crate) const TOKEN_BYTES: usize = 12;
/// What an ordinary payload has.
const PAYLOAD_BYTES: usize = 24;
/// Source ports begin here, so that two asks of one run have two.
const FIRST_SOURCE_PORT: u32 = 1024;

pub(crate) const NODE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
pub(crate) const NODE_SECOND: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
pub(crate) const OUTSIDER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 11);
/// Far from the outsider's, so that no mutation forges it by chance: an address filter lets a forged peer in.
pub(crate) const PEER: Ipv4Addr = Ipv4Addr::new(10, 77, 213, 166);
pub(crate) const NODE6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1);
pub(crate) const NODE6_SECOND: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2);
pub(crate) const OUTSIDER6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x11);
pub(crate) const PEER6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0xc3a5, 0x9966);
/// The testbed's, which a test here compares with the lab.
pub(crate) const NODE_MAC: [u8; 6] = [2, 0, 0, 0x77, 0, 1];
pub(crate) const OUTSIDER_MAC: [u8; 6] = [2, 0, 0, 0x77, 0, 11];

/// What a shape builds its frames for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    /// The token's number.
    pub(crate) id: u32,
    pub(crate) protocol: Protocol,
    pub(crate) port: u16,
    /// Of the wire, in bytes.
    pub(crate) mtu: usize,
    /// UDP without a checksum, which the sockets take in both families.
    pub(crate) unchecked: bool,
}

impl Ask {
    pub(crate) fn source_port(&self) -> u16 {
        (FIRST_SOURCE_PORT + self.id % (65_536 - FIRST_SOURCE_PORT)) as u16
    }

    /// The number of the ask with this source port, if it is not a mutation's.
    pub(crate) fn id_from(source_port: u16) -> u32 {
        u32::from(source_port).wrapping_sub(FIRST_SOURCE_PORT)
    }

    pub(crate) fn token(&self) -> [u8; TOKEN_BYTES] {
        let mut token = [0; TOKEN_BYTES];
        token[..4].copy_from_slice(&MAGIC);
        token[4..8].copy_from_slice(&self.id.to_be_bytes());
        token[8..].copy_from_slice(&(!self.id).to_be_bytes());
        token
    }

    /// A payload with the token at both ends.
    pub(crate) fn payload(&self, bytes: usize) -> Vec<u8> {
        let mut payload = vec![0x2e; bytes.max(TOKEN_BYTES)];
        let last = payload.len() - TOKEN_BYTES;
        payload[..TOKEN_BYTES].copy_from_slice(&self.token());
        payload[last..].copy_from_slice(&self.token());
        payload
    }

    /// A UDP datagram or a SYN with data, between these.
    pub(crate) fn segment_of(&self, from: IpAddr, to: IpAddr, payload_bytes: usize) -> Vec<u8> {
        let mut bytes =
            segment(self.protocol, (from, self.source_port()), (to, self.port), &self.payload(payload_bytes));
        if self.unchecked && self.protocol == Protocol::Udp {
            bytes[6..8].copy_from_slice(&[0, 0]);
        }
        bytes
    }

    /// The ordinary packet between two IPv4 addresses.
    pub(crate) fn v4_between(&self, from: Ipv4Addr, to: Ipv4Addr) -> V4 {
        let payload = self.segment_of(from.into(), to.into(), PAYLOAD_BYTES);
        V4 { id: (self.id % 0xffff) as u16 + 1, ..V4::new(from, to, number(self.protocol), payload) }
    }

    pub(crate) fn v6_between(&self, from: Ipv6Addr, to: Ipv6Addr) -> V6 {
        let payload = self.segment_of(from.into(), to.into(), PAYLOAD_BYTES);
        V6::new(from, to, number(self.protocol), payload)
    }

    pub(crate) fn v4(&self) -> V4 {
        self.v4_between(OUTSIDER, NODE)
    }

    pub(crate) fn v6(&self) -> V6 {
        self.v6_between(OUTSIDER6, NODE6)
    }

    /// The ordinary packet of a family.
    pub(crate) fn packet(&self, family: Family) -> (u16, Vec<u8>) {
        match family {
            Family::V4 => (IPV4, self.v4().bytes()),
            Family::V6 => (IPV6, self.v6().bytes()),
        }
    }

    pub(crate) fn frame(&self, family: Family) -> Vec<u8> {
        let (ethertype, packet) = self.packet(family);
        ethernet(NODE_MAC, OUTSIDER_MAC, ethertype, &packet)
    }

    /// The ordinary packet with so large a payload that the whole frame has `bytes`.
    pub(crate) fn frame_of(&self, family: Family, bytes: usize) -> Vec<u8> {
        let overhead = self.frame(family).len() - PAYLOAD_BYTES;
        let payload = bytes.saturating_sub(overhead);
        match family {
            Family::V4 => {
                let payload = self.segment_of(OUTSIDER.into(), NODE.into(), payload);
                to_node4(V4 { payload, ..self.v4() }.bytes())
            }
            Family::V6 => {
                let payload = self.segment_of(OUTSIDER6.into(), NODE6.into(), payload);
                to_node6(V6 { payload, ..self.v6() }.bytes())
            }
        }
    }
}

/// An IPv4 packet on its way to the node.
pub(crate) fn to_node4(packet: impl AsRef<[u8]>) -> Vec<u8> {
    ethernet(NODE_MAC, OUTSIDER_MAC, IPV4, packet.as_ref())
}

pub(crate) fn to_node6(packet: impl AsRef<[u8]>) -> Vec<u8> {
    ethernet(NODE_MAC, OUTSIDER_MAC, IPV6, packet.as_ref())
}

/// The number of the token somewhere in these bytes.
pub(crate) fn token_in(bytes: &[u8]) -> Option<u32> {
    bytes.windows(TOKEN_BYTES).find_map(|window| {
        let number = |at: usize| u32::from_be_bytes([window[at], window[at + 1], window[at + 2], window[at + 3]]);
        (window[..4] == MAGIC && number(4) == !number(8)).then(|| number(4))
    })
}
