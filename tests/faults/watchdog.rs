//! What is changed behind the agent's back while it runs: it notices within a second or so, sets it right, says so and counts it.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::{
    measure::ms,
    node::{Node, eventually},
    record::{Record, beside_others, runs},
    rig::{self, CASSANDRA, OUTSIDER, Witness},
};
use nodewall_datapath::Maps;
use nodewall_testbed::{Foreign, detach_link, judge_time, skip_unless_privileged};
use serde_json::Value;

/// The watchdog looks every second, and a look and a repair take a moment.
const REPAIRED_WITHIN: Duration = Duration::from_secs(2);

/// The pin of the one link.
fn link_pin(node: &Node) -> PathBuf {
    let mut pins = fs::read_dir(node.directories.pins().join("links")).unwrap().map(|entry| entry.unwrap().path());
    // The filter's ends in the interface's number, the outbound counter's in a word.
    let is_filter = |pin: &PathBuf| pin.to_string_lossy().ends_with(|last: char| last.is_ascii_digit());
    pins.find(is_filter).unwrap()
}

/// Somebody's interference, and what keeps it there until it is repaired.
type Harm = fn(&Node) -> Option<Foreign>;

const HARMS: [(&str, Harm); 5] = [
    ("the link's pin removed", |node| {
        fs::remove_file(link_pin(node)).unwrap();
        None
    }),
    ("the link detached", |node| {
        detach_link(&link_pin(node)).unwrap();
        None
    }),
    ("a foreign program in the link", |node| {
        let foreign = Foreign::load().unwrap();
        foreign.take_over(&link_pin(node)).unwrap();
        Some(foreign)
    }),
    ("the mode changed in the map", |node| {
        let (_, mut maps) = Maps::live(node.directories.pins()).unwrap().unwrap();
        let mut image = maps.policy().unwrap();
        image.enforce = 0;
        maps.swap(&image).unwrap();
        None
    }),
    ("the maps' pins removed", |node| {
        for pin in fs::read_dir(node.directories.maps()).unwrap() {
            fs::remove_file(pin.unwrap().path()).unwrap();
        }
        None
    }),
];

/// What `status` says, if it can say anything just now.
fn status(node: &Node) -> Option<Value> {
    serde_json::from_str(&node.nodewall("status", &["-o", "json"]).stdout).ok()
}

fn repairs(status: &Value) -> u64 {
    status["repairs"].as_u64().unwrap_or_default()
}

/// Whether all is as it was, by `status` and by the kernel.
fn is_right(node: &Node, status: &Value, sha256: &str) -> bool {
    let program = status["interfaces"][0]["program_id"].as_u64();
    status["healthy"] == true
        && status["mode"] == "enforce"
        && status["policy_sha256"] == sha256
        && program.is_some_and(|id| node.link_words("eth0").contains(&id.to_string()))
}

#[test]
fn interference_is_repaired() {
    if skip_unless_privileged("interference_is_repaired") {
        return;
    }
    let _turn = beside_others();
    let rounds = runs(1, 10);
    let mut record = Record::new(
        "watchdog",
        "behind a running agent's back: link unpinned, detached or taken over, mode changed, maps unpinned",
        rounds * HARMS.len() as u64,
        "each repaired within 2 s, logged and counted; nothing leaks afterwards",
    );
    let node = rig::enforcing(&rig::settings());
    let sha256 = node.json("status")["policy_sha256"].as_str().unwrap().to_owned();
    let (mut worst, mut seen) = ((Duration::ZERO, ""), 0);
    for (what, harm) in HARMS.iter().cycle().take(HARMS.len() * rounds as usize) {
        let before = repairs(&node.json("status"));
        let began = Instant::now();
        let _foreign = harm(&node);
        eventually(what, || {
            let status = status(&node)?;
            (repairs(&status) > before && is_right(&node, &status, &sha256)).then_some(())
        });
        worst = worst.max((began.elapsed(), *what));
        node.agent()
            .wait_for_line_from(&mut seen, crate::node::PATIENCE, |line| line.contains("repaired"))
            .unwrap_or_else(|error| panic!("{what}: {error}"));

        let mut witness = Witness::of(&node, &[CASSANDRA]);
        let counters = node.json("counters");
        let flood = rig::flood_at(&node, vec![rig::datagram(&node, OUTSIDER, CASSANDRA)], 5_000);
        eventually("some traffic", || (flood.sent_packets() > 200).then_some(()));
        let sent = flood.stop().unwrap().total_packets();
        let dropped = rig::counted(&counters, CASSANDRA, "drop") + sent;
        assert_eq!(rig::counted(&rig::settled(&node, CASSANDRA, dropped), CASSANDRA, "drop"), dropped, "{what}");
        assert_eq!(witness.leaked_packets(), 0, "{what}");
    }
    record.measured(format!("all repaired; the slowest in {} ({})", ms(worst.0), worst.1));
    judge_time(worst.0 <= REPAIRED_WITHIN, || format!("{worst:?}"));
    record.passed();
}
