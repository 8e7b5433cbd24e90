//! Frames and capture files for the replay tests, byte by byte. It must not know any verdict.

use std::net::IpAddr;

/// Protocol numbers.
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;

/// Two addresses, an `EtherType`, a payload.
pub(crate) fn ethernet(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2][..], &ether_type.to_be_bytes(), payload].concat()
}

/// A transport header of 20 bytes with a port, and `payload_bytes` zeros behind it.
pub(crate) fn transport(port: u16, payload_bytes: usize) -> Vec<u8> {
    let mut bytes = vec![0; 20 + payload_bytes];
    bytes[0..2].copy_from_slice(&40_000u16.to_be_bytes());
    bytes[2..4].copy_from_slice(&port.to_be_bytes());
    bytes[12] = 0x50;
    bytes
}

/// An IPv4 packet; `options` is a multiple of four long, `fragment` is the field of flags and offset.
pub(crate) fn ipv4(source: [u8; 4], protocol: u8, fragment: u16, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let header = 20 + options.len();
    let total = u16::try_from(header + payload.len()).unwrap();
    let mut packet = vec![0x40 | u8::try_from(header / 4).unwrap(), 0];
    packet.extend(total.to_be_bytes());
    packet.extend([0, 1]);
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0]);
    packet.extend(source);
    packet.extend([10, 0, 0, 1]);
    packet.extend(options);
    packet.extend(payload);
    packet
}

/// An IPv6 packet whose payload begins with a header of type `next`.
pub(crate) fn ipv6(source: [u8; 16], next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
    packet.extend([next, 64]);
    packet.extend(source);
    packet.extend([0; 15]);
    packet.push(1);
    packet.extend(payload);
    packet
}

/// A frame from an address to a port.
pub(crate) fn plain(source: IpAddr, protocol: u8, port: u16) -> Vec<u8> {
    match source {
        IpAddr::V4(source) => ethernet(0x0800, &ipv4(source.octets(), protocol, 0, &[], &transport(port, 0))),
        IpAddr::V6(source) => ethernet(0x86dd, &ipv6(source.octets(), protocol, &transport(port, 0))),
    }
}

/// A TCP frame from an address to a port.
pub(crate) fn tcp(source: &str, port: u16) -> Vec<u8> {
    plain(source.parse().unwrap(), TCP, port)
}

/// Frames of every kind that the walk over the headers knows, and some that nobody knows: cut, changed and invented ones.
pub(crate) fn of_every_kind() -> Vec<Vec<u8>> {
    let (peer, outsider) = ([10, 0, 0, 11], [192, 0, 2, 66]);
    let peer6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
    let outsider6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0x66, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
    let mut frames = Vec::new();
    for port in [22, 443, 5700, 5701, 5711, 5712, 7000, 7199, 7215, 8022, 8443, 9042, 9300] {
        for protocol in [TCP, UDP] {
            for source in [peer, outsider] {
                frames.push(ethernet(0x0800, &ipv4(source, protocol, 0, &[], &transport(port, 0))));
            }
            for source in [peer6, outsider6] {
                frames.push(ethernet(0x86dd, &ipv6(source, protocol, &transport(port, 0))));
            }
        }
    }
    let cassandra = transport(9042, 0);
    let v4 = ipv4(outsider, TCP, 0, &[], &cassandra);
    // VLAN tags: one, two, a service tag, more than anyone reads.
    for tags in [1, 2, 8, 9] {
        let tagged = [[0, 5, 0x81, 0].repeat(tags - 1), vec![0, 5, 8, 0], v4.clone()].concat();
        frames.push(ethernet(0x8100, &tagged));
        frames.push(ethernet(0x88a8, &tagged));
    }
    // IPv4 options, fragments (first, tiny first, later), sources that can not be.
    for options in [vec![1; 4], vec![1; 40]] {
        frames.push(ethernet(0x0800, &ipv4(outsider, TCP, 0, &options, &cassandra)));
    }
    frames.push(ethernet(0x0800, &ipv4(outsider, TCP, 0x2000, &[], &cassandra)));
    frames.push(ethernet(0x0800, &ipv4(outsider, UDP, 0x2000, &[], &cassandra[..2])));
    frames.push(ethernet(0x0800, &ipv4(outsider, UDP, 0x0005, &[], &cassandra)));
    for source in [[127, 0, 0, 1], [0; 4], [255; 4], [224, 0, 0, 5]] {
        frames.push(ethernet(0x0800, &ipv4(source, TCP, 0, &[], &cassandra)));
    }
    // IPv6 extension headers: each alone, chains, a fragment header, IPv4-mapped.
    for header in [0, 43, 60, 135, 139, 140] {
        frames
            .push(ethernet(0x86dd, &ipv6(outsider6, header, &[&[TCP, 0, 0, 0, 0, 0, 0, 0][..], &cassandra].concat())));
    }
    for length in [2, 8, 9, 12] {
        let mut chain = [60, 0, 0, 0, 0, 0, 0, 0].repeat(length);
        let last = chain.len() - 8;
        chain[last] = TCP;
        frames.push(ethernet(0x86dd, &ipv6(outsider6, 60, &[chain, cassandra.clone()].concat())));
    }
    for offset in [[0, 1], [0, 8], [0, 0]] {
        let fragment = [&[UDP, 0][..], &offset, &[0, 0, 0, 9], &cassandra].concat();
        frames.push(ethernet(0x86dd, &ipv6(outsider6, 44, &fragment)));
    }
    let mapped = [[0; 10].as_slice(), &[0xff, 0xff], &peer].concat().try_into().unwrap();
    frames.push(ethernet(0x86dd, &ipv6(mapped, TCP, &cassandra)));
    // Without ports: ICMP, IGMP, SCTP, ESP, tunnels, no next header.
    for protocol in [1, 2, 4, 41, 47, 50, 51, 58, 59, 112, 115, 132, 255] {
        frames.push(ethernet(0x0800, &ipv4(outsider, protocol, 0, &[], &cassandra)));
        frames.push(ethernet(0x0800, &ipv4(peer, protocol, 0, &[], &cassandra)));
        frames.push(ethernet(0x86dd, &ipv6(outsider6, protocol, &cassandra)));
    }
    // VXLAN and Geneve.
    for port in [4789, 6081] {
        frames.push(ethernet(0x0800, &ipv4(outsider, UDP, 0, &[], &transport(port, 50))));
    }
    // Not IP, or IP within something: ARP, LLDP, MPLS, PPPoE, MACsec, a length instead of a type.
    for ether_type in [0x0806, 0x88cc, 0x8847, 0x8864, 0x88e5, 0x0100, 0xffff] {
        frames.push(ethernet(ether_type, &[0; 46]));
    }
    // Jumbo frames: their ports are in the first buffer, their tail is not.
    for size in [1_460, 3_400, 8_946, 8_960] {
        frames.push(ethernet(0x0800, &ipv4(outsider, TCP, 0, &[], &transport(9042, size))));
        frames.push(ethernet(0x86dd, &ipv6(peer6, UDP, &transport(9042, size))));
    }
    // Every length of one frame, from nothing on.
    let whole = ethernet(0x8100, &[&[0, 5, 8, 0][..], &ipv4(outsider, TCP, 0, &[1; 4], &cassandra)].concat());
    frames.extend((0..=whole.len()).map(|length| whole[..length].to_vec()));
    frames.extend(changed(&frames.clone(), 400));
    frames
}

/// Frames with a few bytes changed or invented, the same at each run.
fn changed(frames: &[Vec<u8>], count: usize) -> Vec<Vec<u8>> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 1).unwrap() % below
    };
    let one = |n: usize| {
        if n.is_multiple_of(8) {
            return (0..random(120)).map(|_| random(256) as u8).collect();
        }
        let mut frame = frames[random(frames.len())].clone();
        for _ in 0..=random(4) {
            if !frame.is_empty() {
                let at = random(frame.len().min(80));
                frame[at] = random(256) as u8;
            }
        }
        frame
    };
    (0..count).map(one).collect()
}

/// A classic pcap file of the frames, by hand: little-endian, nanoseconds, Ethernet.
pub(crate) fn pcap<T: AsRef<[u8]>>(frames: &[T]) -> Vec<u8> {
    let mut file = [0xa1b2_3c4d_u32, 2 | 4 << 16, 0, 0, 256 << 10, 1].map(u32::to_le_bytes).concat();
    for (time, frame) in (0..).zip(frames) {
        let length = frame.as_ref().len() as u32;
        file.extend([0, time, length, length].map(u32::to_le_bytes).concat());
        file.extend(frame.as_ref());
    }
    file
}

/// A pcapng file of the frames, by hand: a section, an interface of this link type, and a packet block each, enhanced and simple in turn.
pub(crate) fn pcapng<T: AsRef<[u8]>>(frames: &[T], link_type: u16) -> Vec<u8> {
    let block = |kind: u32, body: &[u8]| {
        let padded = body.len().next_multiple_of(4);
        let total = u32::try_from(padded + 12).unwrap().to_le_bytes();
        let mut bytes = [&kind.to_le_bytes()[..], &total, body].concat();
        bytes.resize(8 + padded, 0);
        [&bytes[..], &total].concat()
    };
    let mut section = 0x1a2b_3c4du32.to_le_bytes().to_vec();
    section.extend([1, 0, 0, 0]);
    section.extend(u64::MAX.to_le_bytes());
    let mut interface = link_type.to_le_bytes().to_vec();
    interface.extend([0; 2]);
    interface.extend((256u32 << 10).to_le_bytes());
    let mut file = [block(0x0a0d_0d0a, &section), block(1, &interface)].concat();
    for (n, frame) in frames.iter().enumerate() {
        let frame = frame.as_ref();
        let length = u32::try_from(frame.len()).unwrap().to_le_bytes();
        let body =
            if n % 2 == 0 { [&[0; 12][..], &length, &length, frame].concat() } else { [&length, frame].concat() };
        file.extend(block(if n % 2 == 0 { 6 } else { 3 }, &body));
    }
    file
}
