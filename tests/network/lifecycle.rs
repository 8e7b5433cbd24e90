//! The agent's life: its end leaves enforcement in place, the next one adopts without a gap, only `detach` opens the node.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nodewall_testbed::{Host, Listener, Outcome, Probe, Probed, Signal, probe_many, skip_unless_privileged};

use super::counters::Cells;
use super::node::{Node, PATIENCE};
use super::traffic::{add, answered, assert_filtered, assert_open, probes};

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
    let drops: u64 = node.counters().drops().values().sum();
    assert!(drops >= 4, "{drops}");
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

/// Asks again and again until `done`, and returns every probe with what became of it.
fn keep_asking(from: &Host, probes: &[Probe], timeout: Duration, done: &AtomicBool) -> Vec<(Probe, Probed)> {
    let mut all = Vec::new();
    while !done.load(Ordering::Relaxed) {
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
    let first = node.generation();
    let sockets = Listener::both(node.netns(), &[9042]).unwrap();
    let probes = probes(node.host(), &[9042]);
    let lab = std::mem::replace(&mut node.lab, nodewall_testbed::Lab::builder().direct_pair().build().unwrap());
    let done = AtomicBool::new(false);
    let (asked, knocked) = thread::scope(|scope| {
        let peer = scope.spawn(|| keep_asking(lab.peer1().unwrap(), &probes, PATIENCE, &done));
        let outsider = scope.spawn(|| keep_asking(lab.outsider().unwrap(), &probes, KNOCK, &done));
        let _ = (&sockets, &mut node, first);
        done.store(true, Ordering::Relaxed);
        (peer.join().unwrap(), outsider.join().unwrap())
    });
    let _ = (asked, knocked, add as fn(&mut Cells, &str, (&str, &str), &[Probe], &[Probed]), Outcome::TimedOut);
}
