//! Connections that the node opens itself: their replies come to the node's ephemeral ports, and must not be taken for knocks.

use std::net::SocketAddr;
use std::time::Duration;

use nodewall_testbed::{
    Family, Host, Lab, Listener, Outcome, Probe, Protocol, Signal, probe_many, skip_unless_privileged,
};
use serde_json::json;

use super::node::{Node, PATIENCE, eventually};
use super::settings::Settings;
use super::traffic::{SILENCE, answered, nat};

/// From each of these local ports of the node, both protocols, to one service of the outsider.
fn from_local_ports(node: &Node, local: &[u16], service: u16) -> Vec<Probe> {
    let mut probes = Vec::new();
    for family in Family::ALL {
        let target = node.outsider().socket(family, service);
        for &port in local {
            let from: SocketAddr = node.host().socket(family, port);
            probes.extend(Protocol::ALL.map(|protocol| Probe::new(protocol, target).from_socket(from)));
        }
    }
    probes
}

/// For probes of which some are answered, all of them in this time.
const LONG_SILENCE: Duration = Duration::from_secs(8);

/// As many connections at once as there are ephemeral ports, so that the kernel has to use every one of them: a connection's
/// four numbers stay taken after its end. Returns how many were answered.
fn connections_answered(node: &Node, to: &Host, service: u16, connections: usize) -> usize {
    let probes = vec![Probe::tcp(to.socket(Family::V4, service)); connections];
    let done = probe_many(node.netns(), &probes, LONG_SILENCE).unwrap();
    done.iter().filter(|probed| probed.outcome == Outcome::Answered { by_port: service }).count()
}

#[test]
fn replies_reach_the_nodes_own_connections_on_ephemeral_ports() {
    if skip_unless_privileged("replies_reach_the_nodes_own_connections_on_ephemeral_ports") {
        return;
    }
    let node = Node::enforcing();
    let _service = Listener::both(node.outsider().netns(), &[443]).unwrap();
    // All neighbours of the policy's ports, and ports all over the usual range and below it.
    let mut local: Vec<u16> = (1024..=65_535).step_by(2039).collect();
    local.extend([5700, 5712, 6999, 7002, 7198, 7200, 8017, 8023, 8442, 8444, 9041, 9043, 9199, 9201, 9299, 9301]);
    answered(node.host(), &from_local_ports(&node, &local, 443));
    node.assert_no_drops();
}

/// Why the warning below exists: a reply to such a port looks like a knock.
#[test]
fn a_reply_to_a_port_of_the_policy_is_dropped() {
    if skip_unless_privileged("a_reply_to_a_port_of_the_policy_is_dropped") {
        return;
    }
    let node = Node::enforcing();
    let _services = Listener::both(node.outsider().netns(), &[443]).unwrap();
    for probed in probe_many(node.netns(), &from_local_ports(&node, &[9042], 443), SILENCE).unwrap() {
        assert_eq!(probed.outcome, Outcome::TimedOut);
    }
    let drops =
        eventually("both replies are counted", || Some(node.counters().drops()).filter(|drops| drops.len() >= 2));
    assert_eq!(drops.len(), 2, "{drops:?}");
    assert!(drops.keys().all(|cell| (cell.port, cell.reason.as_str()) == (Some(9042), "outsider")), "{drops:?}");
    // The same from peers is welcome.
    let [peer, _] = node.peers();
    let _service = Listener::tcp(peer.netns(), &[443]).unwrap();
    let from = node.host().socket(Family::V4, 7199);
    answered(node.host(), &[Probe::tcp(peer.socket(Family::V4, 443)).from_socket(from)]);
}

#[test]
fn an_overlapping_port_range_is_warned_of_and_the_named_sysctl_mends_it() {
    if skip_unless_privileged("an_overlapping_port_range_is_warned_of_and_the_named_sysctl_mends_it") {
        return;
    }
    let mut node = Node::idle(Lab::new().unwrap(), &Settings::default());
    // Ten ports, one of them Cassandra's.
    node.netns().sysctl(&[("ipv4.ip_local_port_range", "9040 9049")]).unwrap();
    let outsider_services = Listener::tcp(node.outsider().netns(), &[443, 444]).unwrap();
    node.start_agent();
    let warning = node.wait_for_log(|line| line.contains("WARN") && line.contains("ip_local_port_range"));
    assert!(warning.contains("9042"), "{warning}");
    assert_eq!(connections_answered(&node, node.outsider(), 443, 10), 9);

    let (_, line) = warning.split_once("sysctl -w ").unwrap_or_else(|| panic!("no sysctl line in: {warning}"));
    let (key, value) = line.split_once('=').unwrap();
    assert_eq!(key, "net.ipv4.ip_local_reserved_ports");
    node.netns().sysctl(&[(key.strip_prefix("net.").unwrap(), value.trim())]).unwrap();
    assert_eq!(connections_answered(&node, node.outsider(), 444, 9), 9);
    assert_eq!(outsider_services.arrived(Protocol::Tcp, 444).count, 9);
    assert_eq!(node.json("apply")["warnings"], json!([]));
    // The agent, too: a rule of NAT is read after the port range, so its warning says that the range had its turn.
    nat(node.netns(), "postrouting priority srcnat; meta l4proto tcp masquerade to :7000-7001");
    assert!(node.end_agent(Signal::TERM).success());
    node.start_agent();
    node.wait_for_log(|line| line.contains("source NAT"));
    assert!(!node.agent().output().contains("ip_local_port_range"), "{}", node.agent().output());
}

#[test]
fn a_usual_port_range_is_not_warned_of() {
    if skip_unless_privileged("a_usual_port_range_is_not_warned_of") {
        return;
    }
    let node = Node::idle(Lab::new().unwrap(), &Settings::default());
    assert_eq!(node.json("apply")["warnings"], json!([]));
}

#[test]
fn a_masquerade_range_over_the_policys_ports_is_warned_of() {
    if skip_unless_privileged("a_masquerade_range_over_the_policys_ports_is_warned_of") {
        return;
    }
    let mut node = Node::idle(Lab::new().unwrap(), &Settings::default());
    nat(node.netns(), "postrouting priority srcnat; meta l4proto tcp masquerade to :9000-9100");
    node.start_agent();
    let warning = node.wait_for_log(|line| line.contains("WARN") && line.contains("source NAT"));
    for part in ["9000-9100", "9042", "masquerade"] {
        assert!(warning.contains(part), "no {part} in: {warning}");
    }
    // What it warns of does happen: the rule gives the connection a port from its range, here the policy's own.
    node.netns().tool("nft", &["flush ruleset"]).unwrap();
    nat(node.netns(), "postrouting priority srcnat; meta l4proto tcp masquerade to :9042");
    let _service = Listener::tcp(node.outsider().netns(), &[443]).unwrap();
    let probe = Probe::tcp(node.outsider().socket(Family::V4, 443));
    assert_eq!(probe_many(node.netns(), &[probe], SILENCE).unwrap()[0].outcome, Outcome::TimedOut);
    node.netns().tool("nft", &["flush ruleset"]).unwrap();
    let elsewhere = Probe::tcp(node.outsider().socket(Family::V4, 443));
    assert!(probe_many(node.netns(), &[elsewhere], PATIENCE).unwrap()[0].outcome.is_answered());
}
