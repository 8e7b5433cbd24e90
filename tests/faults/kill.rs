//! kill -9 at any moment of an agent's life, from its first instruction to long after its policy is in force.

use std::thread;
use std::time::{Duration, Instant};

use node_ebpf_common::Shape;
use nodewall_datapath::{Hook, Layer, Loaded, PinDir, Target, attach_tc, detach, links};
use nodewall_testbed::{judge_time, skip_unless_privileged};

use crate::measure::{grouped, kpps};
use crate::node::Node;
use crate::random::Random;
use crate::record::{Record, alone, runs, seed};
use crate::rig::{self, CASSANDRA, FLOOD_AT_LEAST_PPS, OUTSIDER, Witness};

/// The filter's hook, as the kernel shows it.
fn hook(node: &Node) -> Hook {
    let pins = PinDir::open(node.directories.pins()).unwrap().unwrap();
    node.netns().run(|| links(&pins).unwrap()[0].hook).unwrap()
}

/// Puts a filter of classic traffic control in the place of what is there, as on kernels before 6.6.
fn move_to_clsact(node: &Node) {
    let pins = PinDir::open(node.directories.pins()).unwrap().unwrap();
    let moved = || {
        let target =
            Target { name: "eth0".to_owned(), if_index: links(&pins).unwrap()[0].if_index, layer: Layer::Ethernet };
        let mut loaded = Loaded::new(Some(&pins), Shape::PER_PEER).unwrap();
        assert!(detach(&pins, &target).unwrap());
        attach_tc(&mut loaded, &pins, &target, Some(Hook::Clsact)).unwrap();
    };
    node.netns().run(moved).unwrap();
}

#[test]
fn kill_9_under_a_flood() {
    if skip_unless_privileged("kill_9_under_a_flood") {
        return;
    }
    kill_again_and_again("kill", "kill -9 of the agent, at >= 100 kpps", Hook::Xdp);
}

#[test]
fn kill_9_under_a_flood_at_tcx() {
    if skip_unless_privileged("kill_9_under_a_flood_at_tcx") {
        return;
    }
    kill_again_and_again("kill-tcx", "the same with the filter at the tc hook, by a link (Linux 6.6)", Hook::Tcx);
}

#[test]
fn kill_9_under_a_flood_at_clsact() {
    if skip_unless_privileged("kill_9_under_a_flood_at_clsact") {
        return;
    }
    let fault = "the same with the filter at the tc hook, by a filter of traffic control";
    kill_again_and_again("kill-clsact", fault, Hook::Clsact);
}

fn kill_again_and_again(name: &'static str, fault: &'static str, by: Hook) {
    let _turn = alone();
    let kills = runs(10, 1_000);
    let mut record = Record::new(name, fault, kills, "0 leaked; counted = sent; the next start adopts");
    let settings = rig::settings();
    let node = rig::idle(&if by == Hook::Xdp { settings } else { settings.top("attach_mode = \"tc\"") });
    if by == Hook::Clsact {
        assert!(node.nodewall("apply", &[]).status.success());
        move_to_clsact(&node);
    }
    let began = Instant::now();
    let first = rig::spawn_agent(&node, &[]);
    rig::wait_until_enforced(&first);
    let start = began.elapsed();
    assert_eq!(hook(&node), by);
    let mut witness =
        if by == Hook::Xdp { Witness::of(&node, &[CASSANDRA]) } else { Witness::of_sockets(&node, &[CASSANDRA]) };
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
    assert_eq!(hook(&node), by, "it was adopted");
    assert!(node.generation() > generation && node.json("status")["healthy"] == true, "{}", node.json("status"));
    record.passed();
}
