//! The agent's life: its end leaves enforcement in place, the next one adopts without a gap, only `detach` opens the node.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nodewall_testbed::{
    Family, Host, Listener, Outcome, Probe, Probed, Protocol, Signal, probe_many, skip_unless_privileged, until,
};

use super::counters::{Cells, Counters};
use super::node::{Node, PATIENCE, eventually};
use super::traffic::{add, assert_filtered, assert_open, probes};

/// Short, so that the outsider knocks often.
const KNOCK: Duration = Duration::from_millis(50);

#[test]
fn sigterm_leaves_enforcement_in_place() {
    if skip_unless_privileged("sigterm_leaves_enforcement_in_place") {
        return;
    }
    let mut node = Node::enforcing();
    let (generation, attachment) = (node.generation(), node.attachment("eth0"));
    assert!(node.end_agent(Signal::TERM).success());
    assert_filtered(&node);
    assert_eq!((node.generation(), node.attachment("eth0")), (generation, attachment));
    // The counters go on, too: two datagrams and two SYNs from the outsider.
    until("they are counted", || node.counters().drops().values().sum::<u64>() >= 4);
}

#[test]
fn a_killed_agent_leaves_enforcement_in_place() {
    if skip_unless_privileged("a_killed_agent_leaves_enforcement_in_place") {
        return;
    }
    let mut node = Node::enforcing();
    node.end_agent(Signal::KILL);
    assert_filtered(&node);
    node.start_agent();
    assert_filtered(&node);
}

/// Fewer probes than this say little about the restarts.
const ENOUGH: usize = 20;

/// Asks again and again until `done`, and often enough, and returns every probe with what became of it.
fn keep_asking(from: &Host, probes: &[Probe], timeout: Duration, done: &AtomicBool) -> Vec<(Probe, Probed)> {
    let mut all = Vec::new();
    while !done.load(Ordering::Relaxed) || all.len() <= ENOUGH {
        all.extend(probes.iter().copied().zip(probe_many(from.netns(), probes, timeout).unwrap()));
    }
    all
}

#[test]
fn restarts_under_traffic_lose_nothing_and_let_nothing_in() {
    if skip_unless_privileged("restarts_under_traffic_lose_nothing_and_let_nothing_in") {
        return;
    }
    let mut node = Node::enforcing();
    let first_generation = node.generation();
    let sockets = Listener::both(node.netns(), &[9042]).unwrap();
    let (lab, probes) = (Arc::clone(&node.lab), probes(node.host(), &[9042]));
    let done = AtomicBool::new(false);
    let (asked, knocked) = thread::scope(|scope| {
        let asking = scope.spawn(|| keep_asking(lab.peer1().unwrap(), &probes, PATIENCE, &done));
        let knocking = scope.spawn(|| keep_asking(lab.outsider().unwrap(), &probes, KNOCK, &done));
        let restarts = catch_unwind(AssertUnwindSafe(|| {
            for signal in [Signal::TERM, Signal::KILL, Signal::TERM] {
                node.end_agent(signal);
                node.start_agent();
            }
        }));
        done.store(true, Ordering::Relaxed);
        restarts.unwrap_or_else(|panic| resume_unwind(panic));
        (asking.join().unwrap(), knocking.join().unwrap())
    });
    assert_eq!(node.generation(), first_generation + 3);
    let mut expected = Cells::new();
    for (verdict, outcome, done) in [
        (("pass", "peer"), Outcome::Answered { by_port: 9042 }, &asked),
        (("drop", "outsider"), Outcome::TimedOut, &knocked),
    ] {
        for (probe, probed) in done {
            assert_eq!(probed.outcome, outcome, "{probe:?}");
            add(&mut expected, "cassandra", verdict, &[*probe], slice::from_ref(probed));
        }
    }
    // Not one packet is missing from the counters, whichever program and policy it met.
    node.assert_counted(Counters::named_and_drops, &expected);
    for protocol in Protocol::ALL {
        let sources = sockets.arrived(protocol, 9042).sources;
        let peer = lab.peer1().unwrap();
        assert!(sources.keys().all(|source| Family::ALL.map(|f| peer.address(f)).contains(source)), "{sources:?}");
    }
}

/// The kernel takes a program off an interface a moment after the last pin of its link is gone, and a datagram that comes just
/// then is lost.
fn wait_until_let_go(node: &Node) {
    let filtered = || node.link_words("eth0").iter().any(|word| word.starts_with("xdp"));
    eventually("the program is off the interface", || (!filtered()).then_some(()));
}

#[test]
fn detach_opens_the_node_and_leaves_nothing_behind() {
    if skip_unless_privileged("detach_opens_the_node_and_leaves_nothing_behind") {
        return;
    }
    let mut node = Node::enforcing();
    assert!(node.link_words("eth0").contains(&"xdp".to_owned()));
    node.end_agent(Signal::TERM);
    let detached = node.nodewall("detach", &[]);
    assert!(detached.status.success(), "{detached:?}");
    assert!(!node.directories.pins().exists());
    wait_until_let_go(&node);
    assert_open(&node);
}

/// An operator's `detach` beside a running agent: it must not close the node again by itself.
#[test]
fn detach_beside_a_running_agent_opens_the_node_for_good() {
    if skip_unless_privileged("detach_beside_a_running_agent_opens_the_node_for_good") {
        return;
    }
    let node = Node::enforcing();
    assert!(node.nodewall("detach", &[]).status.success());
    wait_until_let_go(&node);
    assert_open(&node);
    // Something that makes a running agent look again, and apply anew if nobody had opened the node.
    node.netns().ip(&["addr", "add", "10.77.0.2/24", "dev", "eth0"]).unwrap();
    node.wait_for_log(|line| line.contains("opened by `nodewall detach`"));
    assert_open(&node);
    assert!(!node.directories.pins().exists());
    // The operator closes it again.
    node.agent().signal(Signal::HUP).unwrap();
    let enforced = || node.agent().output().matches("policy enforced").count();
    eventually("the agent enforces again", || (enforced() == 2).then_some(()));
    assert_filtered(&node);
}

#[test]
fn a_second_agent_is_refused_and_names_the_first() {
    if skip_unless_privileged("a_second_agent_is_refused_and_names_the_first") {
        return;
    }
    let node = Node::enforcing();
    let (generation, attachment) = (node.generation(), node.attachment("eth0"));
    let second = node.nodewall("run", &[]);
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    assert!(second.stderr.contains(&format!("pid {}", node.agent().id())), "{second:?}");
    assert_eq!((node.generation(), node.attachment("eth0")), (generation, attachment));
    assert_filtered(&node);
}
