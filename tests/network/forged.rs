//! Frames that lie or hide, from the wire: sources that can not be, tags in front. And audit mode, which drops nothing.

use std::net::IpAddr;

use nodewall_testbed::{Family, Lab, Listener, Protocol, skip_unless_privileged};

use super::counters::{Cell, Cells, Counters};
use super::frames::{self, Link};
use super::node::{Node, eventually};
use super::settings::Settings;
use super::traffic::{add, answered, probes};

/// Frames to the node's Cassandra port by UDP, one from each of these sources, on the outsider's wire.
fn forged(node: &Node, sources: &[IpAddr]) -> Vec<Vec<u8>> {
    let link = Link::between(node.outsider(), node.host());
    let to = |source: &IpAddr| node.host().address(if source.is_ipv4() { Family::V4 } else { Family::V6 });
    sources.iter().map(|source| frames::udp(link, (*source, 5353), (to(source), 9042), b"forged")).collect()
}

fn cassandra_udp(outcome: &str, reason: &str) -> Cell {
    Cell::port("cassandra", 9042, Protocol::Udp, outcome, reason)
}

#[test]
fn sources_that_can_not_be_are_dropped_as_spoofed() {
    if skip_unless_privileged("sources_that_can_not_be_are_dropped_as_spoofed") {
        return;
    }
    let node = Node::enforcing();
    let sockets = Listener::udp(node.netns(), &[9042]).unwrap();
    let martian = ["127.0.0.1", "224.0.0.1", "255.255.255.255", "0.0.0.0", "ff02::1", "::1", "::", "::ffff:10.77.0.11"];
    let mut sources: Vec<IpAddr> = martian.iter().map(|text| text.parse().unwrap()).collect();
    sources.extend(Family::ALL.map(|family| node.host().address(family)));
    node.outsider().netns().send_frames("eth0", &forged(&node, &sources)).unwrap();
    let expected = [(cassandra_udp("drop", "spoofed_source"), sources.len() as u64)].into();
    node.assert_counted(Counters::named_and_drops, &expected);
    assert_eq!(sockets.arrived(Protocol::Udp, 9042).count, 0);
}

/// The same frames make their way to the socket when they come from a peer, so what stops the others is the policy.
#[test]
fn the_same_frames_from_a_peers_address_arrive() {
    if skip_unless_privileged("the_same_frames_from_a_peers_address_arrive") {
        return;
    }
    let node = Node::enforcing();
    let sockets = Listener::udp(node.netns(), &[9042]).unwrap();
    let [peer, _] = node.peers();
    let sources = Family::ALL.map(|family| peer.address(family));
    node.outsider().netns().send_frames("eth0", &forged(&node, &sources)).unwrap();
    node.assert_counted(Counters::named_and_drops, &[(cassandra_udp("pass", "peer"), 2)].into());
    eventually("both arrive", || (sockets.arrived(Protocol::Udp, 9042).count == 2).then_some(()));
}

/// A node and one host on the two ends of a cable: a bridge between them would take the tag out of the frame.
fn tagged(settings: &Settings) -> (Node, Listener, Cells, u64) {
    let lab = Lab::builder().direct_pair().build().unwrap();
    let node = Node::on(lab, &settings.clone().peers(&["192.0.2.1"]));
    let sockets = Listener::udp(node.netns(), &[9042]).unwrap();
    let outsider = node.lab.peer1().unwrap();
    let link = Link::between(outsider, node.host());
    let (payload, mut frames, mut bytes) = (b"tagged", Vec::new(), 0);
    for family in Family::ALL {
        let (from, to) = (outsider.socket(family, 5353), node.host().socket(family, 9042));
        let plain = frames::udp(link, (from.ip(), from.port()), (to.ip(), to.port()), payload);
        let once = frames::with_priority_tag(&plain);
        let twice = frames::with_priority_tag(&once);
        bytes += (once.len() + twice.len()) as u64;
        frames.extend([once, twice]);
    }
    outsider.netns().send_frames("eth0", &frames).unwrap();
    (node, sockets, [(cassandra_udp("drop", "outsider"), 4)].into(), bytes)
}

#[test]
fn a_vlan_tag_hides_no_port() {
    if skip_unless_privileged("a_vlan_tag_hides_no_port") {
        return;
    }
    let (node, sockets, expected, bytes) = tagged(&Settings::default());
    node.assert_counted(Counters::named_and_drops, &expected);
    // The tags were in the frames that nodewall saw: they are among the bytes.
    assert_eq!(node.counters().bytes(&cassandra_udp("drop", "outsider")), bytes);
    assert_eq!(sockets.arrived(Protocol::Udp, 9042).count, 0);
}

/// Why that matters: with nothing dropped, the kernel takes the tag off and hands the datagram to the socket.
#[test]
fn a_tagged_frame_would_reach_the_socket() {
    if skip_unless_privileged("a_tagged_frame_would_reach_the_socket") {
        return;
    }
    let (node, sockets, _, _) = tagged(&Settings::audit());
    node.assert_counted(Counters::drops, &[(cassandra_udp("would_drop", "outsider"), 4)].into());
    eventually("a tagged datagram arrives", || (sockets.arrived(Protocol::Udp, 9042).count > 0).then_some(()));
}

#[test]
fn audit_drops_nothing_and_counts_what_it_would() {
    if skip_unless_privileged("audit_drops_nothing_and_counts_what_it_would") {
        return;
    }
    let node = Node::with(&Settings::audit());
    let sockets = Listener::both(node.netns(), &[9042, 443]).unwrap();
    let probes = probes(node.host(), &[9042]);
    let mut expected = Cells::new();
    for peer in node.peers() {
        add(&mut expected, "cassandra", ("pass", "peer"), &probes, &answered(peer, &probes));
    }
    let knocks = answered(node.outsider(), &probes);
    add(&mut expected, "cassandra", ("would_drop", "outsider"), &probes, &knocks);
    node.assert_counted(Counters::named_and_drops, &expected);
    assert_eq!(sockets.arrived(Protocol::Tcp, 9042).count, 6);
}
