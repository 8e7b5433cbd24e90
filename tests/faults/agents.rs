//! Two agents at once: one of them runs, the other says whose place it is and leaves everything as it is.

use std::time::Instant;

use nodewall_testbed::{Signal, skip_unless_privileged};

use crate::node::{PATIENCE, eventually};
use crate::record::{Record, beside_others, runs};
use crate::rig;

#[test]
fn two_agents_at_once() {
    if skip_unless_privileged("two_agents_at_once") {
        return;
    }
    let _turn = beside_others();
    let pairs = runs(5, 50);
    let mut record = Record::new(
        "agents",
        "two agents started at once",
        pairs,
        "one runs; the other exits 1 and names its pid; one policy change",
    );
    let node = rig::idle(&rig::settings());
    let mut named = 0;
    for pair in 0..pairs {
        let agents = [rig::spawn_agent(&node, &[]), rig::spawn_agent(&node, &[])];
        let mut ended = [None; 2];
        eventually("one of them ends", || {
            ended = agents.each_ref().map(|agent| agent.try_wait().unwrap());
            ended.iter().any(Option::is_some).then_some(())
        });
        let loser = ended.iter().position(Option::is_some).unwrap();
        let (winner, loser_said) = (&agents[1 - loser], &agents[loser]);
        let status = loser_said.wait(PATIENCE).unwrap();
        assert_eq!(status.code(), Some(1), "{}", loser_said.output());
        rig::wait_until_enforced(winner);
        named += u64::from(loser_said.output().contains(&format!("pid {}", winner.id())));
        record.measured(format!("{named} of {} losers named the pid of the other", pair + 1));
        assert_eq!(node.generation(), pair + 1, "the loser changed something: {}", loser_said.output());
        assert_eq!(winner.try_wait().unwrap(), None);
        let stopping = Instant::now();
        winner.signal(Signal::TERM).unwrap();
        assert!(winner.wait(PATIENCE).unwrap().success(), "{:?}: {}", stopping.elapsed(), winner.output());
    }
    assert_eq!(named, pairs);
    record.passed();
}
