//! Tests of `peers`: invented links, routes and rules. What the kernel really does stands in tests/network/ways.rs.
use super::*;
use nodewall_host::net::{Link, Listing, source_nat_in};

const ETH0: u32 = 2;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap_or_else(|_| IpNet::from(address(text)))
}

/// A node with these addresses on eth0; a `*` marks those that stand behind another.
fn network(addresses: &[&str]) -> Network {
    let plain = |text: &&str| text.trim_start_matches('*').parse::<IpNet>().unwrap();
    let secondary = addresses.iter().filter(|text| text.starts_with('*')).map(plain).collect();
    let addresses = addresses.iter().map(plain).collect();
    Network::new([Link {
        index: ETH0,
        name: "eth0".into(),
        up: true,
        arphrd: 1,
        addresses,
        secondary,
        ..Link::default()
    }])
}

/// The way to a peer from this address, and by this gateway.
fn out(peer: &str, source: Option<&str>, gateway: Option<&str>) -> PeerWay {
    let route = Route { source: source.map(address), interface: Some(ETH0), gateway: gateway.map(address) };
    PeerWay { peer: net(peer), address: net(peer).addr(), way: Way::Out(route) }
}

fn nowhere(peer: &str) -> PeerWay {
    PeerWay { way: Way::Nowhere("Network is unreachable".into()), ..out(peer, None, None) }
}

fn judge(network: &Network, listed: &[&str], ways: Vec<PeerWay>, nat: &str) -> Vec<Finding> {
    let listed: Vec<IpNet> = listed.iter().map(|peer| net(peer)).collect();
    let answer = Ok(format!("*nat\n{nat}\nCOMMIT\n"));
    let nat = source_nat_in(&[Listing { tool: "iptables-save", answer }]);
    assert_eq!(nat.unread, Vec::<String>::new());
    let ports = PortSet::from("9042".parse::<nodewall_policy::config::PortRange>().unwrap());
    findings(&PeerFacts { peers: &listed, network, ways, nat: &nat, ports })
}

/// The one finding.
#[track_caller]
fn the_one(mut findings: Vec<Finding>) -> Finding {
    assert_eq!(findings.len(), 1, "{findings:#?}");
    findings.remove(0)
}

#[test]
fn a_node_that_its_peers_know_is_well() {
    let listed = ["10.0.0.1", "10.0.0.11", "2001:db8::/64"];
    let ways = vec![out("10.0.0.11", Some("10.0.0.1"), None), out("2001:db8::/64", Some("2001:db8::1"), None)];
    let well = the_one(judge(&network(&["10.0.0.1/24", "2001:db8::1/64"]), &listed, ways, ""));
    assert_eq!((well.status, well.found.as_str()), (Status::Ok, "the peers see this node as 10.0.0.1 and 2001:db8::1"));
    // A list of the others alone says nothing about this one.
    let ways = vec![out("10.0.0.11", Some("10.0.0.1"), None)];
    let unnamed = the_one(judge(&network(&["10.0.0.1/24"]), &["10.0.0.11"], ways, ""));
    assert!(unnamed.status == Status::Ok && unnamed.found.contains("does not name this node"), "{unnamed:?}");
    let two = vec![out("10.0.0.11", Some("10.0.0.1"), None), out("10.9.0.11", Some("10.9.0.1"), None)];
    let two = the_one(judge(&network(&["10.0.0.1/24", "10.9.0.1/24"]), &["10.0.0.11", "10.9.0.11"], two, ""));
    assert!(two.status == Status::Note && two.found.contains("10.0.0.1 and 10.9.0.1"), "{two:?}");
}

#[test]
fn another_address_than_the_lists_is_degraded_and_the_line_for_the_route_is_told() {
    let network = network(&["10.0.0.1/24", "10.9.0.1/24", "2001:db8::1/64"]);
    let listed = ["10.0.0.1", "10.0.0.11", "10.9.0.11", "10.9.0.12"];
    let ways = vec![
        out("10.0.0.11", Some("10.0.0.1"), None),
        out("10.9.0.11", Some("10.9.0.1"), None),
        out("10.9.0.12", Some("10.9.0.1"), Some("10.9.0.254")),
    ];
    let found = judge(&network, &listed, ways, "");
    assert_eq!(found.iter().map(|f| f.status).collect::<Vec<_>>(), [Status::Degraded, Status::Ok]);
    assert_eq!(found[0].found, "this node sends to 10.9.0.11, 10.9.0.12 from 10.9.0.1");
    assert!(found[0].why.as_ref().unwrap().contains("has this node as 10.0.0.1"), "{found:?}");
    let advice = found[0].advice.as_ref().unwrap();
    assert!(
        advice.starts_with("`ip route replace 10.9.0.11 dev eth0 src 10.0.0.1`, and so for the others"),
        "{advice}"
    );
    let by_gateway = vec![out("10.9.0.12", Some("10.9.0.1"), Some("10.9.0.254"))];
    let advice = the_one(judge(&network, &listed, by_gateway, "")).advice.unwrap();
    assert!(advice.contains("`ip route replace 10.9.0.12 via 10.9.0.254 dev eth0 src 10.0.0.1`"), "{advice}");
    // The other family's list says nothing of this one's.
    let v6 = vec![out("2001:db8::11", Some("2001:db8::1"), None)];
    assert_eq!(the_one(judge(&network, &listed, v6, "")).status, Status::Ok);
}

#[test]
fn addresses_that_no_list_can_have_are_degraded_whatever_the_list() {
    for (own, source, why) in [
        ("*2001:db8::77/64", "2001:db8::77", "temporary"),
        ("fe80::1/64", "fe80::1", "link-local"),
        ("169.254.7.7/16", "169.254.7.7", "link-local"),
    ] {
        let peer = if source.contains(':') { "2001:db8::11" } else { "10.0.0.11" };
        let found = the_one(judge(&network(&[own]), &[peer], vec![out(peer, Some(source), None)], ""));
        assert!(found.status == Status::Degraded && found.why.as_ref().unwrap().contains(why), "{found:?}");
        assert!(found.advice.unwrap().contains(" dev eth0 src ADDRESS"), "{source}");
    }
    let none = the_one(judge(&network(&["10.0.0.1/24"]), &["10.0.0.11"], vec![out("10.0.0.11", None, None)], ""));
    assert_eq!((none.check, none.status), ("peer-source", Status::Degraded));
}

#[test]
fn a_peer_without_a_route_is_a_finding() {
    let network = network(&["10.0.0.1/24", "fe80::1/64"]);
    let listed = ["10.0.0.1", "10.9.0.11", "10.9.0.12", "2001:db8::11", "10.0.0.13"];
    let lost = the_one(judge(&network, &listed, vec![nowhere("10.9.0.11"), nowhere("10.9.0.12")], ""));
    assert_eq!((lost.check, lost.status), ("peer-route", Status::Degraded));
    assert_eq!(lost.found, "there is no route to 10.9.0.11, 10.9.0.12: Network is unreachable");
    assert!(lost.advice.unwrap().contains("`ip route get 10.9.0.11`"));
    // A node of one family has no way to the other's addresses, which lists of both have.
    assert_eq!(the_one(judge(&network, &listed, vec![nowhere("2001:db8::11")], "")).status, Status::Note);
    let here = PeerWay { way: Way::Here, ..nowhere("10.0.0.13") };
    assert_eq!(the_one(judge(&network, &listed, vec![here], "")).status, Status::Degraded);
    let many = (1..=6).map(|n| nowhere(&format!("10.9.0.{n}"))).collect();
    assert!(the_one(judge(&network, &listed, many, "")).found.contains("10.9.0.4, 2 more:"));
}

#[test]
fn source_nat_that_makes_another_address_of_this_node_is_degraded_with_the_line_that_spares_the_peers() {
    let network = network(&["10.0.0.1/24", "*10.0.0.5/24"]);
    let listed = ["10.0.0.5", "10.0.0.11", "10.0.0.12"];
    let ways = || vec![out("10.0.0.11", Some("10.0.0.5"), None), out("10.0.0.12", Some("10.0.0.5"), None)];
    let found = the_one(judge(&network, &listed, ways(), "-A POSTROUTING -o eth0 -j MASQUERADE"));
    assert_eq!((found.check, found.status), ("peer-nat", Status::Degraded));
    assert!(
        found.found.contains("makes 10.0.0.1 of 10.0.0.5 in what this node sends to 10.0.0.11, 10.0.0.12"),
        "{found:?}"
    );
    let advice = found.advice.unwrap();
    let line = "`iptables -t nat -I POSTROUTING 1 -s 10.0.0.5 -d 10.0.0.11/32,10.0.0.12/32 -j ACCEPT`";
    assert!(advice.contains(&line.replace("/32", "")), "{advice}");

    // What does not meet this node's packets to its peers, or leaves their address as it is, or makes one that the peers know.
    for (rules, listed) in [
        ("-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE", &listed[..]),
        ("-A POSTROUTING -o eth1 -j MASQUERADE", &listed),
        ("-A POSTROUTING -p udp -j MASQUERADE", &listed),
        ("-A POSTROUTING -p tcp -m tcp --dport 80 -j MASQUERADE", &listed),
        ("-A POSTROUTING -d 10.0.0.0/24 -j ACCEPT\n-A POSTROUTING -j MASQUERADE", &listed),
        ("-A POSTROUTING -j K\n-A K -m mark ! --mark 0x4000/0x4000 -j RETURN\n-A K -j MASQUERADE", &listed),
        ("-A POSTROUTING -j SNAT --to-source 10.0.0.5", &listed),
        ("-A POSTROUTING -o eth+ -j MASQUERADE", &["10.0.0.5", "10.0.0.1", "10.0.0.11"]),
    ] {
        let found = the_one(judge(&network, listed, ways(), rules));
        assert_eq!(found.status, Status::Ok, "{rules}: {found:?}");
    }
    // Jumps are followed, and what cannot be read is said.
    let jumped = "-A POSTROUTING -j SITE\n-A SITE ! -d 10.9.0.0/16 -j SNAT --to-source 192.0.2.1-192.0.2.9";
    let found = the_one(judge(&network, &listed, ways(), jumped));
    assert!(found.status == Status::Degraded && found.found.contains("makes another address of"), "{found:?}");
    let unread = "-A POSTROUTING -m set --match-set pools src -j MASQUERADE --random-fully";
    assert_eq!(the_one(judge(&network, &listed, ways(), unread)).status, Status::Unknown);
    let after = "-A POSTROUTING -m policy --dir out --pol ipsec -j ACCEPT\n-A POSTROUTING -j MASQUERADE";
    assert_eq!(the_one(judge(&network, &listed, ways(), after)).status, Status::Unknown);
}

#[test]
fn what_is_asked_of_the_kernel_is_a_host() {
    let own = BTreeSet::from([address("10.0.0.1"), address("2001:db8::1")]);
    let asked = |peer: &str| asked_of(&net(peer), &own).map(|address| address.to_string());
    assert_eq!(asked("10.0.0.11").as_deref(), Some("10.0.0.11"));
    assert_eq!(asked("10.0.0.0/24").as_deref(), Some("10.0.0.2"), "the first is this node");
    assert_eq!(asked("2001:db8::/64").as_deref(), Some("2001:db8::2"));
    assert_eq!(asked("2001:db8:1::/48").as_deref(), Some("2001:db8:1::1"));
    assert_eq!(asked("10.0.0.1"), None);
    assert_eq!(asked("fe80::11"), None);
}
