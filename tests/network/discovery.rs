//! How an IPv6 host gets and keeps its addresses: duplicate address detection and router advertisements, with nodewall attached.

use std::net::Ipv6Addr;

use nodewall_testbed::{Host, Signal, skip_unless_privileged};

use super::frames::{self, Link};
use super::node::{Node, eventually};
use super::traffic::{assert_filtered, ping};

/// Turns duplicate address detection on, with no random wait before it, and time for an objection on a machine that is busy.
fn detect_duplicates(host: &Host) {
    let settings = [
        ("ipv6.conf.eth0.accept_dad", "1"),
        ("ipv6.conf.eth0.dad_transmits", "1"),
        ("ipv6.conf.eth0.router_solicitation_delay", "0"),
        ("ipv6.neigh.eth0.retrans_time_ms", "3000"),
    ];
    host.netns().sysctl(&settings).unwrap();
}

/// Gives the host an address and returns the flags that it has when detection is over.
fn flags_after_detection(host: &Host, address: Ipv6Addr) -> String {
    host.netns().ip(&["addr", "add", &format!("{address}/64"), "dev", "eth0"]).unwrap();
    eventually("duplicate address detection ends", || {
        let shown = host.netns().ip(&["-o", "-6", "addr", "show", "dev", "eth0"]).unwrap();
        let line = shown.lines().find(|line| line.contains(&format!(" {address}/64 ")))?;
        let over = line.contains("dadfailed") || !line.contains("tentative");
        over.then(|| line.to_owned())
    })
}

#[test]
fn duplicate_address_detection_succeeds_and_finds_a_duplicate() {
    if skip_unless_privileged("duplicate_address_detection_succeeds_and_finds_a_duplicate") {
        return;
    }
    let node = Node::enforcing();
    detect_duplicates(node.host());
    let free = "fd77::1:1".parse().unwrap();
    let flags = flags_after_detection(node.host(), free);
    assert!(!flags.contains("dadfailed") && !flags.contains("tentative"), "{flags}");
    ping(node.outsider().netns(), free.into());
    // The outsider's answer gets through to the node.
    let flags = flags_after_detection(node.host(), node.outsider().ipv6());
    assert!(flags.contains("dadfailed"), "{flags}");
}

/// The outsider's question gets through to the node, so that the node defends its address.
#[test]
fn the_node_defends_its_address() {
    if skip_unless_privileged("the_node_defends_its_address") {
        return;
    }
    let node = Node::enforcing();
    detect_duplicates(node.outsider());
    let flags = flags_after_detection(node.outsider(), node.host().ipv6());
    assert!(flags.contains("dadfailed"), "{flags}");
}

/// An address that failed detection is not the node's: its owner is still a peer.
#[test]
fn a_peers_address_that_failed_detection_here_is_still_the_peers() {
    if skip_unless_privileged("a_peers_address_that_failed_detection_here_is_still_the_peers") {
        return;
    }
    let mut node = Node::enforcing();
    detect_duplicates(node.host());
    let flags = flags_after_detection(node.host(), node.peers()[0].ipv6());
    assert!(flags.contains("dadfailed"), "{flags}");
    // A new agent has certainly seen it.
    node.end_agent(Signal::TERM);
    node.start_agent();
    assert_filtered(&node);
}

#[test]
fn a_router_advertisement_gives_an_address_and_a_route() {
    if skip_unless_privileged("a_router_advertisement_gives_an_address_and_a_route") {
        return;
    }
    let node = Node::enforcing();
    node.netns().sysctl(&[("ipv6.conf.eth0.accept_ra", "1"), ("ipv6.conf.eth0.autoconf", "1")]).unwrap();
    let (router, prefix) = ("fe80::77".parse().unwrap(), "2001:db8:77::".parse().unwrap());
    let advertisement = frames::router_advertisement(Link::between(node.outsider(), node.host()), router, prefix);
    node.outsider().netns().send_frames("eth0", &[advertisement]).unwrap();
    eventually("the advertisement's address and route are there", || {
        let addresses = node.netns().ip(&["-6", "addr", "show", "dev", "eth0"]).unwrap();
        let default_route = node.netns().ip(&["-6", "route", "show", "default"]).unwrap();
        (addresses.contains("2001:db8:77:") && default_route.contains("via fe80::77")).then_some(())
    });
    node.assert_no_drops();
}
