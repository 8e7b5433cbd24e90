//! The agent's push over its whole life: restarts, a swap that adds and removes ports, a detach. And what `status` says of it.

use std::{collections::BTreeMap, thread, time::Duration};

use nodewall_testbed::{Flood, skip_unless_privileged, until};

use super::{
    receiver::{Manner, Receiver},
    world::{Name, PATIENCE, World, arrived, mix},
};

const RATE_PPS: u32 = 4_000;
/// No flood goes on for longer, whatever happens.
const FLOOD_AT_MOST: Duration = Duration::from_secs(600);

/// Packets that came in, of these counters.
fn inbound(counters: BTreeMap<Name, u64>) -> u64 {
    let received = |(key, dimensions): &Name| key == "nodewall.packets" && dimensions["direction"] == "in";
    counters.into_iter().filter(|(line, _)| received(line)).map(|(_, sum)| sum).sum()
}

/// Those that arrived at the receiver.
fn packets(receiver: &Receiver) -> u64 {
    inbound(arrived(receiver))
}

/// Those that the kernel counted.
fn counted(world: &World) -> u64 {
    inbound(world.counted())
}

fn more(flood: &Flood, packets: u64) {
    let wanted = flood.sent_packets() + packets;
    until("the flood goes on", || flood.sent_packets() >= wanted);
}

#[test]
fn what_arrives_is_what_was_sent_across_a_restart_a_swap_and_a_detach() {
    if skip_unless_privileged("what_arrives_is_what_was_sent_across_a_restart_a_swap_and_a_detach") {
        return;
    }
    let (world, receiver) = World::new("push", |_| Manner::Take);
    let agent = world.start();
    let flood = world.netns.flood("far", mix(), RATE_PPS, FLOOD_AT_MOST).unwrap();
    until("some of it arrives", || packets(&receiver) > 1_000);
    agent.terminate().unwrap();
    more(&flood, 1_000);
    let agent = world.start();
    // Another policy: a port more, one less, and the class of one has another name.
    world.configure(
        "[[rule]]\nname = \"storage\"\nports = [9042]\naccess = \"cluster\"\n[[rule]]\nname = \"extra\"\nports = [50000]\naccess = \"cluster\"\n",
    );
    let has = |port: &str, key: &str, value: &str| {
        let is = |d: &BTreeMap<String, String>, key: &str, value: &str| d.get(key).is_some_and(|found| found == value);
        receiver.sums().keys().any(|(_, dimensions)| is(dimensions, "port", port) && is(dimensions, key, value))
    };
    for (port, key, value) in
        [("9042", "class", "cassandra"), ("9042", "class", "storage"), ("50000", "outcome", "drop")]
    {
        until(&format!("{port} arrives with {key} {value}"), || has(port, key, value));
    }
    more(&flood, 1_000);
    let sent = flood.stop().unwrap().total_packets();
    world.wait_until_all_arrived(|| arrived(&receiver));
    assert_eq!(packets(&receiver), sent, "arrived (left) is not what was sent (right)");

    // What was counted right before the maps were taken away arrives, too.
    world.netns.send_frames("far", &mix()).unwrap();
    until("they are counted", || counted(&world) == sent + mix().len() as u64);
    world.run(&["detach"]).exits(0);
    until("what the counters held last arrives", || packets(&receiver) == sent + mix().len() as u64);
    world.run(&["apply"]).exits(0);
    world.netns.send_frames("far", &mix()).unwrap();
    until("counters that are new begin at zero", || packets(&receiver) == sent + 2 * mix().len() as u64);
    thread::sleep(Duration::from_millis(2_500));
    assert_eq!(packets(&receiver), sent + 2 * mix().len() as u64);
    agent.terminate().unwrap();
}

/// What passed is one counter in every mode: what was sent to the receiver is never sent again after a change of the mode.
#[test]
fn what_passed_arrives_once_across_enforce_panic_open_and_back() {
    if skip_unless_privileged("what_passed_arrives_once_across_enforce_panic_open_and_back") {
        return;
    }
    let (world, receiver) = World::new("push", |_| Manner::Take);
    let agent = world.start();
    let mut sent = 0;
    let mut send = || {
        // Different numbers, so that no counter is what another was.
        for _ in 0..sent + 3 {
            world.netns.send_frames("far", &mix()).unwrap();
        }
        sent += (sent + 3) * mix().len() as u64;
        until("all is counted", || counted(&world) == sent);
        until("all has arrived", || packets(&receiver) >= sent);
        // Some more requests: what is sent twice is so at each.
        let requests = receiver.requests().len();
        world.netns.send_frames("far", &mix()).unwrap();
        sent += mix().len() as u64;
        until("more has arrived", || receiver.requests().len() > requests && packets(&receiver) >= sent);
        assert_eq!(packets(&receiver), sent, "arrived (left) is not what was sent (right)");
    };
    send();
    let open = world.hold(&["panic-open", "--for", "1h"], "THE NODE IS OPEN");
    send();
    world.run(&["rollback"]);
    open.wait(PATIENCE).unwrap();
    send();
    world.wait_until_all_arrived(|| arrived(&receiver));
    let outcomes: Vec<u64> = ["pass", "drop", "would_drop"].map(|outcome| of_outcome(&receiver, outcome)).into();
    assert!(outcomes.iter().all(|packets| *packets > 0), "{outcomes:?}");
    agent.terminate().unwrap();
}

fn of_outcome(receiver: &Receiver, outcome: &str) -> u64 {
    let counters = arrived(receiver).into_iter().filter(|((_, dimensions), _)| dimensions["outcome"] == outcome);
    inbound(counters.collect())
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
    until("status is degraded", || {
        let status = status();
        let problems = status["problems"].to_string();
        status["healthy"] == false && problems.contains("the push to the vendor failed") && problems.contains("503")
    });
    assert!(status()["push"]["waiting_lines"].as_u64().unwrap() > 0);
    receiver.choose(|_| Manner::Take);
    until("status is well again", || {
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
