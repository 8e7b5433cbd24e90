//! A hundred agents killed at random moments, before a receiver that fails at random: nothing is counted twice, and nothing is lost but what was on its way at
//! the very moment, which is told.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, thread,
    time::Duration,
};

use nodewall_testbed::{Process, Signal, skip_unless_privileged};
use serde_json::Value;

use super::{
    grammar::Line,
    receiver::Manner,
    world::{Name, PATIENCE, World, arrived, mix, totals},
};

const KILLS: u64 = 100;
/// After its start an agent reads the counters and sends at once: half of the kills come by then.
const MOMENTS_MS: u64 = 120;
/// Fewer, and the kills came too early to show anything.
const REQUESTS_AT_LEAST: usize = 30;
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

/// What was on its way when the agent was killed, by its own record.
fn on_its_way(world: &World) -> Vec<Line> {
    let Ok(text) = fs::read_to_string(world.place.state().join("push.state")) else { return Vec::new() };
    let ledger: Value = serde_json::from_str(text.split_once('\n').unwrap().1).unwrap();
    let sending = &ledger["sending"];
    let Some(number) = sending["number"].as_u64() else { return Vec::new() };
    // Not sent yet, or answered and not yet entered into the ledger: no doubt.
    let way = fs::read_to_string(world.place.state().join("push.way")).unwrap_or_default();
    if !way.lines().next().unwrap_or_default().ends_with(&format!(" {number} sent")) {
        return Vec::new();
    }
    let sending = sending["lines"].as_u64().unwrap();
    let point = &ledger["points"][0];
    let lines = point["lines"].as_array().unwrap().iter().take(usize::try_from(sending).unwrap());
    lines
        .map(|line| Line {
            key: format!("nodewall.{}", line["metric"].as_str().unwrap()),
            dimensions: line["series"]
                .as_object()
                .unwrap()
                .iter()
                .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
                .collect(),
            delta: line["delta"].as_u64().unwrap(),
            unix_ms: point["unix_ms"].as_u64().unwrap(),
        })
        .collect()
}

/// Whether a request is between its first byte and its answer, by the agent's own record.
fn is_on_its_way(world: &World) -> bool {
    let way = fs::read_to_string(world.place.state().join("push.way")).unwrap_or_default();
    way.lines().next().unwrap_or_default().ends_with(" sent")
}

/// Stops a process and waits until every thread of it stands still.
fn stop(agent: &Process) {
    agent.signal(Signal::STOP).unwrap();
    let tasks = format!("/proc/{}/task", agent.id());
    let stands = || {
        fs::read_dir(&tasks).unwrap().flatten().all(|task| {
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T'))
        })
    };
    while !stands() {
        thread::yield_now();
    }
}

/// A receiver that fails at random, always with a word.
fn fails_at_random(seed: u64) -> impl FnMut(usize) -> Manner + Send + 'static {
    let mut choices = Random(seed);
    move |_| match choices.below(10) {
        0 => Manner::Refuse(503, None),
        1 => Manner::Refuse(429, Some(1)),
        2 => Manner::Refuse(500, None),
        3 => Manner::Late(Duration::from_millis(20)),
        _ => Manner::Take,
    }
}

fn sum_of_packets(sums: &BTreeMap<Name, u64>) -> u64 {
    sums.iter().filter(|((key, _), _)| key == "nodewall.packets").map(|(_, sum)| sum).sum()
}

#[test]
fn a_hundred_kills_outside_of_a_request_lose_and_double_nothing_at_all() {
    if skip_unless_privileged("a_hundred_kills_outside_of_a_request_lose_and_double_nothing_at_all") {
        return;
    }
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let (world, receiver) = World::new("push", fails_at_random(0x0bad_cafe_0bad_cafe));
    // What comes before the first start is nobody's to count.
    world.start().terminate().unwrap();
    let flood = world.netns.flood("far", mix(), RATE_PPS, Duration::from_secs(400)).unwrap();
    let mut spared = 0;
    for _ in 0..KILLS {
        let agent = world.start();
        thread::sleep(Duration::from_millis(random.below(MOMENTS_MS)));
        stop(&agent);
        while is_on_its_way(&world) {
            spared += 1;
            agent.signal(Signal::CONT).unwrap();
            thread::sleep(Duration::from_millis(3));
            stop(&agent);
        }
        agent.signal(Signal::KILL).unwrap();
        agent.wait(PATIENCE).unwrap();
    }
    receiver.choose(|_| Manner::Take);
    let agent = world.start();
    let sent = flood.stop().unwrap().total_packets();
    world.wait_until_all_arrived(|| arrived(&receiver));
    // What the node sends back is pushed, too.
    let mut inbound = arrived(&receiver);
    inbound.retain(|(_, dimensions), _| dimensions["direction"] == "in");
    assert_eq!(sum_of_packets(&inbound), sent, "arrived (left) is not what was sent (right)");
    let standing: Value = world.run(&["status", "-o", "json"]).json()["push"].clone();
    assert_eq!(standing["totals"]["in_doubt"]["packets"], 0, "{standing}");
    let asked = receiver.asked();
    let refused = asked.iter().filter(|asked| asked.taken.is_empty()).count();
    println!(
        "{KILLS} kills, {spared} put off, {} requests of which {refused} were refused: {sent} packets sent and arrived",
        asked.len()
    );
    assert!(asked.len() > REQUESTS_AT_LEAST && refused > 3, "{} {refused}", asked.len());
    agent.terminate().unwrap();
}

#[test]
fn a_hundred_kills_at_any_moment_count_nothing_twice_and_tell_all_that_may_be_lost() {
    if skip_unless_privileged("a_hundred_kills_at_any_moment_count_nothing_twice_and_tell_all_that_may_be_lost") {
        return;
    }
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (world, receiver) = World::new("push", fails_at_random(0x1234_5678_9abc_def1));
    let flood = world.netns.flood("far", mix(), RATE_PPS, Duration::from_secs(400)).unwrap();
    let (mut doubtful, mut doubts) = (BTreeSet::new(), 0);
    for _ in 0..KILLS {
        let agent = world.start();
        thread::sleep(Duration::from_millis(random.below(MOMENTS_MS)));
        agent.signal(Signal::KILL).unwrap();
        agent.wait(PATIENCE).unwrap();
        let lines = on_its_way(&world);
        // An agent that is killed before it looked leaves the same doubt behind.
        doubts += usize::from(lines.iter().any(|line| doubtful.insert(line.clone())));
        doubtful.extend(lines);
    }
    receiver.choose(|_| Manner::Take);
    let agent = world.start();
    let sent = flood.stop().unwrap().total_packets();
    // By its own word of which requests it took, the receiver settles each doubt.
    let lost = || {
        let taken: Vec<Line> = receiver.asked().into_iter().flat_map(|asked| asked.taken).collect();
        totals(doubtful.iter().filter(|line| !taken.contains(line)).cloned())
    };
    world.wait_until_all_arrived(|| {
        let mut all = arrived(&receiver);
        for (name, sum) in lost() {
            *all.entry(name).or_default() += sum;
        }
        all
    });
    let lost = lost();
    let came: Vec<Line> = receiver.asked().into_iter().flat_map(|asked| asked.lines).collect();
    let never_came = totals(doubtful.iter().filter(|line| !came.contains(line)).cloned());
    println!(
        "{KILLS} kills, {} requests, {sent} packets sent to the node, {} arrived; {doubts} requests were on their way, of which {} packets were \
         refused at that moment and {} never came",
        receiver.asked().len(),
        sum_of_packets(&arrived(&receiver)),
        sum_of_packets(&lost) - sum_of_packets(&never_came),
        sum_of_packets(&never_came)
    );
    // Each doubt is told, whether it was one or not.
    let standing: Value = world.run(&["status", "-o", "json"]).json()["push"].clone();
    assert_eq!(standing["totals"]["in_doubt"]["packets"].as_u64().unwrap(), sum_of_packets(&totals(doubtful.clone())));
    assert!(receiver.asked().len() > REQUESTS_AT_LEAST, "{}", receiver.asked().len());
    agent.terminate().unwrap();
}
