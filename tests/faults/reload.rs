//! Reloads under load, between two policies that differ in one port's class, in one class's mode and in one peer. What both let in gets in, every time; what
//! neither lets in does not, ever; and of the rest each frame is counted once, as what became of it.

use std::thread;
use std::time::Duration;

use nodewall_testbed::{Process, Signal, judge_time, skip_unless_privileged};

use crate::measure::{grouped, kpps};
use crate::node::{Node, PATIENCE, eventually};
use crate::random::Random;
use crate::record::{Record, alone, runs, seed};
use crate::rig::{self, CASSANDRA, FLOOD_AT_LEAST_PPS, OUTSIDER, counted, peer};
use crate::settings::Settings;
use crate::turnstile::{Flow, Turnstile};

const PUBLIC: u16 = 443;
const SEALED: u16 = 9999;
/// Public in one policy, for peers in the other.
const CHANGING: u16 = 8022;

/// Of a class that only audits in one policy, and denies the same in both.
const AUDITED: u16 = 8443;

const PORTS: [u16; 5] = [PUBLIC, CASSANDRA, SEALED, CHANGING, AUDITED];

/// A peer of both policies, of the first, of the second.
const BOTH: u8 = 21;
const FIRST: u8 = 25;
const SECOND: u8 = 26;

/// Who asks what. Both policies let the first two in and the next two not; they differ about the others.
const WAYS: [Flow; 8] = [
    (OUTSIDER, PUBLIC),
    (peer(BOTH), CASSANDRA),
    (OUTSIDER, CASSANDRA),
    (OUTSIDER, SEALED),
    (OUTSIDER, CHANGING),
    (peer(FIRST), CASSANDRA),
    (peer(SECOND), CASSANDRA),
    (OUTSIDER, AUDITED),
];

/// Four of five peers stay.
fn policy(last_peer: u8, profile: &str) -> Settings {
    let peers: Vec<String> = [BOTH, 22, 23, 24, last_peer].iter().map(|number| peer(*number).to_string()).collect();
    let peers: Vec<&str> = peers.iter().map(String::as_str).collect();
    let rule = format!("[[rule]]\nname = \"sealed\"\nports = [\"{SEALED}\"]\naccess = \"closed\"\n");
    Settings::profile(profile).peers(&peers).rules(&rule)
}

fn policies() -> [Settings; 2] {
    [policy(FIRST, "web_port_8022 = \"public\""), policy(SECOND, "web_port_8022 = \"cluster\"\naudit = [\"agent\"]")]
}

/// Reloads the agent and waits for the policy of this generation; `seen` is how much of the log was looked at.
fn reload(agent: &Process, generation: u64, seen: &mut usize) {
    agent.signal(Signal::HUP).unwrap();
    let words = format!("generation={generation} ");
    let enforced = |line: &str| line.contains("policy enforced") && line.contains(&words);
    agent.wait_for_line_from(seen, PATIENCE, enforced).unwrap();
}

/// Packets of the ways that end at this port.
fn at_port(packets: &[u64], port: u16) -> u64 {
    WAYS.iter().zip(packets).filter(|(way, _)| way.1 == port).map(|(_, packets)| packets).sum()
}

#[test]
fn reload_under_load() {
    if skip_unless_privileged("reload_under_load") {
        return;
    }
    let _turn = alone();
    let reloads = runs(200, 10_000);
    let mut record = Record::new(
        "reload",
        "reload (SIGHUP), alternating two policies, at >= 100 kpps",
        reloads,
        "0 wrong drops, 0 wrong passes; counted = sent",
    );
    let policies = policies();
    let node: Node = rig::enforcing(&policies[0]);
    let (turnstile, before) = (Turnstile::of(&node, &WAYS), node.json("counters"));
    let first_generation = node.generation();
    let frames = WAYS.map(|(from, port)| rig::datagram(&node, from, port));
    let flood = rig::flood(&node, frames.into());
    let mut seen = 0;
    for n in 1..=reloads {
        node.configure(&policies[(n % 2) as usize]);
        reload(node.agent(), first_generation + n, &mut seen);
    }
    let flooded = flood.stop().unwrap();
    let sent = &flooded.sent_packets;
    for port in PORTS {
        rig::settled(&node, port, at_port(sent, port));
    }
    let (counters, passed) = rig::still("all is counted", || (node.json("counters"), turnstile.packets()));

    let wrong_drops = sent[0] - passed[0] + sent[1] - passed[1];
    let wrong_passes = passed[2] + passed[3];
    record.measured(format!(
        "{} frames at {}; {wrong_drops} wrong drops, {wrong_passes} wrong passes",
        grouped(flooded.total_packets()),
        kpps(flooded.rate_pps()),
    ));
    assert_eq!((wrong_drops, wrong_passes), (0, 0), "sent {sent:?}, behind the filter {passed:?}");
    for port in PORTS {
        let moved = ["pass", "would_drop", "drop"]
            .map(|outcome| counted(&counters, port, outcome) - counted(&before, port, outcome));
        let (came, reached) = (at_port(sent, port), at_port(&passed, port));
        let [pass, would_drop] = if port == AUDITED { [0, reached] } else { [reached, 0] };
        assert_eq!(moved, [pass, would_drop, came - reached], "port {port}: counted as passed, audited, dropped");
    }
    // Both policies were in force for a while: else the test says little.
    for way in [4, 5, 6, 7] {
        assert!(passed[way] > 0 && passed[way] < sent[way], "{:?}: {} of {}", WAYS[way], passed[way], sent[way]);
    }
    judge_time(flooded.rate_pps() >= FLOOD_AT_LEAST_PPS, || format!("too slow to show a gap: {flooded:?}"));
    record.passed();
}

/// A signal that comes while the kernel verifies the program makes it give up (`EAGAIN`): no change may be refused for that.
#[test]
fn reloads_upon_reloads() {
    if skip_unless_privileged("reloads_upon_reloads") {
        return;
    }
    let _turn = alone();
    let hangups = runs(300, 10_000);
    let mut record = Record::new(
        "hangups",
        "SIGHUP again and again, also in the middle of a reload",
        hangups,
        "no reload is refused; in the end the file is in force",
    );
    let policies = policies();
    let node = rig::enforcing(&policies[0]);
    let (first_generation, mut random) = (node.generation(), Random::new(seed()));
    for _ in 0..hangups {
        node.agent().signal(Signal::HUP).unwrap();
        thread::sleep(Duration::from_micros(2_000 + random.below(18_000) as u64));
    }
    node.configure(&policies[1]);
    node.agent().signal(Signal::HUP).unwrap();
    let has_second = || node.nodewall("explain", &["--source", "10.77.0.26", "--port", "9042"]).stdout.contains("pass");
    eventually("the last configuration is in force", || has_second().then_some(()));
    let said = node.agent().output();
    let refused: Vec<&str> = said.lines().filter(|line| line.contains("ERROR")).collect();
    record.measured(format!("{} reloads, {} refused", grouped(node.generation() - first_generation), refused.len()));
    assert!(refused.is_empty(), "{refused:#?}");
    record.passed();
}
