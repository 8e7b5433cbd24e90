//! Frames that no ordinary socket sends, built byte by byte: UDP with any source, tags, IGMP, router advertisements. Lengths and
//! checksums are right, so that a stack would take every one of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nodewall_testbed::Host;

pub const BROADCAST_MAC: [u8; 6] = [0xff; 6];

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const ICMP: u8 = 1;
const IGMP: u8 = 2;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// Who sends a frame to whom on the link.
#[derive(Clone, Copy)]
pub struct Link {
    from: [u8; 6],
    to: [u8; 6],
}

impl Link {
    pub fn between(from: &Host, to: &Host) -> Self {
        Self { from: from.mac(), to: to.mac() }
    }

    pub fn to(self, mac: [u8; 6]) -> Self {
        Self { to: mac, ..self }
    }

    fn frame(self, ethertype: u16, packet: &[u8]) -> Vec<u8> {
        [&self.to[..], &self.from, &ethertype.to_be_bytes(), packet].concat()
    }
}

/// A UDP datagram, each end an address and a port.
pub fn udp(link: Link, from: (IpAddr, u16), to: (IpAddr, u16), payload: &[u8]) -> Vec<u8> {
    let length = (8 + payload.len()) as u16;
    let ports = [from.1.to_be_bytes(), to.1.to_be_bytes(), length.to_be_bytes(), [0, 0]].concat();
    let mut datagram = [ports.as_slice(), payload].concat();
    match (from.0, to.0) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            // No checksum is a right one in IPv4.
            link.frame(IPV4, &ipv4(from, to, UDP, 64, &[], &datagram))
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let sum = checksum(&pseudo_header(from, to, UDP, &datagram));
            datagram[6..8].copy_from_slice(&if sum == 0 { 0xffff } else { sum }.to_be_bytes());
            link.frame(IPV6, &ipv6(from, to, UDP, 64, &datagram))
        }
        mixed => panic!("one datagram, two families: {mixed:?}"),
    }
}

/// A TCP segment in the middle of a stream, whole enough for receive offload: no fragment of it is allowed, and its checksum is right.
pub fn tcp(link: Link, from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), sequence: u32, payload: &[u8]) -> Vec<u8> {
    let mut segment = [from.1.to_be_bytes(), to.1.to_be_bytes()].concat();
    segment.extend(sequence.to_be_bytes());
    segment.extend([0, 0, 0, 1, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend(payload);
    let length = (segment.len() as u16).to_be_bytes();
    let pseudo = [&from.0.octets()[..], &to.0.octets(), &[0, TCP], &length, &segment].concat();
    segment[16..18].copy_from_slice(&checksum(&pseudo).to_be_bytes());
    let mut packet = ipv4(from.0, to.0, TCP, 64, &[], &segment);
    packet[6] = 0x40;
    packet[10..12].copy_from_slice(&[0, 0]);
    let sum = checksum(&packet[..20]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    link.frame(IPV4, &packet)
}

/// A general query of IGMP version 2 from a router, as switches and routers send it every other minute.
pub fn igmp_query(link: Link, from: Ipv4Addr) -> Vec<u8> {
    let mut query = vec![0x11, 100, 0, 0, 0, 0, 0, 0];
    let sum = checksum(&query);
    query[2..4].copy_from_slice(&sum.to_be_bytes());
    let router_alert = [0x94, 4, 0, 0];
    let packet = ipv4(from, Ipv4Addr::new(224, 0, 0, 1), IGMP, 1, &router_alert, &query);
    link.to([1, 0, 0x5e, 0, 0, 1]).frame(IPV4, &packet)
}

/// "Port unreachable" (RFC 792, RFC 4443 section 3.1) about a packet that it quotes, whoever sent that one.
pub fn port_unreachable(link: Link, from: IpAddr, to: IpAddr, quoted: &[u8]) -> Vec<u8> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let mut message = [&[3, 3, 0, 0, 0, 0, 0, 0], quoted].concat();
            let sum = checksum(&message);
            message[2..4].copy_from_slice(&sum.to_be_bytes());
            link.frame(IPV4, &ipv4(from, to, ICMP, 64, &[], &message))
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let mut message = [&[1, 4, 0, 0, 0, 0, 0, 0], quoted].concat();
            let sum = checksum(&pseudo_header(from, to, ICMPV6, &message));
            message[2..4].copy_from_slice(&sum.to_be_bytes());
            link.frame(IPV6, &ipv6(from, to, ICMPV6, 64, &message))
        }
        mixed => panic!("one message, two families: {mixed:?}"),
    }
}

/// A router advertisement to all nodes with one prefix of 64 bits for addresses (RFC 4861, 4.2 and 4.6.2).
pub fn router_advertisement(link: Link, router: Ipv6Addr, prefix: Ipv6Addr) -> Vec<u8> {
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let [lifetime_s, prefix_lifetime_s] = [1800_u16.to_be_bytes(), 3600_u16.to_be_bytes()];
    let mut message = vec![134, 0, 0, 0, 64, 0];
    message.extend(lifetime_s);
    message.extend([0; 8]);
    message.extend([3, 4, 64, 0xc0]);
    for lifetime in [prefix_lifetime_s; 2] {
        message.extend([0, 0]);
        message.extend(lifetime);
    }
    message.extend([0; 4]);
    message.extend(prefix.octets());
    let sum = checksum(&pseudo_header(router, all_nodes, ICMPV6, &message));
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    link.to([0x33, 0x33, 0, 0, 0, 1]).frame(IPV6, &ipv6(router, all_nodes, ICMPV6, 255, &message))
}

fn ipv4(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, hops: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let header_bytes = 20 + options.len();
    let total = ((header_bytes + payload.len()) as u16).to_be_bytes();
    let mut header = vec![0x40 | (header_bytes / 4) as u8, 0, total[0], total[1], 0, 0, 0, 0, hops, protocol, 0, 0];
    header.extend(from.octets());
    header.extend(to.octets());
    header.extend(options);
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    [header.as_slice(), payload].concat()
}

fn ipv6(from: Ipv6Addr, to: Ipv6Addr, next_header: u8, hops: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u16).to_be_bytes();
    let mut packet = vec![0x60, 0, 0, 0, length[0], length[1], next_header, hops];
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(payload);
    packet
}

/// What an upper layer's checksum over IPv6 covers (RFC 8200, 8.1).
fn pseudo_header(from: Ipv6Addr, to: Ipv6Addr, next_header: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&from.octets()[..], &to.octets(), &length, &[0, 0, 0, next_header], payload].concat()
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}
