//! An agent that neither runs nor ends: SIGSTOP, as a debugger or a frozen control group does it.

use std::thread;
use std::time::Duration;

use nodewall_testbed::{Signal, judge_time, skip_unless_privileged};

use crate::node::eventually;
use crate::record::{Record, alone, is_full};
use crate::rig::{self, FLOOD_AT_LEAST_PPS, FLOOD_PPS};
use crate::steady::{self, Steady};

#[test]
fn a_stopped_agent_under_a_flood() {
    if skip_unless_privileged("a_stopped_agent_under_a_flood") {
        return;
    }
    let _turn = alone();
    let stopped = Duration::from_secs(if is_full() { 60 } else { 2 });
    let mut record = Record::new(
        "stop",
        "SIGSTOP on the agent (short: 2 s, full: 60 s), at >= 100 kpps",
        1,
        "verdicts unchanged, counted = sent; it goes on afterwards",
    );
    let node = rig::enforcing(&steady::settings());
    let steady = Steady::begin(&node, FLOOD_PPS);
    node.agent().freeze().unwrap();
    thread::sleep(stopped);
    // Those who ask are answered by the kernel's maps, not by the agent.
    assert_eq!(node.json("status")["healthy"], true);
    let outcome = steady.end();
    record.measured(outcome.words());
    outcome.assert_unharmed();
    assert!(outcome.flooded.elapsed >= stopped);
    judge_time(outcome.flooded.rate_pps() >= FLOOD_AT_LEAST_PPS, || format!("too slow: {:?}", outcome.flooded));

    let generation = node.generation();
    node.agent().signal(Signal::CONT).unwrap();
    node.agent().signal(Signal::HUP).unwrap();
    eventually("it takes a reload", || (node.generation() == generation + 1).then_some(()));
    record.passed();
}
