//! Frames byte by byte: Ethernet, tags, IPv4, IPv6 with extension headers, UDP, TCP's SYN with data. Every length and checksum is right unless it is
//! set to something else. Written from the RFCs; it must not use nodewall's own parser.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nodewall_testbed::Protocol;

pub(crate) const IPV4: u16 = 0x0800;
pub(crate) const IPV6: u16 = 0x86dd;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;

pub(crate) const fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => TCP,
        Protocol::Udp => UDP,
    }
}

/// RFC 1071.
pub(crate) fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

/// What an upper layer's checksum covers beside the segment itself.
fn pseudo(from: IpAddr, to: IpAddr, next: u8, segment: &[u8]) -> Vec<u8> {
    let bytes = segment.len() as u32;
    let addresses = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => [&from.octets()[..], &to.octets()].concat(),
        (IpAddr::V6(from), IpAddr::V6(to)) => [&from.octets()[..], &to.octets()].concat(),
        mixed => panic!("one packet, two families: {mixed:?}"),
    };
    [&addresses[..], &bytes.to_be_bytes(), &[0, 0, 0, next], segment].concat()
}

/// A UDP datagram, or a SYN with the payload in it.
pub(crate) fn segment(protocol: Protocol, from: (IpAddr, u16), to: (IpAddr, u16), payload: &[u8]) -> Vec<u8> {
    let mut bytes = [from.1.to_be_bytes(), to.1.to_be_bytes()].concat();
    let at = match protocol {
        Protocol::Udp => {
            bytes.extend(((8 + payload.len()) as u16).to_be_bytes());
            bytes.extend([0, 0]);
            6
        }
        Protocol::Tcp => {
            // Sequence, no acknowledgement, 20 bytes of header, SYN, the largest window, no urgent data.
            bytes.extend(u32::from(from.1).rotate_left(16).to_be_bytes());
            bytes.extend([0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0]);
            16
        }
    };
    bytes.extend(payload);
    let sum = checksum(&pseudo(from.0, to.0, number(protocol), &bytes));
    bytes[at..at + 2].copy_from_slice(&if sum == 0 { 0xffff } else { sum }.to_be_bytes());
    bytes
}

pub(crate) fn ethernet(to: [u8; 6], from: [u8; 6], ethertype: u16, packet: &[u8]) -> Vec<u8> {
    [&to[..], &from, &ethertype.to_be_bytes(), packet].concat()
}

/// The frame with these tags (type, control information) in front, the first outermost.
pub(crate) fn tagged(frame: &[u8], tags: &[(u16, u16)]) -> Vec<u8> {
    let (addresses, rest) = frame.split_at(12);
    let tags: Vec<u8> =
        tags.iter().flat_map(|(kind, control)| [kind.to_be_bytes(), control.to_be_bytes()].concat()).collect();
    [addresses, &tags, rest].concat()
}

/// An IPv4 packet.
#[derive(Clone)]
pub(crate) struct V4 {
    pub(crate) from: Ipv4Addr,
    pub(crate) to: Ipv4Addr,
    pub(crate) protocol: u8,
    pub(crate) ttl: u8,
    pub(crate) tos: u8,
    pub(crate) id: u16,
    /// Flags and offset, as the field has them.
    pub(crate) fragment: u16,
    /// Padded to whole words with end-of-options.
    pub(crate) options: Vec<u8>,
    pub(crate) version: u8,
    pub(crate) ihl: Option<u8>,
    pub(crate) total_bytes: Option<usize>,
    /// Added to the right checksum.
    pub(crate) checksum_error: u16,
    pub(crate) payload: Vec<u8>,
}

impl V4 {
    pub(crate) fn new(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, payload: Vec<u8>) -> Self {
        Self {
            from,
            to,
            protocol,
            ttl: 64,
            tos: 0,
            id: 0,
            fragment: 0,
            options: Vec::new(),
            version: 4,
            ihl: None,
            total_bytes: None,
            checksum_error: 0,
            payload,
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut options = self.options.clone();
        options.resize(options.len().next_multiple_of(4), 0);
        let header_bytes = 20 + options.len();
        let total = self.total_bytes.unwrap_or(header_bytes + self.payload.len()) as u16;
        let mut header = vec![self.version << 4 | self.ihl.unwrap_or((header_bytes / 4) as u8), self.tos];
        header.extend(total.to_be_bytes());
        header.extend(self.id.to_be_bytes());
        header.extend(self.fragment.to_be_bytes());
        header.extend([self.ttl, self.protocol, 0, 0]);
        header.extend(self.from.octets());
        header.extend(self.to.octets());
        header.extend(options);
        let sum = checksum(&header).wrapping_add(self.checksum_error);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        [header, self.payload.clone()].concat()
    }

    /// Fragments of the payload: offset in bytes (a multiple of 8), the bytes, whether more follow. In the order given.
    pub(crate) fn fragments(&self, pieces: &[(usize, &[u8], bool)]) -> Vec<Vec<u8>> {
        let piece = |(at, bytes, more): &(usize, &[u8], bool)| {
            let fragment = (at / 8) as u16 | if *more { 0x2000 } else { 0 };
            Self { fragment, payload: bytes.to_vec(), ..self.clone() }.bytes()
        };
        pieces.iter().map(piece).collect()
    }
}

/// An IPv6 packet with a chain of extension headers.
#[derive(Clone)]
pub(crate) struct V6 {
    pub(crate) from: Ipv6Addr,
    pub(crate) to: Ipv6Addr,
    pub(crate) chain: Vec<Extension>,
    pub(crate) next: u8,
    pub(crate) hops: u8,
    /// Traffic class and flow label.
    pub(crate) class_flow: u32,
    pub(crate) version: u8,
    pub(crate) payload_bytes: Option<usize>,
    pub(crate) payload: Vec<u8>,
}

/// An extension header without its first byte, which says what follows it.
#[derive(Clone)]
pub(crate) struct Extension {
    pub(crate) number: u8,
    pub(crate) rest: Vec<u8>,
}

impl V6 {
    pub(crate) fn new(from: Ipv6Addr, to: Ipv6Addr, next: u8, payload: Vec<u8>) -> Self {
        let (chain, class_flow) = (Vec::new(), 0);
        Self { from, to, chain, next, hops: 64, class_flow, version: 6, payload_bytes: None, payload }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut rest = Vec::new();
        for (n, extension) in self.chain.iter().enumerate() {
            rest.push(self.chain.get(n + 1).map_or(self.next, |next| next.number));
            rest.extend(&extension.rest);
        }
        rest.extend(&self.payload);
        let mut bytes = (u32::from(self.version) << 28 | self.class_flow).to_be_bytes().to_vec();
        bytes.extend((self.payload_bytes.unwrap_or(rest.len()) as u16).to_be_bytes());
        bytes.extend([self.chain.first().map_or(self.next, |first| first.number), self.hops]);
        bytes.extend(self.from.octets());
        bytes.extend(self.to.octets());
        bytes.extend(rest);
        bytes
    }

    /// Fragments of what is behind the chain, as [`V4::fragments`].
    pub(crate) fn fragments(&self, id: u32, pieces: &[(usize, &[u8], bool)]) -> Vec<Vec<u8>> {
        let piece = |(at, bytes, more): &(usize, &[u8], bool)| {
            let mut one = self.clone();
            one.chain.push(fragment(*at, *more, id));
            one.payload = bytes.to_vec();
            one.bytes()
        };
        pieces.iter().map(piece).collect()
    }
}

/// Hop-by-hop (0) or destination options (60) of 8 bytes: one `PadN`.
pub(crate) fn options(number: u8) -> Extension {
    Extension { number, rest: vec![0, 1, 4, 0, 0, 0, 0] }
}

/// Options of 8 + `units` * 8 bytes. Linux takes no more than 7 bytes of padding in a row; unknown options that may be skipped are as long as they like.
pub(crate) fn long_options(number: u8, units: u8) -> Extension {
    let mut rest = vec![units];
    let mut left = 6 + usize::from(units) * 8;
    while left > 0 {
        let data = (left - 2).min(255);
        // One byte left could not be an option of its own kind.
        let data = if left - 2 - data == 1 { data - 1 } else { data };
        rest.extend([0x1e, data as u8]);
        rest.extend(vec![0; data]);
        left -= 2 + data;
    }
    Extension { number, rest }
}

/// A fragment header; the offset in bytes.
pub(crate) fn fragment(at: usize, more: bool, id: u32) -> Extension {
    let field = (at as u16 & !7 | u16::from(more)).to_be_bytes();
    Extension { number: 44, rest: [&[0, field[0], field[1]][..], &id.to_be_bytes()].concat() }
}

/// A routing header of this type with these addresses behind 8 bytes.
pub(crate) fn routing(kind: u8, left: u8, addresses: &[Ipv6Addr]) -> Extension {
    let last = if kind == 4 { (addresses.len().max(1) - 1) as u8 } else { 0 };
    let mut rest = vec![addresses.len() as u8 * 2, kind, left, last, 0, 0, 0];
    rest.extend(addresses.iter().flat_map(Ipv6Addr::octets));
    Extension { number: 43, rest }
}

/// An authentication header of 12 bytes plus `words` * 4; its length field counts words minus 2.
pub(crate) fn authentication(words: u8) -> Extension {
    let mut rest = vec![1 + words, 0, 0, 0, 0, 1, 7, 0, 0, 0, 1];
    rest.extend(vec![0; usize::from(words) * 4]);
    Extension { number: 51, rest }
}
