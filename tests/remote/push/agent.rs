//! The agent's push over its whole life: restarts, a swap that adds and removes ports, a detach. And what `status` says of it.

use std::{collections::BTreeMap, thread, time::Duration};

use nodewall_testbed::skip_unless_privileged;

use super::{
    receiver::{Manner, Receiver},
    world::{PATIENCE, World, arrived, mix},
};

const RATE_PPS: u32 = 4_000;

fn packets(receiver: &Receiver) -> u64 {
    let received = |(key, dimensions): &(String, _)| {
        let dimensions: &BTreeMap<String, String> = dimensions;
        key == "nodewall.packets" && dimensions["direction"] == "in"
    };
    arrived(receiver).into_iter().filter(|(line, _)| received(line)).map(|(_, sum)| sum).sum()
}

fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let begin = std::time::Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn what_arrives_is_what_was_sent_across_a_restart_a_swap_and_a_detach() {
    if skip_unless_privileged("what_arrives_is_what_was_sent_across_a_restart_a_swap_and_a_detach") {
        return;
    }
    let (world, receiver) = World::new("push", |_| Manner::Take);
    let agent = world.start();
    let flood = world.netns.flood("far", mix(), RATE_PPS, Duration::from_secs(20)).unwrap();
    thread::sleep(Duration::from_millis(1_500));
    agent.terminate().unwrap();
    thread::sleep(Duration::from_millis(300));
    let agent = world.start();
    // Another policy: a port more, one less, and the class of one has another name.
    world.configure(
        "[[rule]]\nname = \"storage\"\nports = [9042]\naccess = \"cluster\"\n[[rule]]\nname = \"extra\"\nports = [50000]\naccess = \"cluster\"\n",
    );
    thread::sleep(Duration::from_millis(3_500));
    let sent = flood.stop().unwrap().total_packets();
    assert!(sent > 10_000, "{sent}");
    world.wait_until_all_arrived(|| arrived(&receiver));
    assert_eq!(packets(&receiver), sent, "arrived (left) is not what was sent (right)");
    let sums = receiver.sums();
    let classes: Vec<Option<&String>> =
        sums.keys().filter(|(_, d)| d.get("port").is_some_and(|p| p == "9042")).map(|(_, d)| d.get("class")).collect();
    assert!(
        classes.contains(&Some(&"cassandra".to_owned())) && classes.contains(&Some(&"storage".to_owned())),
        "{classes:?}"
    );
    assert!(sums.keys().any(|(_, d)| d.get("port").is_some_and(|p| p == "50000") && d["outcome"] == "drop"));

    // What was counted right before the maps were taken away arrives, too.
    world.netns.send_frames("far", &mix()).unwrap();
    thread::sleep(Duration::from_millis(50));
    world.run(&["detach"]).exits(0);
    eventually("the last word of the counters arrives", || packets(&receiver) == sent + mix().len() as u64);
    world.run(&["apply"]).exits(0);
    world.netns.send_frames("far", &mix()).unwrap();
    eventually("counters that are new begin at zero", || packets(&receiver) == sent + 2 * mix().len() as u64);
    thread::sleep(Duration::from_millis(2_500));
    assert_eq!(packets(&receiver), sent + 2 * mix().len() as u64);
    agent.terminate().unwrap();
}

#[test]
fn status_tells_how_the_push_is_doing() {
    if skip_unless_privileged("status_tells_how_the_push_is_doing") {
        return;
    }
    let (world, receiver) = World::new("push", |_| Manner::Refuse(503, None));
    let agent = world.start();
    world.netns.send_frames("far", &mix()).unwrap();
    let status = || world.run(&["status", "-o", "json"]).json();
    eventually("status is degraded", || {
        let status = status();
        let problems = status["problems"].to_string();
        status["healthy"] == false && problems.contains("the push to the vendor failed") && problems.contains("503")
    });
    assert!(status()["push"]["waiting_lines"].as_u64().unwrap() > 0);
    receiver.choose(|_| Manner::Take);
    eventually("status is well again", || {
        let status = status();
        status["healthy"] == true && status["push"]["waiting_lines"] == 0 && status["push"]["failures"] == 0
    });
    world.wait_until_all_arrived(|| arrived(&receiver));
    let table = world.run(&["status"]).exits(0).out;
    assert!(table.contains("push") && table.contains("127.0.0.1"), "{table}");
    agent.terminate().unwrap();
    // Without an agent nothing is pushed.
    assert!(status()["push"].is_null());
}
