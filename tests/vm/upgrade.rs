//! An upgrade: another executable, and with it another program, takes over what the first one pinned. Counters, policy and link stay; the
//! outsider never gets in.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nodewall_testbed::{Lab, Listener, Outcome, Protocol, Signal, probe_many, run_to_end};

use crate::counters::Cells;
use crate::guest::skip_outside;
use crate::node::{Node, PATIENCE, eventually};
use crate::settings::Settings;
use crate::traffic::{add, answered, probes, silent};
use nodewall_rig::binary::executable;

/// An emulated processor verifies some 100,000 instructions a second, and the programs that log have several of them.
const VERIFIED_WITHIN: Duration = Duration::from_secs(80);

/// The same code at another place is another file and another process, as a new version is.
#[test]
fn a_second_executable_takes_over() {
    let test = "upgrade::a_second_executable_takes_over";
    if skip_outside(test) {
        return;
    }
    let mut node = Node::idle(Lab::new().unwrap(), &Settings::default());
    assert!(node.nodewall("apply", &[]).status.success());
    let sockets = Listener::both(node.netns(), &[9042]).unwrap();
    let probes = probes(node.host(), &[9042]);
    let mut expected = Cells::new();
    let [peer, _] = node.peers();
    let ask = |expected: &mut Cells| {
        add(expected, "cassandra", ("pass", "peer"), &probes, &answered(peer, &probes));
        add(expected, "cassandra", ("drop", "outsider"), &probes, &silent(node.outsider(), &probes));
    };
    ask(&mut expected);
    node.assert_counted(crate::counters::Counters::named_and_drops, &expected);
    let before = (node.attachment("eth0").unwrap(), node.generation());

    let folder = tempfile::tempdir().unwrap();
    let second = folder.path().join("nodewall-next");
    fs::copy(executable(), &second).unwrap();
    let mut upgrade = node.netns().command(&second);
    upgrade.args(node.command("apply", &[]).get_args());
    // Somebody knocks all the while.
    let done = AtomicBool::new(false);
    let (upgraded, knocks) = thread::scope(|scope| {
        let knocking = scope.spawn(|| {
            let mut all = Vec::new();
            while !done.load(Ordering::Relaxed) {
                let round = probe_many(node.outsider().netns(), &probes, Duration::from_millis(50)).unwrap();
                all.extend(probes.iter().copied().zip(round));
            }
            all
        });
        let upgraded = run_to_end("the next nodewall", upgrade, PATIENCE);
        done.store(true, Ordering::Relaxed);
        (upgraded.unwrap(), knocking.join().unwrap())
    });
    assert!(upgraded.status.success(), "{upgraded:?}");
    assert!(!knocks.is_empty());
    for (probe, probed) in &knocks {
        assert_eq!(probed.outcome, Outcome::TimedOut, "{probe:?}");
        add(&mut expected, "cassandra", ("drop", "outsider"), &[*probe], std::slice::from_ref(probed));
    }
    let after = (node.attachment("eth0").unwrap(), node.generation());
    assert_eq!(after.0.0, before.0.0, "the mode");
    assert_ne!(after.0.1, before.0.1, "the program is another one");
    assert!(after.1 > before.1, "{before:?} {after:?}");
    ask(&mut expected);
    node.assert_counted(crate::counters::Counters::named_and_drops, &expected);
    let sources = sockets.arrived(Protocol::Udp, 9042).sources;
    assert_eq!(sources.len(), 2, "{sources:?}");
    // An agent adopts what the second executable left.
    node.start_agent();
    assert!(node.end_agent(Signal::TERM).success());
    node.assert_counted(crate::counters::Counters::named_and_drops, &expected);
}

/// From one program to one with other instructions: the filter that logs takes the place of the one that does not.
#[test]
fn another_program_takes_over() {
    let test = "upgrade::another_program_takes_over";
    if skip_outside(test) {
        return;
    }
    let mut node = Node::enforcing();
    let before = node.attachment("eth0").unwrap();
    let sockets = Listener::both(node.netns(), &[9042]).unwrap();
    let probes = probes(node.host(), &[9042]);
    let knock = |node: &Node, expected: &mut Cells| {
        add(expected, "cassandra", ("drop", "outsider"), &probes, &silent(node.outsider(), &probes));
    };
    let mut expected = Cells::new();
    knock(&node, &mut expected);
    assert!(node.end_agent(Signal::TERM).success());
    let logging =
        nodewall_testbed::Process::spawn("nodewall run --kernel-log", node.command("run", &["--kernel-log"])).unwrap();
    logging.wait_for_line(VERIFIED_WITHIN, |line| line.contains("policy enforced")).unwrap();
    assert_ne!(node.attachment("eth0").unwrap(), before);
    knock(&node, &mut expected);
    node.assert_counted(crate::counters::Counters::named_and_drops, &expected);
    eventually("the kernel's words are logged", || logging.output().contains("9042").then_some(()));
    assert!(logging.terminate().unwrap().success());
    assert_eq!(sockets.arrived(Protocol::Udp, 9042).count, 0);
}
