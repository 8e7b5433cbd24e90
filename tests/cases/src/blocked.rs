//! Blocked sources: nothing of theirs passes, to whatever port or without one, but what is not IP and neighbour discovery. Who is not blocked is judged
//! as without blocks. The blocks are [`super::BLOCKED`].

use node_ebpf_common::Reason;

use super::{
    Case, OUTSIDER, OUTSIDER6, OWN, OWN6, On, PEER, PEER6, PREFIX_PEER, Policy,
    frames::{Extension, Ip4, Ip6, TCP, UDP, ethernet, fragment, options, tagged, transport},
};

/// Blocked by its address.
const ONE: &str = "203.0.113.5";
const ONE6: &str = "2001:db8:bad::5";
/// Blocked by a prefix alone.
const AMONG: &str = "172.16.254.3";
const AMONG6: &str = "2001:db8:b:7::3";
/// In a peer's prefix, blocked by a longer one.
const INSIDE_PEER: &str = "10.9.200.4";
const INSIDE_PEER6: &str = "2001:db8:9:bad::4";

const CASSANDRA: On = On::Port("cassandra", TCP, 9042);
const CASSANDRA_UDP: On = On::Port("cassandra", UDP, 9042);
const HTTPS: On = On::Port("https", TCP, 443);

const ICMPV6: u8 = 58;
/// Router solicitation, router advertisement, neighbour solicitation, neighbour advertisement, redirect.
const DISCOVERY: [u8; 5] = [133, 134, 135, 136, 137];

fn v4(source: &str, protocol: u8, port: u16) -> Vec<u8> {
    Ip4::new(source, protocol, transport(protocol, port)).frame()
}

fn v6(source: &str, protocol: u8, port: u16) -> Vec<u8> {
    Ip6::new(source, protocol, transport(protocol, port)).frame()
}

fn icmpv6(source: &str, kind: u8, code: u8, hop_limit: u8) -> Ip6 {
    Ip6 { hop_limit, ..Ip6::new(source, ICMPV6, [vec![kind, code, 0, 0, 0, 0, 0, 0], vec![0; 16]].concat()) }
}

fn behind(source: &str, header: Extension, kind: u8) -> Vec<u8> {
    let message = icmpv6(source, kind, 0, 255).payload;
    Ip6 { hop_limit: 255, ..Ip6::chain(source, &[header], ICMPV6, message) }.frame()
}

fn leak(name: String) -> &'static str {
    Box::leak(name.into_boxed_str())
}

pub(crate) fn cases() -> Vec<Case> {
    let groups = [to_ports(), without_ports(), discovery(), not_blocked()];
    let mut cases: Vec<Case> = groups.into_iter().flatten().map(|case| case.under(Policy::Blocks)).collect();
    cases.extend(with_own_rules());
    cases
}

fn to_ports() -> Vec<Case> {
    let blocked = |name, frame, on| Case::new(name, frame, Reason::BlockedSource, on);
    let mut cases = vec![
        blocked("blocked: a peer to a cluster port", v4(PEER, TCP, 9042), CASSANDRA),
        blocked("blocked: an IPv6 peer to a cluster port", v6(PEER6, UDP, 9042), CASSANDRA_UDP),
        blocked("blocked: inside a peer's prefix", v4(INSIDE_PEER, TCP, 9042), CASSANDRA),
        blocked("blocked: inside an IPv6 peer's prefix", v6(INSIDE_PEER6, TCP, 9042), CASSANDRA),
        blocked("blocked: a peer to the public port", v4(PEER, TCP, 443), HTTPS),
        blocked("blocked: behind a tag", tagged(&[0x8100], &v4(AMONG, TCP, 443)), HTTPS),
        blocked("blocked: behind three tags", tagged(&[0x88a8, 0x8100, 0x8100], &v6(AMONG6, TCP, 443)), HTTPS),
        blocked(
            "blocked: with IPv4 options",
            Ip4 { header_words: 9, ..Ip4::new(AMONG, TCP, transport(TCP, 443)) }.frame(),
            HTTPS,
        ),
        blocked(
            "blocked: a first fragment",
            Ip4 { flags_offset: 0x2000, ..Ip4::new(ONE, UDP, transport(UDP, 53)) }.frame(),
            On::Udp,
        ),
        blocked(
            "blocked: behind an option header",
            Ip6::chain(ONE6, &[options(60, 0)], TCP, transport(TCP, 22)).frame(),
            On::Tcp,
        ),
        blocked("blocked: VXLAN", v4(AMONG, UDP, 4789), On::Port("tunnel", UDP, 4789)),
        blocked("blocked: IPIP", Ip4::new(AMONG, 4, vec![0; 20]).frame(), On::Tunnel),
        blocked("blocked: a peer's GRE", Ip6::new(PEER6, 47, vec![0; 8]).frame(), On::Tunnel),
    ];
    for (who, four, six) in [("by its address", ONE, ONE6), ("by a prefix", AMONG, AMONG6)] {
        for (protocol, port, on) in [
            (TCP, 9042, CASSANDRA),
            (UDP, 9042, CASSANDRA_UDP),
            (TCP, 443, HTTPS),
            (TCP, 22, On::Tcp),
            (UDP, 53, On::Udp),
        ] {
            cases.push(blocked(leak(format!("blocked {who}: {protocol}/{port}")), v4(four, protocol, port), on));
            cases.push(blocked(leak(format!("blocked {who}: {protocol}/{port}")), v6(six, protocol, port), on));
        }
    }
    cases
}

fn without_ports() -> Vec<Case> {
    let blocked = |name, frame| Case::new(name, frame, Reason::BlockedSource, On::Nothing);
    let echo = Ip4::new(ONE, 1, vec![8, 0, 0, 0, 0, 1, 0, 1]);
    let mut padded = echo.frame();
    padded.resize(60, 0);
    let mut cases = vec![
        blocked("blocked: ICMP behind a tag", tagged(&[0x8100], &echo.frame())),
        blocked("blocked: a peer's ICMP", Ip4::new(PEER, 1, vec![8, 0, 0, 0, 0, 1, 0, 1]).frame()),
        blocked("blocked: ICMP of no bytes", Ip4::new(AMONG, 1, vec![]).frame()),
        blocked("blocked: padding after the packet is not counted", padded).counting(42),
        blocked(
            "blocked: a later fragment",
            Ip4 { flags_offset: 0x2001, ..Ip4::new(AMONG, UDP, transport(UDP, 9042)) }.frame(),
        ),
        blocked(
            "blocked: a later IPv6 fragment",
            Ip6::chain(AMONG6, &[fragment(3, true)], UDP, transport(UDP, 9042)).frame(),
        ),
        blocked("blocked: an echo by IPv6", icmpv6(AMONG6, 128, 0, 64).frame()),
        blocked(
            "blocked: IPv4 that calls itself ICMPv6",
            Ip4::new(ONE, ICMPV6, icmpv6(ONE6, 135, 0, 255).payload).frame(),
        ),
    ];
    for (name, protocol) in [("IGMP", 2), ("ESP", 50), ("AH", 51), ("VRRP", 112), ("L2TP over IP", 115), ("SCTP", 132)]
    {
        cases.push(blocked(
            leak(format!("blocked by its address: {name}")),
            Ip4::new(ONE, protocol, vec![0; 20]).frame(),
        ));
        cases.push(blocked(
            leak(format!("blocked by a prefix: {name}")),
            Ip4::new(AMONG, protocol, vec![0; 20]).frame(),
        ));
    }
    for (name, protocol) in [("ESP", 50), ("no next header", 59), ("L2TP over IP", 115), ("SCTP", 132)] {
        cases.push(blocked(
            leak(format!("blocked by its address: {name}")),
            Ip6::new(ONE6, protocol, vec![0; 20]).frame(),
        ));
        cases.push(blocked(
            leak(format!("blocked by a prefix: {name}")),
            Ip6::new(AMONG6, protocol, vec![0; 20]).frame(),
        ));
    }
    cases
}

fn discovery() -> Vec<Case> {
    let blocked = |name, frame| Case::new(name, frame, Reason::BlockedSource, On::Nothing);
    let passes = |name, frame, reason| Case::new(name, frame, reason, On::Nothing);
    let solicitation = icmpv6(AMONG6, 135, 0, 255);
    let mut cases = vec![
        // What a blocked neighbour's hardware address is asked by.
        passes("blocked, but ARP", ethernet(0x0806, &[0; 46]), Reason::NonIp),
        passes("blocked, but discovery behind a tag", tagged(&[0x8100], &solicitation.frame()), Reason::Icmp),
        passes("blocked, but discovery of a peer", icmpv6(PEER6, 136, 0, 255).frame(), Reason::Icmp),
        passes(
            "blocked, but discovery of 8 bytes",
            Ip6 { payload: vec![133, 0, 0, 0, 0, 0, 0, 0], ..icmpv6(ONE6, 133, 0, 255) }.frame(),
            Reason::Icmp,
        ),
        blocked(
            "blocked: discovery cut to 7 bytes",
            Ip6 { payload: vec![133, 0, 0, 0, 0, 0, 0], ..icmpv6(ONE6, 133, 0, 255) }.frame(),
        ),
        blocked("blocked: discovery in the padding", Ip6 { payload_bytes: Some(7), ..solicitation.clone() }.frame())
            .counting(61),
        blocked("blocked: discovery with a code", icmpv6(ONE6, 135, 1, 255).frame()),
        blocked("blocked: the type below discovery", icmpv6(ONE6, 132, 0, 255).frame()),
        blocked("blocked: the type above discovery", icmpv6(ONE6, 138, 0, 255).frame()),
        blocked("blocked: an echo from this link", icmpv6(ONE6, 128, 0, 255).frame()),
        blocked("blocked: discovery in an atomic fragment", behind(ONE6, fragment(0, false), 135)),
        blocked("blocked: discovery in a first fragment", behind(ONE6, fragment(0, true), 135)),
        blocked("blocked: discovery behind an option header", behind(AMONG6, options(60, 0), 136)),
        blocked("blocked: what looks like discovery in another protocol", Ip6 { next: 132, ..solicitation }.frame()),
    ];
    for kind in DISCOVERY {
        cases.push(passes(
            leak(format!("blocked, but discovery: type {kind}")),
            icmpv6(ONE6, kind, 0, 255).frame(),
            Reason::Icmp,
        ));
        for hop_limit in [254, 64] {
            let name = leak(format!("blocked: type {kind} with hop limit {hop_limit}"));
            cases.push(blocked(name, icmpv6(AMONG6, kind, 0, hop_limit).frame()));
        }
    }
    cases
}

/// As without blocks: neighbours of the blocked, own and martian addresses, and what is no sound packet.
fn not_blocked() -> Vec<Case> {
    let portless = |name, frame, reason| Case::new(name, frame, reason, On::Nothing);
    let later = |source: &str| Ip4 { flags_offset: 0x2001, ..Ip4::new(source, UDP, transport(UDP, 9042)) }.frame();
    vec![
        Case::new("with blocks: the address below a blocked one", v4("203.0.113.4", TCP, 443), Reason::Public, HTTPS),
        Case::new(
            "with blocks: the address above a blocked one",
            v4("203.0.113.6", TCP, 22),
            Reason::Unmanaged,
            On::Tcp,
        ),
        Case::new("with blocks: just below a blocked prefix", v4("172.15.255.255", TCP, 443), Reason::Public, HTTPS),
        Case::new("with blocks: just above a blocked prefix", v4("172.17.0.0", UDP, 53), Reason::Unmanaged, On::Udp),
        Case::new("with blocks: just above it, by IPv6", v6("2001:db8:c::", TCP, 443), Reason::Public, HTTPS),
        Case::new("with blocks: a peer by its prefix", v4(PREFIX_PEER, TCP, 9042), Reason::Peer, CASSANDRA),
        Case::new("with blocks: an IPv6 peer by /48", v6("2001:db8:9:8::1", TCP, 9042), Reason::Peer, CASSANDRA),
        Case::new("with blocks: an outsider", v4(OUTSIDER, TCP, 9042), Reason::Outsider, CASSANDRA),
        Case::new("with blocks: an IPv6 outsider", v6(OUTSIDER6, TCP, 9042), Reason::Outsider, CASSANDRA),
        Case::new(
            "with blocks: IPIP from an outsider",
            Ip4::new(OUTSIDER, 4, vec![0; 20]).frame(),
            Reason::TunnelOutsider,
            On::Tunnel,
        ),
        portless("with blocks: ICMP", Ip4::new(OUTSIDER, 1, vec![8, 0, 0, 0, 0, 0, 0, 0]).frame(), Reason::Icmp),
        portless(
            "with blocks: a peer's ICMP",
            Ip4::new(PREFIX_PEER, 1, vec![8, 0, 0, 0, 0, 0, 0, 0]).frame(),
            Reason::Icmp,
        ),
        portless("with blocks: ICMPv6", icmpv6(OUTSIDER6, 128, 0, 64).frame(), Reason::Icmp),
        portless("with blocks: ESP", Ip4::new(OUTSIDER, 50, vec![0; 20]).frame(), Reason::Encapsulated),
        portless("with blocks: SCTP", Ip6::new(OUTSIDER6, 132, vec![0; 20]).frame(), Reason::OtherProtocol),
        portless("with blocks: a later fragment", later(OUTSIDER), Reason::LaterFragment),
        portless("with blocks: a peer's later fragment", later(PREFIX_PEER), Reason::LaterFragment),
        Case::new("own address in a blocked prefix", v4(OWN, TCP, 9042), Reason::SpoofedSource, CASSANDRA),
        Case::new("own address in a blocked prefix, to the public port", v6(OWN6, TCP, 443), Reason::Public, HTTPS),
        portless("own address in a blocked prefix, ICMP", Ip4::new(OWN, 1, vec![8, 0, 0, 0]).frame(), Reason::Icmp),
        Case::new("a martian source in a blocked prefix", v4("127.0.0.1", TCP, 9042), Reason::SpoofedSource, CASSANDRA),
        Case::new(
            "a martian source in a blocked prefix, unnamed port",
            v4("127.0.0.1", UDP, 53),
            Reason::Unmanaged,
            On::Udp,
        ),
        portless("a martian source in a blocked prefix, ICMP", Ip4::new("127.0.0.1", 1, vec![]).frame(), Reason::Icmp),
        Case::new("a blocked address in IPv6's clothes", v6("::ffff:203.0.113.5", TCP, 443), Reason::Public, HTTPS),
        portless(
            "blocked and malformed",
            Ip4 { total_bytes: Some(19), ..Ip4::new(ONE, 1, vec![]) }.frame(),
            Reason::MalformedIpv4,
        ),
        portless("blocked and without ports", Ip4::new(ONE, TCP, vec![0; 3]).frame(), Reason::NoPorts),
        portless(
            "blocked with an unfinished chain",
            Ip6::new(ONE6, 60, vec![TCP, 200, 0, 0, 0, 0, 0, 0]).frame(),
            Reason::ExtensionChain,
        ),
        portless("PPPoE has no source to read", ethernet(0x8864, &[0; 46]), Reason::Encapsulated),
    ]
}

fn with_own_rules() -> Vec<Case> {
    let later = |source: &str| Ip4 { flags_offset: 0x2001, ..Ip4::new(source, UDP, transport(UDP, 9042)) }.frame();
    [
        ("audit: blocked, the public port", v4(ONE, TCP, 443), Reason::BlockedSource, HTTPS),
        ("audit: blocked, an unnamed port", v6(AMONG6, UDP, 53), Reason::BlockedSource, On::Udp),
        ("audit: blocked, ICMP", Ip4::new(AMONG, 1, vec![8, 0, 0, 0]).frame(), Reason::BlockedSource, On::Nothing),
        ("audit: blocked, but discovery", icmpv6(ONE6, 135, 0, 255).frame(), Reason::Icmp, On::Nothing),
        ("audit: an outsider's ICMP", Ip4::new(OUTSIDER, 1, vec![8, 0, 0, 0]).frame(), Reason::Icmp, On::Nothing),
        ("blocked: a closed port", v4(AMONG, TCP, 9999), Reason::BlockedSource, On::Port("nobody", TCP, 9999)),
        (
            "blocked: inside an allowed prefix",
            v4("198.51.100.200", TCP, 9998),
            Reason::BlockedSource,
            On::Port("only-ops", TCP, 9998),
        ),
        (
            "with blocks: beside it in the allowed prefix",
            v4("198.51.100.201", TCP, 9998),
            Reason::AllowedSource,
            On::Port("only-ops", TCP, 9998),
        ),
        ("blocked: tunnels for all", Ip4::new(AMONG, 47, vec![0; 8]).frame(), Reason::BlockedSource, On::Tunnel),
        ("with blocks: tunnels for all", Ip4::new(OUTSIDER, 47, vec![0; 8]).frame(), Reason::Public, On::Tunnel),
        ("blocked: a peer's later fragment", later(PEER), Reason::BlockedSource, On::Fragments),
        ("with blocks: fragments from peers only, a peer's", later(PREFIX_PEER), Reason::Peer, On::Fragments),
        (
            "with blocks: fragments from peers only, an outsider's",
            later(OUTSIDER),
            Reason::FragmentOutsider,
            On::Fragments,
        ),
    ]
    .into_iter()
    .map(|(name, frame, reason, on)| Case::new(name, frame, reason, on).under(Policy::AuditBlocks))
    .collect()
}
