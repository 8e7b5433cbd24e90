//! The port rule: who reaches which port, under each policy.

use node_ebpf_common::Reason;

use super::{
    Case, OUTSIDER, OUTSIDER6, OWN, OWN6, On, PEER, PEER6, PREFIX_PEER, Policy,
    frames::{Ip4, Ip6, TCP, UDP, transport},
};

fn v4(source: &str, protocol: u8, port: u16) -> Vec<u8> {
    Ip4::new(source, protocol, transport(protocol, port)).frame()
}

fn v6(source: &str, protocol: u8, port: u16) -> Vec<u8> {
    Ip6::new(source, protocol, transport(protocol, port)).frame()
}

const CASSANDRA: On = On::Port("cassandra", TCP, 9042);

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::new("a peer to a cluster port", v4(PEER, TCP, 9042), Reason::Peer, CASSANDRA),
        Case::new("a peer by its prefix", v4(PREFIX_PEER, TCP, 9042), Reason::Peer, CASSANDRA),
        Case::new("an outsider to a cluster port", v4(OUTSIDER, TCP, 9042), Reason::Outsider, CASSANDRA),
        Case::new("a neighbour of a peer's address", v4("10.0.0.12", TCP, 9042), Reason::Outsider, CASSANDRA),
        Case::new("just below a peer prefix", v4("10.8.255.255", TCP, 9042), Reason::Outsider, CASSANDRA),
        Case::new("just above a peer prefix", v4("10.10.0.0", TCP, 9042), Reason::Outsider, CASSANDRA),
        Case::new("an IPv6 peer", v6(PEER6, TCP, 9042), Reason::Peer, CASSANDRA),
        Case::new("an IPv6 peer by /48", v6("2001:db8:9:8::1", TCP, 9042), Reason::Peer, CASSANDRA),
        Case::new(
            "an IPv6 peer by /64",
            v6("fd00:0:0:1::abcd", UDP, 9042),
            Reason::Peer,
            On::Port("cassandra", UDP, 9042),
        ),
        Case::new("an IPv6 outsider", v6(OUTSIDER6, TCP, 9042), Reason::Outsider, CASSANDRA),
        Case::new("an IPv6 outsider beside a /64", v6("fd00:0:0:2::abcd", TCP, 9042), Reason::Outsider, CASSANDRA),
        Case::new(
            "an outsider to the public port",
            v4(OUTSIDER, TCP, 443),
            Reason::Public,
            On::Port("https", TCP, 443),
        ),
        Case::new("a peer to the public port", v4(PEER, TCP, 443), Reason::Public, On::Port("https", TCP, 443)),
        Case::new("an outsider to ssh", v4(OUTSIDER, TCP, 22), Reason::Unmanaged, On::Tcp),
        Case::new("an outsider to dns", v6(OUTSIDER6, UDP, 53), Reason::Unmanaged, On::Udp),
        Case::new("port 0", v4(OUTSIDER, TCP, 0), Reason::Unmanaged, On::Tcp),
        Case::new("port 65535", v4(OUTSIDER, UDP, 65_535), Reason::Unmanaged, On::Udp),
        Case::new("port 5700, just below the range", v4(OUTSIDER, TCP, 5700), Reason::Unmanaged, On::Tcp),
        Case::new("port 5712, just above the range", v4(OUTSIDER, TCP, 5712), Reason::Unmanaged, On::Tcp),
        Case::new(
            "the byte-swapped number of 9042",
            v4(OUTSIDER, TCP, 9042_u16.swap_bytes()),
            Reason::Unmanaged,
            On::Tcp,
        ),
        Case::new("own address as source, IPv4", v4(OWN, TCP, 9042), Reason::SpoofedSource, CASSANDRA),
        Case::new("own address as source, IPv6", v6(OWN6, TCP, 9042), Reason::SpoofedSource, CASSANDRA),
        Case::new("own address to the public port", v4(OWN, TCP, 443), Reason::Public, On::Port("https", TCP, 443)),
        Case::new("audit: an outsider", v4(OUTSIDER, TCP, 9042), Reason::Outsider, CASSANDRA).under(Policy::Audit),
        Case::new("audit: a peer", v4(PEER, TCP, 9042), Reason::Peer, CASSANDRA).under(Policy::Audit),
    ];
    for (source, to) in [
        ("127.0.0.1", "loopback"),
        ("0.0.0.0", "unspecified"),
        ("224.0.0.5", "multicast"),
        ("239.255.255.255", "the last multicast address"),
        ("255.255.255.255", "broadcast"),
    ] {
        let name: &'static str = Box::leak(format!("martian IPv4 source: {to}").into_boxed_str());
        cases.push(Case::new(name, v4(source, TCP, 9042), Reason::SpoofedSource, CASSANDRA));
    }
    for source in ["::1", "::", "ff02::1", "::ffff:10.0.0.11"] {
        let name: &'static str = Box::leak(format!("martian IPv6 source: {source}").into_boxed_str());
        cases.push(Case::new(name, v6(source, UDP, 9042), Reason::SpoofedSource, On::Port("cassandra", UDP, 9042)));
    }
    cases.push(Case::new("DHCP: from 0.0.0.0 to the client port", v4("0.0.0.0", UDP, 68), Reason::Unmanaged, On::Udp));
    cases.extend(vendor_table());
    cases.extend(own_rules());
    cases.extend(unpacked_ports());
    cases.extend(audited_classes());
    cases
}

/// Every cluster port of the vendor's table, TCP and UDP, from a peer and from an outsider.
fn vendor_table() -> Vec<Case> {
    let table: [(&str, &[u16]); 8] = [
        ("agent", &[8443]),
        ("nodekeeper", &[8018]),
        ("upgrade-ui", &[8019]),
        ("web-api", &[8020, 8021]),
        ("web-nginx", &[8022]),
        ("hazelcast", &[5701, 5702, 5703, 5704, 5705, 5706, 5707, 5708, 5709, 5710, 5711]),
        ("cassandra", &[9042, 7000, 7001, 7199]),
        ("elasticsearch", &[9200, 9300]),
    ];
    let mut cases = Vec::new();
    for (class, ports) in table {
        for port in ports {
            for protocol in [TCP, UDP] {
                for (who, source, reason) in [("peer", PEER, Reason::Peer), ("outsider", OUTSIDER, Reason::Outsider)] {
                    let name = format!("the vendor's table: {class} {protocol}/{port} from {who}");
                    let on = On::Port(class, protocol, *port);
                    cases.push(Case::new(Box::leak(name.into_boxed_str()), v4(source, protocol, *port), reason, on));
                }
            }
        }
    }
    cases
}

/// UDP ports that this host's kernel unpacks: [`Policy::tunnel_ports`].
fn unpacked_ports() -> Vec<Case> {
    let (tunnel, opened) = (On::Port("tunnel", UDP, 5555), On::Port("tunnel", UDP, 443));
    let kept = On::Port("cassandra", UDP, 9042);
    let mut cases: Vec<Case> = [
        Case::new("an unpacked port, an outsider", v4(OUTSIDER, UDP, 5555), Reason::TunnelOutsider, tunnel),
        Case::new("an unpacked port, an IPv6 outsider", v6(OUTSIDER6, UDP, 5555), Reason::TunnelOutsider, tunnel),
        Case::new("an unpacked port, a peer", v4(PEER, UDP, 5555), Reason::Peer, tunnel),
        Case::new("an unpacked port, an IPv6 peer", v6(PEER6, UDP, 5555), Reason::Peer, tunnel),
        Case::new("an unpacked port, the node's own address", v4(OWN, UDP, 5555), Reason::SpoofedSource, tunnel),
        Case::new("an unpacked port's number over TCP", v4(OUTSIDER, TCP, 5555), Reason::Unmanaged, On::Tcp),
        Case::new("just above an unpacked port", v4(OUTSIDER, UDP, 5556), Reason::Unmanaged, On::Udp),
        Case::new("an unpacked port that the profile opens", v4(OUTSIDER, UDP, 443), Reason::TunnelOutsider, opened),
        Case::new("its TCP port stays open", v4(OUTSIDER, TCP, 443), Reason::Public, On::Port("https", TCP, 443)),
        Case::new("an unpacked port that is the cluster's", v4(OUTSIDER, UDP, 9042), Reason::Outsider, kept),
        Case::new("an unpacked port that is the cluster's, a peer", v4(PEER, UDP, 9042), Reason::Peer, kept),
    ]
    .into_iter()
    .map(|case| case.under(Policy::Unpacking))
    .collect();
    cases.push(Case::new("a port that nothing unpacks", v4(OUTSIDER, UDP, 5555), Reason::Unmanaged, On::Udp));
    let for_all = [
        Case::new("tunnels for all: an unpacked port", v4(OUTSIDER, UDP, 5555), Reason::Public, tunnel),
        Case::new(
            "tunnels for all: an unpacked port that is closed",
            v4(OUTSIDER, UDP, 9999),
            Reason::Closed,
            On::Port("nobody", UDP, 9999),
        ),
    ];
    cases.extend(for_all.map(|case| case.under(Policy::Rules)));
    cases
}

fn own_rules() -> Vec<Case> {
    let jmx = On::Port("jmx-from-ops", TCP, 7199);
    let wide = On::Port("jmx-from-ops", TCP, 20_500);
    [
        Case::new("an allowed prefix", v4("198.51.100.7", TCP, 7199), Reason::AllowedSource, jmx),
        Case::new("an allowed IPv6 prefix", v6("2001:db8:a:1::7", TCP, 7199), Reason::AllowedSource, jmx),
        Case::new("a peer beside the allowed prefix", v4(PEER, TCP, 7199), Reason::Peer, jmx),
        Case::new("neither peer nor allowed", v4(OUTSIDER, TCP, 7199), Reason::Outsider, jmx),
        Case::new(
            "allowed for one class is not allowed for another",
            v4("198.51.100.7", TCP, 9042),
            Reason::Outsider,
            CASSANDRA,
        ),
        Case::new(
            "the rule took only TCP",
            v4("198.51.100.7", UDP, 7199),
            Reason::Outsider,
            On::Port("cassandra", UDP, 7199),
        ),
        Case::new("a range that shares a row", v4("198.51.100.7", TCP, 20_500), Reason::AllowedSource, wide),
        Case::new(
            "the end of that range",
            v4(OUTSIDER, TCP, 21_000),
            Reason::Outsider,
            On::Port("jmx-from-ops", TCP, 21_000),
        ),
        Case::new("one past that range", v4(OUTSIDER, TCP, 21_001), Reason::Unmanaged, On::Tcp),
        Case::new("a closed port, a peer", v4(PEER, TCP, 9999), Reason::Closed, On::Port("nobody", TCP, 9999)),
        Case::new(
            "a closed port, an outsider",
            v6(OUTSIDER6, UDP, 9999),
            Reason::Closed,
            On::Port("nobody", UDP, 9999),
        ),
        Case::new(
            "closed but for some: they",
            v4("198.51.100.7", TCP, 9998),
            Reason::AllowedSource,
            On::Port("only-ops", TCP, 9998),
        ),
        Case::new("closed but for some: a peer", v4(PEER, TCP, 9998), Reason::Closed, On::Port("only-ops", TCP, 9998)),
        Case::new(
            "a peer inside a wider allowed prefix",
            v4(PEER, TCP, 9997),
            Reason::AllowedSource,
            On::Port("site", TCP, 9997),
        ),
        Case::new(
            "an outsider beside that prefix",
            v4("11.0.0.11", TCP, 9997),
            Reason::Closed,
            On::Port("site", TCP, 9997),
        ),
        Case::new(
            "a martian source to a closed port",
            v4("127.0.0.1", TCP, 9999),
            Reason::SpoofedSource,
            On::Port("nobody", TCP, 9999),
        ),
        Case::new("tunnels for all: GRE", Ip4::new(OUTSIDER, 47, vec![0; 8]).frame(), Reason::Public, On::Tunnel),
        Case::new("tunnels for all: VXLAN", v4(OUTSIDER, UDP, 4789), Reason::Public, On::Port("tunnel", UDP, 4789)),
    ]
    .into_iter()
    .map(|case| case.under(Policy::Rules))
    .collect()
}

/// Classes that only audit, beside others: the verdicts are the same, and what is denied there goes on, unless its source is blocked.
fn audited_classes() -> Vec<Case> {
    let agent = On::Port("agent", TCP, 8443);
    [
        Case::new("audited: an outsider", v4(OUTSIDER, TCP, 8443), Reason::Outsider, agent),
        Case::new("audited: an IPv6 outsider", v6(OUTSIDER6, TCP, 8443), Reason::Outsider, agent),
        Case::new("audited: a peer", v4(PREFIX_PEER, TCP, 8443), Reason::Peer, agent),
        Case::new(
            "audited: an outsider, UDP",
            v4(OUTSIDER, UDP, 9042),
            Reason::Outsider,
            On::Port("cassandra", UDP, 9042),
        ),
        Case::new("audited: an own address as source", v4(OWN, TCP, 8443), Reason::SpoofedSource, agent),
        Case::new("audited: a martian source", v4("127.0.0.1", TCP, 8443), Reason::SpoofedSource, agent),
        Case::new("audited: a martian IPv6 source", v6("::1", TCP, 8443), Reason::SpoofedSource, agent),
        Case::new("audited: a blocked source is dropped", v4("203.0.113.5", TCP, 8443), Reason::BlockedSource, agent),
        Case::new("audited: a blocked peer is dropped", v4(PEER, TCP, 8443), Reason::BlockedSource, agent),
        Case::new(
            "audited: a blocked IPv6 source is dropped",
            v6("2001:db8:bad::5", TCP, 9042),
            Reason::BlockedSource,
            CASSANDRA,
        ),
        Case::new(
            "audited and public: a blocked source is dropped",
            v4("203.0.113.5", TCP, 443),
            Reason::BlockedSource,
            On::Port("https", TCP, 443),
        ),
        Case::new(
            "audited and public: an outsider",
            v4(OUTSIDER, TCP, 443),
            Reason::Public,
            On::Port("https", TCP, 443),
        ),
        Case::new(
            "beside audited classes: an outsider is dropped",
            v4(OUTSIDER, TCP, 9200),
            Reason::Outsider,
            On::Port("elasticsearch", TCP, 9200),
        ),
        Case::new(
            "beside audited classes: a martian source is dropped",
            v4("127.0.0.1", TCP, 9200),
            Reason::SpoofedSource,
            On::Port("elasticsearch", TCP, 9200),
        ),
        Case::new(
            "beside audited classes: a tunnel of an outsider is dropped",
            Ip4::new(OUTSIDER, 47, vec![0; 8]).frame(),
            Reason::TunnelOutsider,
            On::Tunnel,
        ),
        Case::new(
            "beside audited classes: no ports",
            Ip4::new(OUTSIDER, TCP, vec![0; 3]).frame(),
            Reason::NoPorts,
            On::Nothing,
        ),
    ]
    .into_iter()
    .map(|case| case.under(Policy::Audited))
    .collect()
}
