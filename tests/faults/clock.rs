//! The clock jumps by ten years, forwards and backwards, under traffic: nothing that is in force depends on it. Only in a guest of `cargo xtask faults`,
//! whose clock is nobody else's.

use std::time::Duration;

use nodewall_testbed::{Signal, run_to_end, skip_unless_privileged};

use crate::guest::skip_outside;
use crate::node::{Node, PATIENCE, eventually};
use crate::record::Record;
use crate::rig;
use crate::steady::{self, Steady};

const TEN_YEARS_S: i64 = 10 * 365 * 86_400;
/// Nobody's address.
const BLOCKED: &str = "10.77.0.99";
/// An emulated processor is slow.
const RATE_PPS: u32 = 300;

/// Moves the clock.
fn step(node: &Node, by_s: i64) {
    let now_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs().cast_signed();
    let mut date = node.netns().command("date");
    date.args(["-s", &format!("@{}", now_s + by_s)]);
    let done = run_to_end("date", date, PATIENCE).unwrap();
    assert!(done.status.success(), "{done:?}");
}

#[test]
fn the_clock_jumps_by_ten_years() {
    let test = "the_clock_jumps_by_ten_years";
    if skip_outside(test) || skip_unless_privileged(test) {
        return;
    }
    let jumps = [TEN_YEARS_S, -2 * TEN_YEARS_S, TEN_YEARS_S];
    let mut record = Record::new(
        "clock",
        "the clock jumps 10 years forwards and backwards, under traffic (VM)",
        jumps.len() as u64,
        "verdicts unchanged, counted = sent; a block for an hour stays one for an hour; reload and restart work",
    );
    let mut node = rig::enforcing(&steady::settings());
    let blocked = node.nodewall("block", &[BLOCKED, "--ttl", "1h"]);
    assert!(blocked.status.success(), "{blocked:?}");
    let mut words = Vec::new();
    for jump in jumps {
        let steady = Steady::begin(&node, RATE_PPS);
        eventually("some traffic", || (steady.sent_packets() > 300).then_some(()));
        step(&node, jump);
        let sent = steady.sent_packets();
        eventually("more traffic", || (steady.sent_packets() > sent + 300).then_some(()));
        let outcome = steady.end();
        words.push(outcome.words());
        record.measured(words.join("; "));
        outcome.assert_unharmed();

        let generation = node.generation();
        node.agent().signal(Signal::HUP).unwrap();
        eventually("it takes a reload", || (node.generation() > generation).then_some(()));
        assert!(node.end_agent(Signal::TERM).success());
        node.start_agent();
        assert!(node.generation() > generation);
        // Long enough for the watchdog to look, and to find nothing.
        std::thread::sleep(Duration::from_secs(2));
        let status = node.json("status");
        assert_eq!(status["healthy"], true, "{status}");
        let left_s = status["blocks"][0]["seconds_left"].as_u64();
        assert!(left_s.is_some_and(|left_s| (3_000..=3_600).contains(&left_s)), "{status}");
    }
    record.passed();
}
