//! `[[interface]]` with `peers`: the cluster's nodes come in by the cluster's network only. What comes by another way under a peer's address is an outsider's.

use std::net::SocketAddr;

use nodewall_testbed::{Host, Lab, Listener, Probe, Protocol, Signal, skip_unless_privileged};
use serde_json::Value;

use super::counters::Counters;
use super::node::{Node, eventually};
use super::settings::Settings;
use super::traffic::{add, answered, silent};

/// The peer's addresses on the cluster's network (eth0) and on the front's (eth1).
const PEERS: [&str; 4] = ["10.77.0.11", "fd77::11", "10.79.0.11", "fd79::11"];
const CLUSTER: [&str; 2] = ["10.77.0.1:9042", "[fd77::1]:9042"];
const FRONT: [&str; 2] = ["10.79.0.1:9042", "[fd79::1]:9042"];

fn probes(targets: [&str; 2]) -> Vec<Probe> {
    let targets = targets.map(|target| target.parse::<SocketAddr>().unwrap());
    targets.iter().flat_map(|target| Protocol::ALL.map(|protocol| Probe::new(protocol, *target))).collect()
}

fn settings(peers: &str) -> Settings {
    let rule =
        if peers.is_empty() { String::new() } else { format!("[[interface]]\nname = \"eth1\"\npeers = {peers}\n") };
    Settings::default().interfaces(&["eth*"]).peers(&PEERS).rules(&rule)
}

/// Plugs the front's card of the node in, under this index; its addresses are answered for by it alone.
fn plug_in(node: &Node, index: u32) {
    let switch = node.lab.switch().unwrap();
    node.netns()
        .ip_batch(&format!(
            "link add eth1 index {index} type veth peer name front netns {}\n\
             addr add 10.79.0.1/24 dev eth1\naddr add fd79::1/64 dev eth1 nodad\nlink set dev eth1 up\n",
            switch.name()
        ))
        .unwrap();
    switch.ip_batch("link set dev front master br0 up\n").unwrap();
    eventually("eth1 is covered", || node.attachment("eth1"));
}

/// What the peer is told by each way, with every packet counted for what it was.
fn assert_by_each_way(node: &Node, by_front: (&str, &str)) {
    eventually("the policy knows eth1", || (verdict(node, &["--in-interface", "eth1"]) == by_front.0).then_some(()));
    let _sockets = Listener::both(node.netns(), &[9042]).unwrap();
    let peer: &Host = node.peers()[0];
    peer.netns().ip(&["neigh", "flush", "dev", "eth0"]).unwrap();
    let mut expected = node.counters().named_and_drops();
    let (cluster, front) = (probes(CLUSTER), probes(FRONT));
    add(&mut expected, "cassandra", ("pass", "peer"), &cluster, &answered(peer, &cluster));
    let done = if by_front.0 == "pass" { answered(peer, &front) } else { silent(peer, &front) };
    add(&mut expected, "cassandra", by_front, &front, &done);
    node.assert_counted(Counters::named_and_drops, &expected);
}

fn verdict(node: &Node, arguments: &[&str]) -> String {
    let asked = [&["--source", "10.79.0.11", "--port", "9042", "-o", "json"], arguments].concat();
    let told = node.nodewall_live("explain", &asked);
    let told: Value = serde_json::from_str(&told.stdout).unwrap_or_else(|error| panic!("{error}: {told:?}"));
    told["verdict"].as_str().unwrap().to_owned()
}

fn reload(node: &Node, peers: &str) {
    let before = node.generation();
    node.configure(&settings(peers));
    node.agent().signal(Signal::HUP).unwrap();
    eventually("the reload is in force", || (node.generation() > before).then_some(()));
    eventually("eth1 is covered", || node.attachment("eth1"));
}

#[test]
fn peers_come_in_by_the_interfaces_that_let_them() {
    if skip_unless_privileged("peers_come_in_by_the_interfaces_that_let_them") {
        return;
    }
    let mut node = Node::idle(Lab::new().unwrap(), &settings("\"none\""));
    // Linux answers on any card for the addresses of all.
    node.netns().sysctl(&[("ipv4.conf.all.arp_ignore", "1"), ("ipv4.conf.default.arp_ignore", "1")]).unwrap();
    node.peers()[0].netns().ip_batch("addr add 10.79.0.11/24 dev eth0\naddr add fd79::11/64 dev eth0 nodad\n").unwrap();
    node.start_agent();
    plug_in(&node, 200);
    assert_by_each_way(&node, ("drop", "outsider"));
    assert_eq!(
        (verdict(&node, &["--in-interface", "eth1"]), verdict(&node, &["--in-interface", "eth0"])),
        ("drop".into(), "pass".into())
    );
    assert_eq!(verdict(&node, &[]), "pass", "no interface named: one without peers of its own");

    // The same name under another index is the same interface to the policy.
    node.netns().ip_batch("link del eth1\n").unwrap();
    eventually("eth1 is gone", || node.attachment("eth1").is_none().then_some(()));
    plug_in(&node, 201);
    assert_by_each_way(&node, ("drop", "outsider"));

    // From some peers to others is data: the program stays.
    let program = node.attachment("eth1").unwrap();
    reload(&node, "[\"10.79.0.0/24\", \"fd79::/64\"]");
    assert_by_each_way(&node, ("pass", "peer"));
    reload(&node, "[\"10.77.0.0/24\", \"fd77::/64\"]");
    assert_by_each_way(&node, ("drop", "outsider"));
    assert_eq!(node.attachment("eth1").unwrap(), program);

    // A rule that nothing comes under is told.
    reload(&node, "\"none\"\n[[interface]]\nname = \"eth9\"\npeers = \"none\"");
    node.wait_for_log(|line| line.contains("`peers` of [[interface]] eth9 has no effect"));
    reload(&node, "[\"10.77.0.0/24\", \"fd77::/64\"]");

    // What no policy asks for has no instructions: the program is another, and lets every peer in.
    node.configure(&settings(""));
    let planned = node.json("plan");
    let setting = planned["settings"].as_array().unwrap().iter().find(|setting| setting["name"] == "interface peers");
    assert_eq!(setting.unwrap()["from"], "eth1 10.77.0.0/24,fd77::/64");
    reload(&node, "");
    assert_by_each_way(&node, ("pass", "peer"));
    eventually("another program", || node.attachment("eth1").filter(|now| *now != program));
}
