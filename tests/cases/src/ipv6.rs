//! IPv6: extension headers, fragments, lengths that lie.

use node_ebpf_common::Reason;

use super::{
    Case, OUTSIDER6, On, PEER6, Policy,
    frames::{Extension, IPV6, Ip6, TCP, UDP, authentication, ethernet, fragment, options, transport},
};

const CASSANDRA: On = On::Port("cassandra", TCP, 9042);
const CASSANDRA_UDP: On = On::Port("cassandra", UDP, 9042);
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const DESTINATION: u8 = 60;

fn chain(source: &str, extensions: &[Extension]) -> Vec<u8> {
    Ip6::chain(source, extensions, TCP, transport(TCP, 9042)).frame()
}

fn leak(name: String) -> &'static str {
    Box::leak(name.into_boxed_str())
}

#[allow(clippy::too_many_lines, reason = "a table")]
pub(crate) fn cases() -> Vec<Case> {
    let outsider = Ip6::new(OUTSIDER6, TCP, transport(TCP, 9042));
    let malformed = |name, ip: Ip6| Case::new(name, ip.frame(), Reason::MalformedIpv6, On::Nothing);
    let portless =
        |name, next, reason| Case::new(name, Ip6::new(OUTSIDER6, next, vec![0; 20]).frame(), reason, On::Nothing);
    let first_fragment = |rest: Vec<u8>| Ip6::chain(OUTSIDER6, &[fragment(0, true)], UDP, rest).frame();
    let mut padded = outsider.frame();
    padded.extend([0; 7]);
    let mut cases = vec![
        malformed("version 4 in an IPv6 frame", Ip6 { version: 4, ..outsider.clone() }),
        malformed("payload length beyond the frame", Ip6 { payload_bytes: Some(21), ..outsider.clone() }),
        Case::new("cut in the header", ethernet(IPV6, &outsider.packet()[..39]), Reason::MalformedIpv6, On::Nothing),
        Case::new("padding after the packet is not counted", padded, Reason::Outsider, CASSANDRA).counting(74),
        Case::new(
            "payload length 0",
            Ip6 { payload_bytes: Some(0), ..outsider.clone() }.frame(),
            Reason::NoPorts,
            On::Nothing,
        )
        .counting(54),
        Case::new(
            "three bytes of ports",
            Ip6 { payload_bytes: Some(3), ..outsider.clone() }.frame(),
            Reason::NoPorts,
            On::Nothing,
        )
        .counting(57),
        Case::new(
            "just the ports",
            Ip6::new(OUTSIDER6, TCP, transport(TCP, 9042)[..4].to_vec()).frame(),
            Reason::Outsider,
            CASSANDRA,
        ),
        Case::new("an atomic fragment", chain(OUTSIDER6, &[fragment(0, false)]), Reason::Outsider, CASSANDRA),
        Case::new("an atomic fragment of a peer", chain(PEER6, &[fragment(0, false)]), Reason::Peer, CASSANDRA),
        Case::new("a first fragment", first_fragment(transport(UDP, 9042)), Reason::Outsider, CASSANDRA_UDP),
        Case::new(
            "a first fragment with just the ports",
            first_fragment(transport(UDP, 9042)[..4].to_vec()),
            Reason::Outsider,
            CASSANDRA_UDP,
        ),
        Case::new("a first fragment without the ports", first_fragment(vec![0; 3]), Reason::NoPorts, On::Nothing),
        Case::new("a later fragment", chain(OUTSIDER6, &[fragment(1, true)]), Reason::LaterFragment, On::Nothing),
        Case::new("a last fragment", chain(OUTSIDER6, &[fragment(0x1fff, false)]), Reason::LaterFragment, On::Nothing),
        Case::new(
            "a fragment header behind options",
            chain(OUTSIDER6, &[options(DESTINATION, 1), fragment(0, false), options(DESTINATION, 0)]),
            Reason::Outsider,
            CASSANDRA,
        ),
        Case::new(
            "a fragment header beyond the packet's end",
            Ip6 { payload_bytes: Some(4), ..Ip6::chain(OUTSIDER6, &[fragment(9, true)], TCP, transport(TCP, 9042)) }
                .frame(),
            Reason::ExtensionChain,
            On::Nothing,
        )
        .counting(58),
        Case::new(
            "authentication header, 4-byte units",
            chain(OUTSIDER6, &[authentication(4)]),
            Reason::Outsider,
            CASSANDRA,
        ),
        Case::new("authentication header of odd length", chain(PEER6, &[authentication(1)]), Reason::Peer, CASSANDRA),
        Case::new(
            "the longest option header",
            chain(OUTSIDER6, &[options(DESTINATION, 255)]),
            Reason::Outsider,
            CASSANDRA,
        ),
        Case::new(
            "an option header that reaches beyond the packet",
            Ip6::new(OUTSIDER6, DESTINATION, [vec![TCP, 200], vec![0; 30]].concat()).frame(),
            Reason::ExtensionChain,
            On::Nothing,
        ),
        Case::new(
            "an option header cut after a byte",
            Ip6::new(OUTSIDER6, HOP_BY_HOP, vec![TCP]).frame(),
            Reason::ExtensionChain,
            On::Nothing,
        ),
        Case::new(
            "an option header of nothing",
            Ip6::new(OUTSIDER6, ROUTING, vec![]).frame(),
            Reason::ExtensionChain,
            On::Nothing,
        ),
        Case::new(
            "an extension header that ends with the packet",
            Ip6::chain(OUTSIDER6, &[options(DESTINATION, 0)], 59, vec![]).frame(),
            Reason::OtherProtocol,
            On::Nothing,
        ),
        portless("ICMPv6", 58, Reason::Icmp),
        portless("no next header", 59, Reason::OtherProtocol),
        portless("SCTP", 132, Reason::OtherProtocol),
        portless("ESP", 50, Reason::Encapsulated),
        Case::new(
            "ICMPv6 behind hop-by-hop (MLD)",
            Ip6::chain("::", &[options(HOP_BY_HOP, 0)], 58, vec![143, 0, 0, 0, 0, 0, 0, 0]).frame(),
            Reason::Icmp,
            On::Nothing,
        ),
        Case::new(
            "a tunnel from an outsider",
            Ip6::new(OUTSIDER6, 41, outsider.packet()).frame(),
            Reason::TunnelOutsider,
            On::Tunnel,
        ),
        Case::new("a tunnel from a peer", Ip6::new(PEER6, 47, vec![0; 8]).frame(), Reason::Peer, On::Tunnel),
        Case::new(
            "a tunnel behind an option header",
            Ip6::chain(OUTSIDER6, &[options(DESTINATION, 0)], 4, vec![0; 20]).frame(),
            Reason::TunnelOutsider,
            On::Tunnel,
        ),
    ];
    for (name, source, reason) in [
        ("fragments from peers only: an IPv6 peer's", PEER6, Reason::Peer),
        ("fragments from peers only: an IPv6 outsider's", OUTSIDER6, Reason::FragmentOutsider),
    ] {
        cases.push(Case::new(name, chain(source, &[fragment(3, true)]), reason, On::Fragments).under(Policy::Rules));
    }
    for number in [HOP_BY_HOP, ROUTING, DESTINATION, 135, 139, 140] {
        cases.push(Case::new(
            leak(format!("extension header {number}")),
            chain(OUTSIDER6, &[options(number, 0)]),
            Reason::Outsider,
            CASSANDRA,
        ));
    }
    for length in [2, 7, 8] {
        let headers = vec![options(DESTINATION, 0); length];
        cases.push(Case::new(
            leak(format!("{length} extension headers, outsider")),
            chain(OUTSIDER6, &headers),
            Reason::Outsider,
            CASSANDRA,
        ));
        cases.push(Case::new(
            leak(format!("{length} extension headers, peer")),
            chain(PEER6, &headers),
            Reason::Peer,
            CASSANDRA,
        ));
    }
    for length in [9, 60] {
        let headers = vec![options(DESTINATION, 0); length];
        cases.push(Case::new(
            leak(format!("{length} extension headers")),
            chain(PEER6, &headers),
            Reason::ExtensionChain,
            On::Nothing,
        ));
    }
    cases
}
