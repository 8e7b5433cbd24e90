//! A plain second opinion: reads the frames that anyone can read by hand (tagged or untagged Ethernet, IPv4 with options, IPv6 without extension
//! headers, no tunnel, no later fragment) and judges them by the policy's own lists, without image, hash or row. Says nothing about other frames.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use node_ebpf_common::Verdict;
use nodewall_policy::{config::{Access, Protocol, Tunnels}, Policy};

/// UDP ports whose payload Linux unpacks as packets: VXLAN, its older Linux default, Geneve.
const TUNNEL_PORTS: [u16; 3] = [4789, 8472, 6081];

/// What a plain frame is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain {
    /// Who sent it.
    pub source: IpAddr,
    /// What it is for.
    pub about: About,
    /// Where the IP packet ends, bytes from the frame's beginning.
    pub end_bytes: usize,
}

/// What a plain frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// A port of TCP or UDP.
    Port(Protocol, u16),
    /// A protocol without ports.
    NoPort,
    /// Neighbour discovery: passes whoever sent it.
    Discovery,
}

/// How many VLAN tags a frame begins with.
pub fn tags(frame: &[u8]) -> usize {
    let is_tag = |chunk: &&[u8]| matches!(chunk, [0x81, 0x00, ..] | [0x88, 0xa8, ..]);
    frame.get(12..).unwrap_or_default().chunks(4).take_while(is_tag).count()
}

/// The plain reading, or `None` where the frame is not plain or not sound.
pub fn read(frame: &[u8]) -> Option<Plain> {
    let tags = tags(frame);
    if tags > 8 {
        return None;
    }
    let start = 14 + 4 * tags;
    let packet = frame.get(start..)?;
    let (source, number, length_bytes, payload_at) = match frame.get(start - 2..start)? {
        [0x08, 0x00] => ipv4(packet)?,
        [0x86, 0xdd] => ipv6(packet)?,
        _ => return None,
    };
    let payload = packet.get(..length_bytes)?.get(payload_at..)?;
    let about = match number {
        6 | 17 => {
            let [_, _, high, low, ..] = *payload else { return None };
            let protocol = if number == 6 { Protocol::Tcp } else { Protocol::Udp };
            About::Port(protocol, u16::from_be_bytes([high, low]))
        }
        4 | 41 | 47 => return None,
        58 if source.is_ipv6() && is_discovery(packet.get(7).copied()?, payload) => About::Discovery,
        0 | 43 | 44 | 51 | 60 | 135 | 139 | 140 if source.is_ipv6() => return None,
        _ => About::NoPort,
    };
    Some(Plain { source, about, end_bytes: start + length_bytes })
}

/// RFC 4861: five types, code 0, never forwarded; the shortest message has 8 bytes.
fn is_discovery(hop_limit: u8, message: &[u8]) -> bool {
    hop_limit == 255 && message.len() >= 8 && (133..138).contains(&message[0]) && message[1] == 0
}

/// Source, protocol, length and where the payload begins.
fn ipv4(packet: &[u8]) -> Option<(IpAddr, u8, usize, usize)> {
    let header: [u8; 20] = packet.get(..20)?.try_into().ok()?;
    let header_bytes = usize::from(header[0] % 16) * 4;
    let length_bytes = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let fragment_offset = u16::from_be_bytes([header[6], header[7]]) % 8192;
    if header[0] / 16 != 4 || header_bytes < 20 || length_bytes < header_bytes || fragment_offset != 0 {
        return None;
    }
    let source = Ipv4Addr::new(header[12], header[13], header[14], header[15]);
    Some((source.into(), header[9], length_bytes, header_bytes))
}

fn ipv6(packet: &[u8]) -> Option<(IpAddr, u8, usize, usize)> {
    let header: [u8; 40] = packet.get(..40)?.try_into().ok()?;
    if header[0] / 16 != 6 {
        return None;
    }
    let payload_bytes = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let source: [u8; 16] = header[8..24].try_into().ok()?;
    Some((Ipv6Addr::from(source).into(), header[6], 40 + payload_bytes, 40))
}

/// What must come of a plain frame under `policy` on a node with the addresses `own`, where `blocked` is blocked.
pub fn verdict(policy: &Policy, own: &[IpAddr], blocked: &[IpNet], plain: &Plain) -> Verdict {
    let genuine = !is_martian(plain.source) && !own.contains(&plain.source);
    let among = |nets: &[IpNet]| genuine && nets.iter().any(|net| net.contains(&plain.source));
    let (protocol, port) = match plain.about {
        About::Discovery => return Verdict::Pass,
        _ if among(blocked) => return Verdict::Drop,
        About::NoPort => return Verdict::Pass,
        About::Port(protocol, port) => (protocol, port),
    };
    let open = match policy.class_of(protocol, port) {
        Some(class) => match class.access {
            Access::Public => true,
            Access::Cluster => among(&policy.peers) || among(&class.also_allow),
            Access::Closed => among(&class.also_allow),
        },
        None if protocol == Protocol::Udp && TUNNEL_PORTS.contains(&port) => {
            policy.tunnels == Tunnels::All || among(&policy.peers)
        }
        None => true,
    };
    if open { Verdict::Pass } else { Verdict::Drop }
}

/// Whether no packet on a wire can have this source.
fn is_martian(source: IpAddr) -> bool {
    match source {
        IpAddr::V4(v4) => v4.octets()[0] == 0 || v4.is_loopback() || v4.is_multicast() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unspecified() || v6.is_loopback() || v6.is_multicast() || v6.to_ipv4_mapped().is_some(),
    }
}
