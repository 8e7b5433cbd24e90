//! The ledger against the counters: whatever the agent, the policy and the mode go through, what `usage` says adds up to what the kernel counted.

use std::{collections::BTreeMap, net::IpAddr};

use nodewall_testbed::{Listener, Probe, Signal, skip_unless_privileged};
use serde_json::Value;

use super::{
    node::Node,
    settings::Settings,
    traffic::{answered, probes, silent},
};

/// Class, port, protocol, direction, outcome.
type Key = [String; 5];

/// Packets and bytes by key, of the ports that the policy names: a host has always something to say to its neighbours.
fn sums(document: &Value) -> BTreeMap<Key, [u64; 2]> {
    let mut sums = BTreeMap::new();
    for row in document["rows"].as_array().unwrap().iter().filter(|row| row["port"].is_u64()) {
        let key = ["class", "port", "protocol", "direction", "outcome"].map(|name| row[name].to_string());
        let [packets, bytes] = sums.entry(key).or_insert([0; 2]);
        *packets += row["packets"].as_u64().unwrap();
        *bytes += row["bytes"].as_u64().unwrap();
    }
    sums
}

fn usage(node: &Node, arguments: &[&str]) -> Value {
    let said = node.nodewall("usage", &[&["-o", "json"], arguments].concat());
    serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:?}"))
}

/// While nothing is sent and the agent has put down all that it knows.
fn is_the_counters(node: &Node, when: &str) {
    let counted = node.json("counters");
    for step in ["1m", "1h", "1d"] {
        assert_eq!(sums(&usage(node, &["--step", step])), sums(&counted), "{when}, by {step}");
    }
}

fn of_peer(node: &Node, peer: IpAddr) -> u64 {
    let rows = usage(node, &["--by", "peer,port"]);
    let own = rows["rows"].as_array().unwrap().iter().filter(|row| row["peer"] == peer.to_string());
    own.filter(|row| row["direction"] == "in").map(|row| row["packets"].as_u64().unwrap()).sum()
}

#[test]
fn the_ledger_adds_up_to_the_counters_whatever_happens() {
    if skip_unless_privileged("the_ledger_adds_up_to_the_counters_whatever_happens") {
        return;
    }
    let mut node = Node::with(&Settings::audit());
    let _sockets = Listener::both(node.netns(), &[443, 9042, 7000]).unwrap();
    let peer = node.peers()[0].ipv4();
    let traffic = |node: &Node, closed: bool| {
        answered(node.peers()[0], &probes(node.host(), &[9042, 7000]));
        answered(node.outsider(), &probes(node.host(), &[443]));
        let knock: Vec<Probe> = probes(node.host(), &[9042]);
        if closed {
            silent(node.outsider(), &knock)
        } else {
            answered(node.outsider(), &knock)
        };
    };
    traffic(&node, false);
    assert!(node.end_agent(Signal::TERM).success());
    is_the_counters(&node, "in audit, after an end in order");
    let before = of_peer(&node, peer.into());
    assert!(before > 0);
    // Nobody looks; then an agent that is killed before its first minute is over.
    traffic(&node, false);
    node.start_agent();
    traffic(&node, false);
    node.end_agent(Signal::KILL);
    assert!(node.nodewall("enforce", &["--allow-affected"]).status.success());
    traffic(&node, true);
    node.start_agent();
    let source = node.outsider().ipv4().to_string();
    assert!(node.nodewall("block", &[&source]).status.success());
    assert!(node.nodewall("unblock", &[&source]).status.success());
    assert!(node.nodewall("peers", &["remove", &node.peers()[1].ipv4().to_string()]).status.success());
    traffic(&node, true);
    assert!(node.end_agent(Signal::TERM).success());
    is_the_counters(&node, "after a kill, enforcing, a block and a peer that left");
    assert_eq!(of_peer(&node, peer.into()) % before, 0, "each time the same");

    let only = usage(&node, &["--by", "peer,port", "--peer", &peer.to_string()]);
    let rows = only["rows"].as_array().unwrap();
    assert!(!rows.is_empty() && rows.iter().all(|row| row["peer"] == peer.to_string()), "{only}");
    let table = node.nodewall("usage", &["--by", "class"]).stdout;
    assert!(table.contains("cassandra") && table.contains("drop"), "{table}");
}

/// What was counted goes with the counters; that something is missing is told, and nothing is invented.
#[test]
fn counters_that_went_with_a_detach_are_told() {
    if skip_unless_privileged("counters_that_went_with_a_detach_are_told") {
        return;
    }
    let mut node = Node::enforcing();
    let _sockets = Listener::both(node.netns(), &[443]).unwrap();
    answered(node.outsider(), &probes(node.host(), &[443]));
    assert!(node.end_agent(Signal::TERM).success());
    let counted = sums(&usage(&node, &[]));
    // Nobody puts this down.
    answered(node.outsider(), &probes(node.host(), &[443]));
    assert!(node.nodewall("detach", &[]).status.success());
    node.start_agent();
    assert!(node.end_agent(Signal::TERM).success());
    let said = usage(&node, &[]);
    let losses = said["losses"].to_string();
    assert!(losses.contains("the counters are gone"), "{said}");
    assert_eq!(sums(&said), counted, "what was put down before stays, and nothing is invented");
}
