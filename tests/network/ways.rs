//! What this node's own packets become on their way: routes to the peers, and source NAT. Each finding of `doctor` comes with a line; the line is run,
//! and the finding must be gone, and the packets as they should be.

use std::net::{IpAddr, SocketAddr};

use nodewall_testbed::{Family, Lab, Listener, NetNs, Outcome, Probe, Protocol, probe_many, skip_unless_privileged};
use serde_json::Value;

use super::node::{Node, PATIENCE};
use super::settings::Settings;
use super::traffic::{SILENCE, answered};

const SERVICE: u16 = 9042;

fn findings(node: &Node, check: &str) -> Vec<Value> {
    let said = node.nodewall("doctor", &["-o", "jsonl"]).stdout;
    let findings = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    findings.filter(|finding| finding["check"] == check).collect()
}

/// The one finding of this check that is no `ok`, with what it found and its advice.
#[track_caller]
fn the_one(node: &Node, check: &str) -> (String, String, String) {
    let found: Vec<Value> = findings(node, check).into_iter().filter(|finding| finding["status"] != "ok").collect();
    assert_eq!(found.len(), 1, "{check}: {found:#?}");
    let text = |key: &str| found[0][key].as_str().unwrap().to_owned();
    (text("status"), text("found"), text("advice"))
}

#[track_caller]
fn assert_well(node: &Node, check: &str) {
    assert!(findings(node, check).iter().all(|finding| finding["status"] == "ok"), "{:#?}", findings(node, check));
}

/// Runs the line that stands between the first two backquotes.
#[track_caller]
fn run(netns: &NetNs, advice: &str) {
    let line = advice.split('`').nth(1).unwrap_or_else(|| panic!("no line in: {advice}"));
    netns.tool("sh", &["-ec", line]).unwrap_or_else(|error| panic!("{line}: {error}"));
}

/// As whom the node comes to its first peer, over each family.
fn seen_as(node: &Node) -> Vec<IpAddr> {
    let peer = node.peers()[0];
    let service = Listener::udp(peer.netns(), &[SERVICE]).unwrap();
    answered(node.host(), &Family::ALL.map(|family| Probe::udp(peer.socket(family, SERVICE))));
    service.arrived(Protocol::Udp, SERVICE).sources.into_keys().collect()
}

fn addresses<const N: usize>(texts: [&str; N]) -> Vec<IpAddr> {
    texts.map(|text| text.parse().unwrap()).into()
}

/// The cluster knows this node by its second addresses; both families are sent from there.
fn known_by_second_addresses() -> Node {
    let peers = ["10.77.0.5", "10.77.0.11", "10.77.0.12", "fd77::5", "fd77::11", "fd77::12"];
    let node = Node::idle(Lab::new().unwrap(), &Settings::default().peers(&peers));
    node.netns().ip_batch("addr add 10.77.0.5/24 dev eth0\naddr add fd77::5/64 dev eth0 nodad\n").unwrap();
    node
}

fn send_from_second_addresses(node: &Node) {
    let v4 = ["10.77.0.11", "10.77.0.12"].map(|peer| format!("route replace {peer} dev eth0 src 10.77.0.5\n"));
    let v6 = ["fd77::11", "fd77::12"].map(|peer| format!("route replace {peer} dev eth0 src fd77::5\n"));
    node.netns().ip_batch(&v4.concat()).unwrap();
    node.netns().ip_batch(&v6.concat()).unwrap();
}

#[test]
fn a_sender_that_the_peers_do_not_know_is_named_with_the_route_that_mends_it() {
    if skip_unless_privileged("a_sender_that_the_peers_do_not_know_is_named_with_the_route_that_mends_it") {
        return;
    }
    let node = known_by_second_addresses();
    node.netns().ip_batch("route del 10.77.0.0/24 dev eth0\nroute add 10.77.0.0/24 dev eth0 src 10.77.0.1\n").unwrap();
    node.netns().ip(&["-6", "route", "replace", "fd77::11", "dev", "eth0", "src", "fd77::5"]).unwrap();
    node.netns().ip(&["-6", "route", "replace", "fd77::12", "dev", "eth0", "src", "fd77::5"]).unwrap();
    assert_eq!(seen_as(&node), addresses(["10.77.0.1", "fd77::5"]));
    let (status, found, advice) = the_one(&node, "peer-source");
    assert_eq!(
        (status.as_str(), found.as_str()),
        ("degraded", "this node sends to 10.77.0.11, 10.77.0.12 from 10.77.0.1")
    );
    run(node.netns(), &advice);
    assert_eq!(seen_as(&node), addresses(["10.77.0.5", "fd77::5"]));
    assert!(the_one(&node, "peer-source").1.contains("sends to 10.77.0.12 from"), "the line was for the first of two");
    send_from_second_addresses(&node);
    assert_well(&node, "peer-source");

    node.netns().ip_batch("route del 10.77.0.12 dev eth0\nroute add unreachable 10.77.0.12\n").unwrap();
    let (status, found, _) = the_one(&node, "peer-route");
    assert!(status == "degraded" && found.starts_with("there is no route to 10.77.0.12:"), "{status}: {found}");
}

#[test]
fn masquerading_that_changes_this_nodes_address_is_named_with_the_line_that_spares_the_peers() {
    if skip_unless_privileged(
        "masquerading_that_changes_this_nodes_address_is_named_with_the_line_that_spares_the_peers",
    ) {
        return;
    }
    for (add, tool) in [
        (&["-t", "nat", "-A", "POSTROUTING", "-o", "eth0", "-j", "MASQUERADE"][..], "iptables"),
        (&["table ip t { chain c { type nat hook postrouting priority srcnat; oifname eth0 masquerade; }; }"], "nft"),
    ] {
        let node = known_by_second_addresses();
        send_from_second_addresses(&node);
        assert_eq!(seen_as(&node), addresses(["10.77.0.5", "fd77::5"]));
        assert_well(&node, "peer-nat");
        node.netns().tool(tool, add).unwrap();
        assert_eq!(seen_as(&node), addresses(["10.77.0.1", "fd77::5"]), "{tool}");
        let (status, found, advice) = the_one(&node, "peer-nat");
        assert!(status == "degraded" && found.contains("makes 10.77.0.1 of 10.77.0.5"), "{status}: {found}");
        run(node.netns(), &advice);
        assert_well(&node, "peer-nat");
        assert_eq!(seen_as(&node), addresses(["10.77.0.5", "fd77::5"]), "{advice}");
        // Where the peers know the other address, nobody is cut off.
        let known = ["10.77.0.1", "10.77.0.5", "10.77.0.11", "fd77::5", "fd77::11"];
        node.configure(&Settings::default().peers(&known));
        node.netns().tool("sh", &["-c", "iptables -t nat -F; nft flush ruleset"]).unwrap();
        node.netns().tool(tool, add).unwrap();
        assert_well(&node, "peer-nat");
    }
    // IPv6's own.
    let node = known_by_second_addresses();
    send_from_second_addresses(&node);
    node.netns().tool("ip6tables", &["-t", "nat", "-A", "POSTROUTING", "-o", "eth0", "-j", "MASQUERADE"]).unwrap();
    let seen = seen_as(&node);
    if seen == addresses(["10.77.0.5", "fd77::5"]) {
        assert_well(&node, "peer-nat");
    } else {
        let (status, _, advice) = the_one(&node, "peer-nat");
        assert_eq!(status, "degraded", "{seen:?}");
        run(node.netns(), &advice);
        assert_eq!(seen_as(&node), addresses(["10.77.0.5", "fd77::5"]));
    }
}

/// A container's connection keeps its port through plain masquerading: one of the policy's ports, and the answer is dropped.
#[test]
fn plain_masquerading_of_the_policys_ports_is_named_with_the_lines_that_mend_it() {
    if skip_unless_privileged("plain_masquerading_of_the_policys_ports_is_named_with_the_lines_that_mend_it") {
        return;
    }
    let mut node = Node::idle(Lab::new().unwrap(), &Settings::default());
    let container = NetNs::create("container").unwrap();
    let inside = format!(
        "link add in0 type veth peer name out0 netns {}\naddr add 172.17.0.1/16 dev in0\nlink set in0 up\n",
        container.name()
    );
    node.netns().ip_batch(&inside).unwrap();
    container
        .ip_batch("addr add 172.17.0.2/16 dev out0\nlink set out0 up\nroute add default via 172.17.0.1\n")
        .unwrap();
    node.netns().sysctl(&[("ipv4.ip_forward", "1")]).unwrap();
    let rule = ["-t", "nat", "-A", "POSTROUTING", "-s", "172.17.0.0/16", "!", "-o", "in0", "-j", "MASQUERADE"];
    node.netns().tool("iptables", &rule).unwrap();
    let _service = Listener::both(node.outsider().netns(), &[443]).unwrap();
    // From another port of the policy each time: NAT remembers connections.
    let target = node.outsider().socket(Family::V4, 443);
    let ask = |from: u16, timeout| {
        let from = SocketAddr::new(IpAddr::from([172, 17, 0, 2]), from);
        let probes = Protocol::ALL.map(|protocol| Probe::new(protocol, target).from_socket(from));
        probe_many(&container, &probes, timeout).unwrap().into_iter().map(|probed| probed.outcome).collect::<Vec<_>>()
    };
    let heard = [Outcome::Answered { by_port: 443 }, Outcome::Answered { by_port: 443 }];
    assert_eq!(ask(7000, PATIENCE), heard, "without nodewall");

    node.start_agent();
    assert_eq!(ask(7001, SILENCE), [Outcome::TimedOut, Outcome::TimedOut]);
    let (status, found, advice) = the_one(&node, "masquerade");
    assert!(status == "degraded" && found.contains("172.17.0.0/16 ! -o in0 -j MASQUERADE"), "{status}: {found}");
    run(node.netns(), &advice);
    assert_well(&node, "masquerade");
    assert_eq!(ask(9042, PATIENCE), heard, "{advice}");
}
