//! `block` and `unblock`: a source in an incident hears nothing any more, on no port; others are not touched.

use nodewall_testbed::{Lab, Listener, skip_unless_privileged, until};

use super::node::{Node, eventually};
use super::settings::Settings;
use super::traffic::{answered, ping, probes, silent};

const PORTS: [u16; 3] = [443, 8_080, 9_042];

#[test]
fn a_blocked_source_reaches_nothing_and_others_are_not_touched() {
    if skip_unless_privileged("a_blocked_source_reaches_nothing_and_others_are_not_touched") {
        return;
    }
    let node = Node::enforcing();
    let outsider = node.outsider();
    let (v4, v6) = (outsider.ipv4().to_string(), "fd77::/112");
    let _sockets = Listener::both(node.netns(), &PORTS).unwrap();
    let open = probes(node.host(), &PORTS[..2]);
    answered(outsider, &open);
    let before = node.generation();
    assert!(node.nodewall("block", &[&v4, "--ttl", "1h", "--reason", "scanned us"]).status.success());
    assert_eq!(node.generation(), before + 1);
    // The prefix holds the peers, too.
    let refused = node.nodewall("block", &[v6]);
    assert!(refused.status.code() == Some(1) && refused.stderr.contains("peer fd77::"), "{refused:?}");
    assert!(node.nodewall("block", &[&outsider.ipv6().to_string()]).status.success());
    silent(outsider, &open);
    assert!(node.outsider().netns().tool("ping", &["-c", "1", "-W", "1", &node.host().ipv4().to_string()]).is_err());
    for peer in node.peers() {
        answered(peer, &probes(node.host(), &PORTS));
    }
    until("all that was dropped is counted", || node.counters().drops().values().sum::<u64>() >= 9);
    let status = node.json("status");
    let told = &status["blocks"][0];
    assert_eq!((&told["source"], &told["reason"]), (&v4.as_str().into(), &"scanned us".into()));
    assert!((3_000..=3_600).contains(&told["seconds_left"].as_u64().unwrap()), "{status}");
    // ARP and neighbour discovery still work: the outsider's entry can be learnt anew.
    node.netns().ip(&["neigh", "flush", "dev", "eth0"]).unwrap();
    outsider.netns().ip(&["neigh", "flush", "dev", "eth0"]).unwrap();
    for source in [&v4, &outsider.ipv6().to_string()] {
        assert!(node.nodewall("unblock", &[source]).status.success());
    }
    answered(outsider, &open);
    ping(outsider.netns(), node.host().ipv4().into());
    let again = node.nodewall("unblock", &[&v4]);
    assert!(again.status.code() == Some(1) && again.stderr.contains("is not blocked"), "{again:?}");
}

#[test]
fn a_block_survives_a_reload_and_a_restart_and_ends_in_time() {
    if skip_unless_privileged("a_block_survives_a_reload_and_a_restart_and_ends_in_time") {
        return;
    }
    let mut node = Node::enforcing();
    let outsider = node.outsider().ipv4().to_string();
    let reason = |node: &Node| {
        let explained = node.nodewall_live("explain", &["--source", &outsider, "--port", "443", "-o", "json"]);
        let answer: serde_json::Value = serde_json::from_str(&explained.stdout).unwrap();
        answer["reason"].as_str().unwrap().to_owned()
    };
    assert_eq!(reason(&node), "public");
    assert!(node.nodewall("block", &[&outsider, "--ttl", "1h"]).status.success());
    assert_eq!(reason(&node), "blocked_source");
    node.end_agent(nodewall_testbed::Signal::KILL);
    assert!(node.nodewall("apply", &[]).status.success());
    assert_eq!(reason(&node), "blocked_source");
    node.start_agent();
    assert_eq!(reason(&node), "blocked_source");
    // The same source again: the newer word counts.
    assert!(node.nodewall("block", &[&outsider, "--ttl", "2s"]).status.success());
    eventually("the block runs out", || (reason(&node) == "public").then_some(()));
    assert_eq!(node.json("status")["blocks"], serde_json::json!([]));
}

#[test]
fn a_block_that_would_hurt_the_operator_needs_force() {
    if skip_unless_privileged("a_block_that_would_hurt_the_operator_needs_force") {
        return;
    }
    let node = Node::idle(Lab::new().unwrap(), &Settings::default());
    node.netns().ip(&["route", "add", "default", "via", "10.77.0.200"]).unwrap();
    assert!(node.nodewall("apply", &[]).status.success());
    let generation = node.generation();
    let [peer, _] = node.peers();
    let (peer, own) = (peer.ipv4().to_string(), node.host().ipv4().to_string());
    for (source, why) in [
        (peer.as_str(), "the peer"),
        (&own, "own address"),
        ("10.77.0.200", "default gateway"),
        ("64.0.0.0/7", "shorter than /8"),
    ] {
        let refused = node.nodewall("block", &[source]);
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        assert!(refused.stderr.contains(why) && refused.stderr.contains("--force"), "{refused:?}");
    }
    let mut command = node.command("block", &["192.0.2.0/24"]);
    command.env("SSH_CONNECTION", "192.0.2.7 50000 10.77.0.1 22");
    let refused = nodewall_testbed::run_to_end("block", command, super::node::PATIENCE).unwrap();
    assert!(
        refused.status.code() == Some(1) && refused.stderr.contains("SSH session comes from 192.0.2.7"),
        "{refused:?}"
    );
    assert_eq!(node.generation(), generation);
    assert!(node.nodewall("block", &["192.0.2.0/24"]).status.success());
    assert!(node.nodewall("block", &["10.77.0.200", "--force"]).status.success());
    assert_eq!(node.generation(), generation + 2);
}
