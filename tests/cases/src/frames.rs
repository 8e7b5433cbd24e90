//! Frames for the table of cases, byte by byte from the RFCs. Shares no code with the project's parser, so that the two can disagree.

use std::net::{Ipv4Addr, Ipv6Addr};

pub const IPV4: u16 = 0x0800;
pub const IPV6: u16 = 0x86dd;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;

/// An Ethernet frame.
pub fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2];
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Puts VLAN tags with these tag types (outermost first) into a frame.
pub fn tagged(types: &[u16], frame: &[u8]) -> Vec<u8> {
    let mut out = frame[..12].to_vec();
    for (vid, tag) in (0u16..).zip(types) {
        out.extend(tag.to_be_bytes());
        out.extend(vid.to_be_bytes());
    }
    out.extend(&frame[12..]);
    out
}

/// A TCP header (a SYN) or a UDP header with one byte of payload.
pub fn transport(protocol: u8, port: u16) -> Vec<u8> {
    let mut bytes = 40_000u16.to_be_bytes().to_vec();
    bytes.extend(port.to_be_bytes());
    match protocol {
        TCP => bytes.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0]),
        _ => bytes.extend([0, 9, 0, 0, b'x']),
    }
    bytes
}

/// An IPv4 packet; every field can lie.
#[derive(Clone)]
pub struct Ip4 {
    pub version: u8,
    pub header_words: u8,
    pub total_bytes: Option<u16>,
    pub flags_offset: u16,
    pub protocol: u8,
    pub source: Ipv4Addr,
    pub payload: Vec<u8>,
}

impl Ip4 {
    pub fn new(source: &str, protocol: u8, payload: Vec<u8>) -> Self {
        let source = source.parse().unwrap();
        Self { version: 4, header_words: 5, total_bytes: None, flags_offset: 0, protocol, source, payload }
    }

    pub fn packet(&self) -> Vec<u8> {
        let options = usize::from(self.header_words.saturating_sub(5)) * 4;
        let length = self.total_bytes.unwrap_or((20 + options + self.payload.len()) as u16);
        let mut bytes = vec![self.version << 4 | self.header_words, 0];
        bytes.extend(length.to_be_bytes());
        bytes.extend([0x12, 0x34]);
        bytes.extend(self.flags_offset.to_be_bytes());
        bytes.extend([64, self.protocol, 0, 0]);
        bytes.extend(self.source.octets());
        bytes.extend([10, 0, 0, 1]);
        bytes.extend(vec![1; options]); // no-operation options
        bytes.extend(&self.payload);
        bytes
    }

    pub fn frame(&self) -> Vec<u8> {
        ethernet(IPV4, &self.packet())
    }
}

/// An IPv6 packet; every field can lie.
#[derive(Clone)]
pub struct Ip6 {
    pub version: u8,
    pub payload_bytes: Option<u16>,
    pub next: u8,
    pub hop_limit: u8,
    pub source: Ipv6Addr,
    pub payload: Vec<u8>,
}

impl Ip6 {
    pub fn new(source: &str, next: u8, payload: Vec<u8>) -> Self {
        Self { version: 6, payload_bytes: None, next, hop_limit: 64, source: source.parse().unwrap(), payload }
    }

    /// The packet with a chain of extension headers in front of its payload.
    pub fn chain(source: &str, chain: &[Extension], protocol: u8, payload: Vec<u8>) -> Self {
        let mut bytes = Vec::new();
        for (n, extension) in chain.iter().enumerate() {
            let next = chain.get(n + 1).map_or(protocol, |e| e.number);
            bytes.push(next);
            bytes.extend(&extension.rest);
        }
        bytes.extend(payload);
        Self::new(source, chain.first().map_or(protocol, |e| e.number), bytes)
    }

    pub fn packet(&self) -> Vec<u8> {
        let mut bytes = vec![self.version << 4, 0, 0, 0];
        bytes.extend(self.payload_bytes.unwrap_or(self.payload.len() as u16).to_be_bytes());
        bytes.extend([self.next, self.hop_limit]);
        bytes.extend(self.source.octets());
        bytes.extend("2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
        bytes.extend(&self.payload);
        bytes
    }

    pub fn frame(&self) -> Vec<u8> {
        ethernet(IPV6, &self.packet())
    }
}

/// An extension header without its first byte (which says what follows it).
#[derive(Clone)]
pub struct Extension {
    pub number: u8,
    pub rest: Vec<u8>,
}

/// Hop-by-hop (0), routing (43), destination options (60), mobility (135)…: `units` of 8 bytes beyond the first 8.
pub fn options(number: u8, units: u8) -> Extension {
    let mut rest = vec![0; 7 + usize::from(units) * 8];
    rest[0] = units;
    // A PadN option over the whole room, so that Linux accepts it.
    rest[1] = 1;
    rest[2] = rest.len() as u8 - 3;
    Extension { number, rest }
}

/// An authentication header: its length counts 4-byte units beyond the first 8 bytes.
pub fn authentication(units: u8) -> Extension {
    let mut rest = vec![0; 7 + usize::from(units) * 4];
    rest[0] = units;
    Extension { number: 51, rest }
}

/// A fragment header: offset in 8-byte units, and whether more follow.
pub fn fragment(offset: u16, more: bool) -> Extension {
    let field = (offset << 3 | u16::from(more)).to_be_bytes();
    Extension { number: 44, rest: vec![0, field[0], field[1], 0, 0, 0, 9] }
}
