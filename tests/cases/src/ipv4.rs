//! IPv4: options, lengths that lie, fragments, other protocols, sizes.

use node_ebpf_common::Reason;

use super::{
    Case, OUTSIDER, On, PEER, Policy,
    frames::{Ip4, TCP, UDP, ethernet, transport},
};

const CASSANDRA: On = On::Port("cassandra", TCP, 9042);
const CASSANDRA_UDP: On = On::Port("cassandra", UDP, 9042);

fn to(source: &str, protocol: u8, port: u16) -> Ip4 {
    Ip4::new(source, protocol, transport(protocol, port))
}

#[allow(clippy::too_many_lines, reason = "a table")]
pub fn cases() -> Vec<Case> {
    let outsider = to(OUTSIDER, TCP, 9042);
    let malformed = |name, ip: Ip4| Case::new(name, ip.frame(), Reason::MalformedIpv4, On::Nothing);
    let portless = |name, protocol, reason| {
        Case::new(name, Ip4::new(OUTSIDER, protocol, vec![0; 20]).frame(), reason, On::Nothing)
    };
    let mut padded = outsider.frame();
    padded.resize(60, 0);
    let mut cases = vec![
        Case::new("one option word", Ip4 { header_words: 6, ..outsider.clone() }.frame(), Reason::Outsider, CASSANDRA),
        Case::new(
            "the longest options",
            Ip4 { header_words: 15, ..outsider.clone() }.frame(),
            Reason::Outsider,
            CASSANDRA,
        ),
        Case::new(
            "the longest options, a peer",
            Ip4 { header_words: 15, ..to(PEER, TCP, 9042) }.frame(),
            Reason::Peer,
            CASSANDRA,
        ),
        malformed("header length 4 words", Ip4 { header_words: 4, ..outsider.clone() }),
        malformed("header length 0", Ip4 { header_words: 0, ..outsider.clone() }),
        malformed("version 6 in an IPv4 frame", Ip4 { version: 6, ..outsider.clone() }),
        malformed("version 0", Ip4 { version: 0, ..outsider.clone() }),
        malformed("total length below the header", Ip4 { total_bytes: Some(19), ..outsider.clone() }),
        malformed("total length 0 in a small frame", Ip4 { total_bytes: Some(0), ..outsider.clone() }),
        malformed("total length beyond the frame", Ip4 { total_bytes: Some(41), ..outsider.clone() }),
        malformed("total length beyond the frame, a peer", Ip4 { total_bytes: Some(1500), ..to(PEER, TCP, 9042) }),
        malformed(
            "options beyond the total length",
            Ip4 { header_words: 15, total_bytes: Some(56), ..outsider.clone() },
        ),
        Case::new("padding after the packet is not counted", padded, Reason::Outsider, CASSANDRA).counting(54),
        Case::new(
            "ports beyond the total length",
            Ip4 { total_bytes: Some(20), ..outsider.clone() }.frame(),
            Reason::NoPorts,
            On::Nothing,
        )
        .counting(34),
        Case::new(
            "three bytes of ports",
            Ip4 { total_bytes: Some(23), ..outsider.clone() }.frame(),
            Reason::NoPorts,
            On::Nothing,
        )
        .counting(37),
        Case::new("no bytes after the header", Ip4::new(PEER, TCP, vec![]).frame(), Reason::NoPorts, On::Nothing),
        Case::new(
            "just the ports",
            Ip4 { payload: transport(TCP, 9042)[..4].to_vec(), ..outsider.clone() }.frame(),
            Reason::Outsider,
            CASSANDRA,
        ),
        Case::new(
            "do not fragment",
            Ip4 { flags_offset: 0x4000, ..outsider.clone() }.frame(),
            Reason::Outsider,
            CASSANDRA,
        ),
        Case::new(
            "the reserved flag",
            Ip4 { flags_offset: 0x8000, ..outsider.clone() }.frame(),
            Reason::Outsider,
            CASSANDRA,
        ),
        Case::new(
            "a first fragment",
            Ip4 { flags_offset: 0x2000, ..outsider.clone() }.frame(),
            Reason::Outsider,
            CASSANDRA,
        ),
        Case::new(
            "a first fragment of a peer",
            Ip4 { flags_offset: 0x2000, ..to(PEER, UDP, 9042) }.frame(),
            Reason::Peer,
            CASSANDRA_UDP,
        ),
        Case::new(
            "a first fragment with just the ports",
            Ip4 { flags_offset: 0x2000, payload: transport(UDP, 9042)[..4].to_vec(), ..to(OUTSIDER, UDP, 9042) }
                .frame(),
            Reason::Outsider,
            CASSANDRA_UDP,
        ),
        Case::new(
            "a first fragment without the ports",
            Ip4 { flags_offset: 0x2000, payload: vec![0; 3], ..outsider.clone() }.frame(),
            Reason::NoPorts,
            On::Nothing,
        ),
        Case::new(
            "a later fragment",
            Ip4 { flags_offset: 0x2001, ..outsider.clone() }.frame(),
            Reason::LaterFragment,
            On::Nothing,
        ),
        Case::new(
            "the last fragment",
            Ip4 { flags_offset: 0x1fff, ..outsider.clone() }.frame(),
            Reason::LaterFragment,
            On::Nothing,
        ),
        Case::new(
            "a later fragment that looks like ports",
            Ip4 { flags_offset: 1, ..to(OUTSIDER, UDP, 9042) }.frame(),
            Reason::LaterFragment,
            On::Nothing,
        ),
        portless("ICMP", 1, Reason::Icmp),
        portless("IGMP", 2, Reason::OtherProtocol),
        portless("SCTP", 132, Reason::OtherProtocol),
        portless("DCCP", 33, Reason::OtherProtocol),
        portless("UDP-Lite", 136, Reason::OtherProtocol),
        portless("VRRP", 112, Reason::OtherProtocol),
        portless("ESP", 50, Reason::Encapsulated),
        portless("AH", 51, Reason::Encapsulated),
        portless("L2TP over IP", 115, Reason::Encapsulated),
        Case::new(
            "cut in the header",
            ethernet(super::frames::IPV4, &outsider.packet()[..19]),
            Reason::MalformedIpv4,
            On::Nothing,
        ),
    ];
    let later = |source| Ip4 { flags_offset: 0x2001, ..to(source, UDP, 9042) }.frame();
    for (name, frame, reason) in [
        ("fragments from peers only: a peer's", later(PEER), Reason::Peer),
        ("fragments from peers only: an outsider's", later(OUTSIDER), Reason::FragmentOutsider),
        ("fragments from peers only: a martian source", later("127.0.0.1"), Reason::SpoofedSource),
    ] {
        cases.push(Case::new(name, frame, reason, On::Fragments).under(Policy::Rules));
    }
    for (name, protocol) in [("IPIP", 4), ("6in4", 41), ("GRE", 47)] {
        let inner = to(PEER, TCP, 9042).packet();
        let leak = |who: &str| -> &'static str { Box::leak(format!("{name} from {who}").into_boxed_str()) };
        cases.push(Case::new(
            leak("an outsider"),
            Ip4::new(OUTSIDER, protocol, inner.clone()).frame(),
            Reason::TunnelOutsider,
            On::Tunnel,
        ));
        cases.push(Case::new(
            leak("a peer"),
            Ip4::new(PEER, protocol, inner.clone()).frame(),
            Reason::Peer,
            On::Tunnel,
        ));
        cases.push(
            Case::new(
                leak("an outsider, audit"),
                Ip4::new(OUTSIDER, protocol, inner).frame(),
                Reason::TunnelOutsider,
                On::Tunnel,
            )
            .under(Policy::Audit),
        );
    }
    for port in [4789, 8472, 6081] {
        let name: &'static str = Box::leak(format!("UDP tunnel port {port} from an outsider").into_boxed_str());
        cases.push(Case::new(
            name,
            to(OUTSIDER, UDP, port).frame(),
            Reason::TunnelOutsider,
            On::Port("tunnel", UDP, port),
        ));
    }
    for size in [64, 576, 1500, 3000] {
        let mut payload = transport(UDP, 9042);
        payload.resize(size - 34, 0);
        let name: &'static str = Box::leak(format!("an outsider's frame of {size} bytes").into_boxed_str());
        cases.push(Case::new(name, Ip4::new(OUTSIDER, UDP, payload).frame(), Reason::Outsider, CASSANDRA_UDP));
    }
    cases
}

/// Frames that need more than one buffer; only for programs that take them.
pub fn jumbo() -> Vec<Case> {
    let frame = |source: &str, size: usize| {
        let mut payload = transport(UDP, 9042);
        payload.resize(size - 34, 0);
        Ip4::new(source, UDP, payload).frame()
    };
    let longer =
        Ip4 { total_bytes: Some(9_001), ..Ip4::new(PEER, UDP, [transport(UDP, 9042), vec![0; 8_900]].concat()) };
    vec![
        Case::new("a jumbo frame of an outsider", frame(OUTSIDER, 9_014), Reason::Outsider, CASSANDRA_UDP),
        Case::new("a jumbo frame of a peer", frame(PEER, 9_014), Reason::Peer, CASSANDRA_UDP),
        Case::new("the largest IPv4 packet", frame(OUTSIDER, 65_549), Reason::Outsider, CASSANDRA_UDP),
        // What is counted for an unsound packet is the first buffer, which only the kernel knows; see `kernel.rs`.
        Case::new("a jumbo frame with a length that lies", longer.frame(), Reason::MalformedIpv4, On::Nothing)
            .counting(0),
    ]
}
