//! `status` beside changes: whoever looks while policies are swapped and agents end and start is never told what was not so.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nodewall_testbed::{Finished, Signal, skip_unless_privileged};

use crate::node::Node;
use crate::record::{Record, beside_others, runs};
use crate::rig;
use crate::steady;

const LOOKERS: usize = 2;
/// A restart comes after so many swaps.
const SWAPS_A_RESTART: u64 = 5;

#[test]
fn whoever_looks_beside_changes_is_told_what_is_so() {
    if skip_unless_privileged("whoever_looks_beside_changes_is_told_what_is_so") {
        return;
    }
    let _turn = beside_others();
    let (swaps, looks_each) = (runs(30, 1_000), runs(50, 5_000));
    let mut record = Record::new(
        "looks",
        "`status` beside blocks, unblocks, and agents that are ended, killed and started",
        swaps,
        "never a problem, never another mode, and no command taken for tampering",
    );
    let mut node = rig::enforcing(&steady::settings());
    let status = node.command("status", &["-o", "json"]);
    let (program, arguments) =
        (status.get_program().to_owned(), status.get_args().map(ToOwned::to_owned).collect::<Vec<_>>());
    let lab = std::sync::Arc::clone(&node.lab);
    let done = AtomicBool::new(false);
    let look = || {
        let mut looks = 0;
        while looks < looks_each || !done.load(Ordering::Relaxed) {
            let mut command = lab.node().netns().command(&program);
            command.args(&arguments);
            let seen = nodewall_testbed::run_to_end("status", command, crate::node::PATIENCE).unwrap();
            assert_well(&seen);
            looks += 1;
        }
        looks
    };
    let looks: u64 = thread::scope(|scope| {
        let lookers: Vec<_> = (0..LOOKERS).map(|_| scope.spawn(look)).collect();
        let changes = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| change(&mut node, swaps)));
        done.store(true, Ordering::Relaxed);
        let looks = lookers.into_iter().map(|looker| looker.join().unwrap()).sum();
        changes.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        looks
    });
    record.measured(format!("{looks} looks beside {swaps} swaps and {} restarts, all true", swaps / SWAPS_A_RESTART));
    record.passed();
}

fn assert_well(seen: &Finished) {
    let status: serde_json::Value = serde_json::from_str(&seen.stdout).unwrap();
    let problems = status["problems"].as_array().unwrap();
    // While it is started anew there is none, which is told, and nothing else.
    let without_agent = status["agent"].is_null()
        && problems.len() == 1
        && problems[0].as_str().is_some_and(|problem| problem.starts_with("no agent runs"));
    assert!(problems.is_empty() || without_agent, "{status}");
    assert_eq!(seen.status.code(), Some(if without_agent { 3 } else { 0 }), "{seen:?}");
    assert_eq!((&status["mode"], &status["repairs"]), (&"enforce".into(), &0.into()), "{status}");
    assert_eq!(status["interfaces"][0]["state"], "covered", "{status}");
}

fn change(node: &mut Node, swaps: u64) {
    for n in 1..=swaps {
        let verb = if n % 2 == 1 { "block" } else { "unblock" };
        let changed = node.nodewall(verb, &["192.0.2.7"]);
        assert!(changed.status.success(), "{changed:?}");
        if n % SWAPS_A_RESTART == 0 {
            node.end_agent(if n % 2 == 0 { Signal::TERM } else { Signal::KILL });
            node.start_agent();
        }
    }
}
