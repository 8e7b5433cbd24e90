//! Below IP: VLAN tags, other ethertypes, frames cut short.

use node_ebpf_common::Reason;

use super::{
    Case, OUTSIDER, OUTSIDER6, On, PEER,
    frames::{IPV4, Ip4, Ip6, TCP, UDP, ethernet, tagged, transport},
};

const C_TAG: u16 = 0x8100;
const S_TAG: u16 = 0x88a8;
const CASSANDRA: On = On::Port("cassandra", TCP, 9042);

pub(crate) fn cases() -> Vec<Case> {
    let outsider = Ip4::new(OUTSIDER, TCP, transport(TCP, 9042)).frame();
    let peer = Ip4::new(PEER, TCP, transport(TCP, 9042)).frame();
    let outsider6 = Ip6::new(OUTSIDER6, UDP, transport(UDP, 9042)).frame();
    let plain = |name, ethertype, reason| Case::new(name, ethernet(ethertype, &[0; 46]), reason, On::Nothing);
    vec![
        Case::new("one tag, outsider", tagged(&[C_TAG], &outsider), Reason::Outsider, CASSANDRA),
        Case::new("one tag, peer", tagged(&[C_TAG], &peer), Reason::Peer, CASSANDRA),
        Case::new("a service tag", tagged(&[S_TAG], &outsider), Reason::Outsider, CASSANDRA),
        Case::new("QinQ", tagged(&[S_TAG, C_TAG], &outsider), Reason::Outsider, CASSANDRA),
        Case::new(
            "two tags, IPv6",
            tagged(&[C_TAG; 2], &outsider6),
            Reason::Outsider,
            On::Port("cassandra", UDP, 9042),
        ),
        Case::new("eight tags, outsider", tagged(&[C_TAG; 8], &outsider), Reason::Outsider, CASSANDRA),
        Case::new("eight tags, peer", tagged(&[S_TAG; 8], &peer), Reason::Peer, CASSANDRA),
        Case::new("nine tags", tagged(&[C_TAG; 9], &peer), Reason::TooManyVlanTags, On::Nothing),
        Case::new("two hundred tags", tagged(&[C_TAG; 200], &outsider), Reason::TooManyVlanTags, On::Nothing),
        Case::new("a tag and no more", ethernet(C_TAG, &[0, 7]), Reason::ShortFrame, On::Nothing),
        Case::new("a tag around ARP", ethernet(C_TAG, &[0, 7, 8, 6, 0, 1]), Reason::NonIp, On::Nothing),
        plain("ARP", 0x0806, Reason::NonIp),
        plain("LLDP", 0x88cc, Reason::NonIp),
        plain("LLC, a length for a type", 46, Reason::NonIp),
        plain("the obsolete QinQ type", 0x9100, Reason::NonIp),
        plain("PPPoE session", 0x8864, Reason::Encapsulated),
        plain("MPLS", 0x8847, Reason::Encapsulated),
        plain("MPLS multicast", 0x8848, Reason::Encapsulated),
        plain("MACsec", 0x88e5, Reason::Encapsulated),
        Case::new("nothing at all", vec![], Reason::ShortFrame, On::Nothing),
        Case::new("one byte short of an Ethernet header", vec![0; 13], Reason::ShortFrame, On::Nothing),
        Case::new("an Ethernet header alone", ethernet(IPV4, &[]), Reason::MalformedIpv4, On::Nothing),
        Case::new("all zero bytes", vec![0; 60], Reason::NonIp, On::Nothing),
    ]
    .into_iter()
    .chain(looped_back())
    .collect()
}

/// Without an Ethernet header: the node's own multicast as the kernel gives it back. Where an `EtherType` would be are bytes of the sender's address.
fn looped_back() -> Vec<Case> {
    let to = |mut packet: Vec<u8>, at: usize, destination: &[u8]| {
        packet[at..at + destination.len()].copy_from_slice(destination);
        packet
    };
    let v4 =
        |source: &str, destination: [u8; 4]| to(Ip4::new(source, UDP, transport(UDP, 9042)).packet(), 16, &destination);
    let v6 =
        |source: &str, destination: u8| to(Ip6::new(source, UDP, transport(UDP, 9042)).packet(), 24, &[destination]);
    let group = [239, 1, 1, 1];
    let own = |name, packet| Case::new(name, packet, Reason::OwnMulticast, On::Nothing);
    let with = |name, packet: Vec<u8>, reason| Case::new(name, [packet, vec![0]].concat(), reason, On::Nothing);
    vec![
        own("own multicast from 10.9.1.1", v4("10.9.1.1", group)),
        own("own multicast from 8.0.1.1", v4("8.0.1.1", group)),
        own("own multicast from 134.221.1.1", v4("134.221.1.1", group)),
        own("own multicast from 129.0.1.1", v4("129.0.1.1", group)),
        own("own multicast from 136.71.1.1", v4("136.71.1.1", group)),
        own("own broadcast from 8.0.1.1", v4("8.0.1.1", [8, 0, 1, 255])),
        own("own multicast from 2001:db8:800::1", v6("2001:db8:800::1", 0xff)),
        own("own multicast from 2001:db8:86dd::1", v6("2001:db8:86dd::1", 0xff)),
        with("own multicast and a byte more", v4("8.0.1.1", group), Reason::MalformedIpv4),
        with("own IPv6 multicast and a byte more", v6("2001:db8:86dd::1", 0xff), Reason::MalformedIpv6),
        Case::new(
            "IPv6 without an Ethernet header to one host",
            v6("2001:db8:86dd::1", 0x20),
            Reason::MalformedIpv6,
            On::Nothing,
        ),
    ]
}
