//! What the node sends, counted against what its interface says it sent, and against what its peers received: frames and bytes, exactly.

use std::net::SocketAddr;

use nodewall_testbed::{Family, Lab, Listener, Probe, Protocol, Signal, skip_unless_privileged};

use super::counters::{Cell, Sent};
use super::node::{Node, eventually};
use super::settings::Settings;
use super::traffic::{BULK_BYTES, answered, bulk, probes};

const MISSION_CONTROL: &str = "52.5.224.56";

/// What the interface says it sent.
fn interface_sent(node: &Node) -> Sent {
    let table = node.netns().run(|| std::fs::read_to_string("/proc/thread-self/net/dev").unwrap()).unwrap();
    let numbers = table.lines().find_map(|line| line.trim_start().strip_prefix("eth0:")).unwrap();
    let numbers: Vec<u64> = numbers.split_whitespace().map(|number| number.parse().unwrap()).collect();
    Sent { packets: numbers[9], bytes: numbers[8] }
}

/// What the interface sent beyond what is counted: the same at all times from the attachment on. Read when nothing is being sent.
fn uncounted(node: &Node) -> (u64, u64) {
    eventually("a moment at which nothing is sent", || {
        let before = interface_sent(node);
        let counted = node.counters().sent_altogether();
        let same = before == interface_sent(node);
        same.then(|| (before.packets - counted.packets, before.bytes - counted.bytes))
    })
}

fn row(class: &str, port: u16, protocol: Protocol, reason: &str) -> Cell {
    Cell::port(class, port, protocol, "pass", reason)
}

fn node() -> Node {
    let lab = Lab::new().unwrap();
    lab.node().netns().cut_up_before("eth0").unwrap();
    Node::on(lab, &Settings::default())
}

/// Requests to a peer's port and answers from ours: on one row, in two directions, and nothing of it is lost against the interface's own count.
#[test]
fn requests_and_answers_are_counted_apart_and_exactly() {
    if skip_unless_privileged("requests_and_answers_are_counted_apart_and_exactly") {
        return;
    }
    let node = node();
    let start = uncounted(&node);
    let _ours = Listener::both(node.netns(), &[9042]).unwrap();
    let peer = node.peers()[0];
    let _theirs = Listener::both(peer.netns(), &[9042]).unwrap();

    answered(peer, &probes(node.host(), &[9042]));
    let answers = Protocol::ALL.map(|protocol| row("cassandra", 9042, protocol, "sent_from_port"));
    let requests = Protocol::ALL.map(|protocol| row("cassandra", 9042, protocol, "sent_to_port"));
    // A datagram for a datagram over each family; TCP answers with a handshake's and an end's segments at least.
    let counted = node.counters();
    assert_eq!(counted.sent(&answers[1]).packets, 2);
    assert!(counted.sent(&answers[0]).packets >= 4, "{:?}", counted.sent(&answers[0]));
    assert_eq!(requests.each_ref().map(|cell| counted.sent(cell)), [Sent::default(); 2]);

    answered(node.host(), &probes(peer, &[9042]));
    let counted = node.counters();
    assert_eq!(counted.sent(&requests[1]).packets, 2);
    assert!(counted.sent(&requests[0]).packets >= 4);
    assert_eq!(counted.sent(&answers[1]).packets, 2, "a request is no answer");
    assert_eq!(uncounted(&node), start, "the interface sent what is not counted, or the other way round");
}

/// The stack hands the program aggregates of up to 64 KiB. Counted are the frames that leave.
#[test]
fn a_bulk_transfer_is_counted_as_the_frames_that_leave() {
    if skip_unless_privileged("a_bulk_transfer_is_counted_as_the_frames_that_leave") {
        return;
    }
    let node = node();
    let start = uncounted(&node);
    for family in Family::ALL {
        let before = node.counters().sent(&row("cassandra", 9042, Protocol::Tcp, "sent_to_port"));
        bulk(node.host(), node.peers()[0], family, 9042);
        let after = node.counters().sent(&row("cassandra", 9042, Protocol::Tcp, "sent_to_port"));
        let full_frames = BULK_BYTES as u64 / 1_460;
        assert!(after.packets - before.packets >= full_frames, "{before:?} {after:?}");
        assert!(after.bytes - before.bytes > BULK_BYTES as u64 + full_frames * 54, "{before:?} {after:?}");
        assert_eq!(uncounted(&node), start, "{family:?}");
    }
}

/// The vendor's address stands on a host of the lab: what goes to its port 443 is told apart, and is on that port's row, too.
#[test]
fn what_goes_to_mission_control_is_told_apart() {
    if skip_unless_privileged("what_goes_to_mission_control_is_told_apart") {
        return;
    }
    let node = node();
    let start = uncounted(&node);
    let outsider = node.outsider();
    outsider.netns().ip(&["addr", "add", &format!("{MISSION_CONTROL}/32"), "dev", "eth0"]).unwrap();
    node.netns().ip(&["route", "add", MISSION_CONTROL, "dev", "eth0"]).unwrap();
    let _sockets = Listener::both(outsider.netns(), &[443, 444]).unwrap();
    let target = |port| SocketAddr::new(MISSION_CONTROL.parse().unwrap(), port);
    let asked = [Probe::tcp(target(443)), Probe::tcp(target(444)), Probe::tcp(outsider.socket(Family::V4, 443))];
    answered(node.host(), &asked[..1]);
    let mission = Cell { class: Some("mission_control".into()), ..Cell::portless("pass", "sent") };
    let mission = Cell { protocol: Some("tcp".into()), ..mission };
    let counted = node.counters();
    let https = counted.sent_to(443);
    assert!(counted.sent(&mission).packets >= 3, "{counted:?}");
    assert_eq!(counted.sent(&mission), https, "all of that port's frames so far");
    // Another port, another address: not Mission Control.
    answered(node.host(), &asked[1..]);
    assert_eq!(node.counters().sent(&mission), counted.sent(&mission));
    assert!(node.counters().sent_to(443).packets > https.packets);
    assert_eq!(uncounted(&node), start);
    let dropped = node.counters().drops();
    assert!(dropped.is_empty(), "{dropped:?}");
}

/// Counters carry on over restarts of the agent and over swaps; a port that the policy names only now has a row from now on.
#[test]
fn restarts_and_swaps_keep_what_was_counted() {
    if skip_unless_privileged("restarts_and_swaps_keep_what_was_counted") {
        return;
    }
    let mut node = node();
    let start = uncounted(&node);
    let lab = std::sync::Arc::clone(&node.lab);
    let peer = lab.peer1().unwrap();
    let _theirs = Listener::udp(peer.netns(), &[9042, 3306]).unwrap();
    let ask = |node: &Node, port| answered(node.host(), &[Probe::udp(peer.socket(Family::V4, port))]);
    let named = row("cassandra", 9042, Protocol::Udp, "sent_to_port");
    for (round, signal) in [(1, Signal::TERM), (2, Signal::KILL)] {
        ask(&node, 9042);
        assert_eq!(node.counters().sent(&named).packets, round);
        node.end_agent(signal);
        ask(&node, 3306);
        node.start_agent();
    }
    let unnamed = Cell::unmanaged(Protocol::Udp);
    assert_eq!(node.counters().sent(&unnamed).packets, 2);
    let rule = "[[rule]]\nname = \"db\"\nports = [\"3306\"]\naccess = \"cluster\"\n";
    node.configure(&Settings::default().rules(rule));
    let generation = node.generation();
    node.agent().signal(Signal::HUP).unwrap();
    eventually("the new policy", || (node.generation() > generation).then_some(()));
    ask(&node, 3306);
    let counted = node.counters();
    assert_eq!(counted.sent(&row("db", 3306, Protocol::Udp, "sent_to_port")).packets, 1);
    assert_eq!((counted.sent(&unnamed).packets, counted.sent(&named).packets), (2, 2));
    assert_eq!(uncounted(&node), start);
}
