//! kill -9 at any moment of an agent's life, from its first instruction to long after its policy is in force.

use std::thread;
use std::time::{Duration, Instant};

use nodewall_testbed::{judge_time, skip_unless_privileged};

use crate::measure::{grouped, kpps};
use crate::random::Random;
use crate::record::{Record, alone, runs, seed};
use crate::rig::{self, CASSANDRA, FLOOD_AT_LEAST_PPS, OUTSIDER, Witness};

#[test]
fn kill_9_under_a_flood() {
    if skip_unless_privileged("kill_9_under_a_flood") {
        return;
    }
    let _turn = alone();
    let kills = runs(10, 1_000);
    let mut record = Record::new(
        "kill",
        "kill -9 of the agent, at >= 100 kpps",
        kills,
        "0 leaked; counted = sent; the next start adopts",
    );
    let node = rig::idle(&rig::settings());
    let began = Instant::now();
    let first = rig::spawn_agent(&node, &[]);
    rig::wait_until_enforced(&first);
    let start = began.elapsed();
    let mut witness = Witness::of(&node, &[CASSANDRA]);
    let before = rig::counted(&node.json("counters"), CASSANDRA, "drop");
    let generation = node.generation();
    let flood = rig::flood(&node, vec![rig::datagram(&node, OUTSIDER, CASSANDRA)]);
    rig::kill(&first);

    let (mut random, mut early) = (Random::new(seed()), 0);
    for _ in 1..kills {
        let agent = rig::spawn_agent(&node, &[]);
        let window_us = usize::try_from(start.as_micros()).unwrap() * 3 / 2;
        thread::sleep(Duration::from_micros(random.below(window_us) as u64));
        rig::kill(&agent);
        early += u64::from(!agent.output().contains("policy enforced"));
        assert_eq!(witness.leaked_packets(), 0, "behind the filter, or lost by the tap");
    }
    let last = rig::spawn_agent(&node, &[]);
    rig::wait_until_enforced(&last);
    let flooded = flood.stop().unwrap();
    let sent = flooded.total_packets();
    let counters = rig::settled(&node, CASSANDRA, before + sent);
    let dropped = rig::counted(&counters, CASSANDRA, "drop") - before;
    let leaked = witness.leaked_packets();
    record.measured(format!(
        "{} frames at {}, {} counted, {leaked} leaked; {early} killed before their policy was in force",
        grouped(sent),
        kpps(flooded.rate_pps()),
        grouped(dropped),
    ));
    assert_eq!((leaked, dropped), (0, sent), "{flooded:?}");
    assert_eq!(rig::counted(&counters, CASSANDRA, "pass"), 0);
    judge_time(flooded.rate_pps() >= FLOOD_AT_LEAST_PPS, || format!("too slow to show a gap: {flooded:?}"));
    assert!(node.generation() > generation && node.json("status")["healthy"] == true, "{}", node.json("status"));
    record.passed();
}
