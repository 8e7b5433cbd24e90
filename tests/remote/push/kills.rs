//! Agents that are killed: nothing is counted twice, and what may be lost is told.

use std::{thread, time::Duration};

use nodewall_testbed::{Signal, eventually_or, skip_unless_privileged, until};
use serde_json::Value;

use super::{
    receiver::{Manner, Receiver},
    world::{PATIENCE, World, arrived, mix, sum_of_packets},
};

const KILLS: u64 = 50;
/// After its start an agent reads the counters and sends at once: half of the kills come by then.
const MOMENTS_MS: u64 = 120;
/// Fewer, and the kills came too early to show anything.
const REQUESTS_AT_LEAST: usize = 15;
const RATE_PPS: u32 = 2_000;

/// xorshift64*: the same moments and failures each time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }
}

fn totals(world: &World) -> Value {
    world.run(&["status", "-o", "json"]).json()["push"]["totals"].clone()
}

/// All that was counted is acknowledged or told to be lost; nothing came twice; and what did not come is within what is told.
fn all_is_told(world: &World, receiver: &Receiver) {
    let is_told = |totals: &Value, counted: u64| {
        let told = |what: &str| totals[what]["packets"].as_u64().unwrap_or(0);
        told("acknowledged") + told("lost") == counted
    };
    let shown = || format!("all is acknowledged or lost of {}: {}", sum_of_packets(&world.counted()), totals(world));
    eventually_or(shown, || is_told(&totals(world), sum_of_packets(&world.counted())).then_some(()));
    let (arrived, counted) = (arrived(receiver), world.counted());
    for (name, sum) in &arrived {
        assert!(sum <= &counted[name], "{name:?}: {sum} arrived of {}", counted[name]);
    }
    let missing = sum_of_packets(&counted) - sum_of_packets(&arrived);
    let lost = totals(world)["lost"]["packets"].as_u64().unwrap();
    println!("{} packets counted, {missing} did not arrive, {lost} are told to be lost", sum_of_packets(&counted));
    assert!(missing <= lost, "{missing} did not arrive, {lost} are told");
}

#[test]
fn a_kill_before_the_answer_is_told_and_one_between_requests_loses_nothing() {
    if skip_unless_privileged("a_kill_before_the_answer_is_told_and_one_between_requests_loses_nothing") {
        return;
    }
    let (world, receiver) = World::new("push", |_| Manner::Take);
    let mut agent = world.start();
    for _ in 0..2 {
        world.netns.send_frames("far", &mix()).unwrap();
        world.wait_until_all_arrived(|| arrived(&receiver));
        agent.signal(Signal::KILL).unwrap();
        agent.wait(PATIENCE).unwrap();
        // The program stays and counts; none of it is pushed twice, and none is forgotten.
        world.netns.send_frames("far", &mix()).unwrap();
        agent = world.start();
        world.wait_until_all_arrived(|| arrived(&receiver));
    }
    until("the last answer is noted", || totals(&world)["acknowledged"]["packets"] == sum_of_packets(&world.counted()));
    assert_eq!(totals(&world)["lost"]["packets"], 0);

    let before = receiver.requests().len();
    receiver.choose(|_| Manner::Late(PATIENCE));
    world.netns.send_frames("far", &mix()).unwrap();
    until("a request is on its way", || receiver.requests().len() > before);
    agent.signal(Signal::KILL).unwrap();
    agent.wait(PATIENCE).unwrap();
    let doubtful: u64 = receiver.requests()[before..]
        .iter()
        .flat_map(|request| &request.lines)
        .filter(|line| line.key == "nodewall.packets")
        .map(|line| line.delta)
        .sum();
    receiver.choose(|_| Manner::Take);
    let agent = world.start();
    all_is_told(&world, &receiver);
    let told = totals(&world);
    assert_eq!(told["lost"]["packets"].as_u64(), Some(doubtful), "{told}");
    assert!(told["last_loss"].to_string().contains("nodewall ended before"), "{told}");
    // The receiver has taken it, all the same: what is in doubt counts as lost.
    world.wait_until_all_arrived(|| arrived(&receiver));
    agent.terminate().unwrap();
}

#[test]
fn kills_at_any_moment_count_nothing_twice_and_tell_all_that_may_be_lost() {
    if skip_unless_privileged("kills_at_any_moment_count_nothing_twice_and_tell_all_that_may_be_lost") {
        return;
    }
    let (mut moments, mut choices) = (Random(0x9e37_79b9_7f4a_7c15), Random(0x1234_5678_9abc_def1));
    let (world, receiver) = World::new("push", move |_| match choices.below(10) {
        0 => Manner::Refuse(503, None),
        1 => Manner::Refuse(429, Some(1)),
        2 => Manner::Cut,
        3 => Manner::Late(Duration::from_millis(20)),
        _ => Manner::Take,
    });
    let flood = world.netns.flood("far", mix(), RATE_PPS, Duration::from_secs(400)).unwrap();
    let mut kills = 0;
    // On a busy machine most agents are killed before their first push: more of them, and later.
    while kills < KILLS || receiver.requests().len() <= REQUESTS_AT_LEAST {
        let agent = world.start();
        thread::sleep(Duration::from_millis(moments.below(MOMENTS_MS * (1 + kills / KILLS))));
        agent.signal(Signal::KILL).unwrap();
        agent.wait(PATIENCE).unwrap();
        kills += 1;
        assert!(kills < 10 * KILLS, "{} requests", receiver.requests().len());
    }
    receiver.choose(|_| Manner::Take);
    let agent = world.start();
    assert!(flood.stop().unwrap().total_packets() > 0);
    all_is_told(&world, &receiver);
    agent.terminate().unwrap();
}
