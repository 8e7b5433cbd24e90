//! Upgrades from another layout of the maps: from the executable of commit 25a784f (layout 7), which knows nothing of other layouts, to this one. Nothing gets
//! in, nothing is forgotten, no counter goes back; and that executable changes nothing any more. `cargo xtask faults` builds it; `NODEWALL_LAYOUT_7` names another.

use std::env;
use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};

use nodewall_evidence::record::{Batch, Capture, FlowKey, LossKind, Outcome};
use nodewall_evidence::store::{Filter, Limits, Reader, Writer};
use nodewall_testbed::{Finished, Process, Signal, eventually_eq, run_to_end, skip_unless_privileged};
use serde_json::{Value, json};

use crate::measure::{grouped, kpps};
use crate::node::{Node, PATIENCE, eventually};
use crate::record::{Record, alone, is_full};
use crate::rig::{self, CASSANDRA, OUTSIDER, Witness};

/// The older executable, by the one who built it.
const BEFORE: &str = "NODEWALL_LAYOUT_7";
/// A port for the cluster alone, at which only the outsider knocks.
const ELASTICSEARCH: u16 = 9_300;
const BLOCKED: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const JOINING: &str = "10.77.0.99";

/// The older executable; `None`: it was not built, which is said.
pub(crate) fn before(test: &str) -> Option<PathBuf> {
    let built = env::var_os(BEFORE)
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/layouts/25a784f/nodewall"), PathBuf::from);
    if built.is_file() {
        return Some(built);
    }
    let why = format!("{} is not there: `cargo xtask faults --only layouts` builds it from git", built.display());
    let cannot_be_had = built == Path::new("absent");
    assert!(cannot_be_had || env::var_os("NODEWALL_REQUIRE_ROOT").is_none_or(|value| value != "1"), "{test}: {why}");
    println!("SKIPPED {test}: {why}");
    None
}

/// A node, and an executable that is asked and started on it.
pub(crate) struct By<'a>(pub(crate) &'a Node, pub(crate) &'a Path);

impl By<'_> {
    pub(crate) fn command(&self, verb: &str, arguments: &[&str]) -> std::process::Command {
        let mut command = self.0.netns().command(self.1);
        command.args(self.0.command(verb, arguments).get_args());
        command
    }

    pub(crate) fn run(&self, verb: &str, arguments: &[&str]) -> Finished {
        run_to_end(verb, self.command(verb, arguments), PATIENCE).unwrap()
    }

    pub(crate) fn done(&self, verb: &str, arguments: &[&str]) -> Finished {
        let finished = self.run(verb, arguments);
        assert!(finished.status.success(), "{verb}: {finished:?}");
        finished
    }

    fn json(&self, verb: &str, arguments: &[&str]) -> Value {
        // `status` tells with its exit code, too, that something is wrong: the older one of what is so for a moment beside a change.
        let finished = self.run(verb, &[arguments, &["-o", "json"]].concat());
        serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{verb}: {error}: {finished:?}"))
    }

    pub(crate) fn spawn(&self, verb: &str, arguments: &[&str]) -> Process {
        Process::spawn(verb, self.command(verb, arguments)).unwrap()
    }

    fn agent(&self) -> Process {
        let agent = self.spawn("run", &[]);
        agent
            .wait_for_line(PATIENCE, |line| line.contains("policy enforced") || line.contains("policy audited"))
            .unwrap();
        agent
    }
}

fn ended(agent: &Process, signal: Signal) {
    agent.signal(signal).unwrap();
    agent.wait(PATIENCE).unwrap();
}

/// A store of records that are older than the node, of this size at least.
fn fill_store(state: &Path, bytes: u64) -> u64 {
    let folder = state.join("evidence");
    let mut writer = Writer::open(&folder, Limits { max_bytes: 4 << 30, max_age_ns: u64::MAX }).unwrap().writer;
    let key = |n: u64| FlowKey {
        source: Some([203, 0, 113, n as u8].into()),
        protocol: "udp",
        port: Some(CASSANDRA),
        reason: node_ebpf_common::Reason::Outsider,
        outcome: Outcome::Drop,
        interface: "eth0".into(),
    };
    let (mut written, mut captures) = (0, 0);
    let now_ns = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    while written < bytes {
        let captured = (captures..captures + 1_000).map(|n| Capture {
            key: key(n),
            class: Some("cassandra".into()),
            mac: [2, 0, 0, 0, 0, 1],
            generation: 1,
            unix_ns: now_ns - 86_400_000_000_000 + n,
            boot_ns: n,
            cpu: 0,
            original_bytes: 1_500,
            frame: (0..1_500_u64).map(|byte| (byte * 31 + n) as u8).collect(),
        });
        let batch = Batch { unix_ns: now_ns - 86_000_000_000_000, captures: captured.collect(), ..Batch::default() };
        writer.append(&batch).unwrap();
        captures += 1_000;
        written += 1_000 * 1_500;
    }
    captures
}

/// What no upgrade may lower: packets and bytes of every row, by what it is about.
pub(crate) fn rows(json: &Value) -> Vec<(Value, u64, u64)> {
    let about = |row: &Value| {
        json!([
            row["peer"],
            row["class"],
            row["port"],
            row["ports"],
            row["protocol"],
            row["direction"],
            row["outcome"],
            row["reason"]
        ])
    };
    let amount = |row: &Value, key: &str| row[key].as_u64().unwrap();
    json["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (about(row), amount(row, "packets"), amount(row, "bytes")))
        .collect()
}

/// Which of them did.
pub(crate) fn went_back(before: &[(Value, u64, u64)], now: &[(Value, u64, u64)]) -> impl Iterator<Item = String> {
    before.iter().filter_map(|(about, packets, bytes)| {
        let same = now.iter().filter(|(other, ..)| other == about);
        let (packets_now, bytes_now) = same.fold((0, 0), |(p, b), (_, packets, bytes)| (p + packets, b + bytes));
        (packets_now < *packets || bytes_now < *bytes)
            .then(|| format!("{about}: {packets} packets became {packets_now}"))
    })
}

fn rows_of(counters: &Value, wanted: impl Fn(&Value) -> bool) -> u64 {
    counters["rows"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| wanted(row))
        .map(|row| row["packets"].as_u64().unwrap())
        .sum()
}

fn dropped(counters: &Value) -> u64 {
    rows_of(counters, |row| row["outcome"] == "drop" || row["outcome"] == "would_drop")
}

/// The node sends so many datagrams from a port that its policy names.
fn send(node: &Node, packets: usize) {
    let to = (rig::other(node).ipv4(), 40_000);
    node.netns()
        .run(|| {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, CASSANDRA)).unwrap();
            (0..packets).for_each(|_| assert_eq!(socket.send_to(b"to a peer", to).unwrap(), 9));
        })
        .unwrap();
}

fn sent(counters: &Value) -> u64 {
    rows_of(counters, |row| row["port"] == CASSANDRA && row["reason"] == "sent_from_port" && row["protocol"] == "udp")
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = entries.collect();
    names.sort();
    names
}

/// Denied frames in flows, and known to be missing.
fn recorded(node: &Node) -> u64 {
    let reader = Reader::open(&rig::state_dir(node).join("evidence")).unwrap().unwrap();
    let flows: u64 = reader.flows(&Filter::default()).unwrap().iter().map(|flow| flow.record.packets).sum();
    let missing = [LossKind::NotAttributed, LossKind::NotKept, LossKind::Unrecorded];
    let losses = reader.losses(&Filter::default()).unwrap();
    flows
        + losses.iter().filter(|loss| missing.contains(&loss.record.kind)).map(|loss| loss.record.packets).sum::<u64>()
}

/// The store verifies, has what it had, and has all that was denied. Returns what `events verify` says.
fn evidence_is_whole(new: &By<'_>, kept: u64) -> String {
    // A gibibyte takes an executable that is not optimised some minutes.
    let verified = run_to_end("events verify", new.command("events", &["verify"]), PATIENCE * 10).unwrap();
    assert!(verified.status.success(), "{verified:?}");
    let reader = Reader::open(&rig::state_dir(new.0).join("evidence")).unwrap().unwrap();
    let of_old = Filter { ports: vec![CASSANDRA], ..Filter::default() };
    assert!(reader.captures(&of_old).unwrap().len() as u64 >= kept);
    eventually("what was denied is in the store, or told as missing", || {
        (recorded(new.0) == dropped(&new.json("counters", &[]))).then_some(())
    });
    verified.stdout
}

/// All that a node of the last round can have: blocks, peers for a time, a trial, evidence, a journal; and somebody who knocks all the while.
#[test]
fn layout_7_is_taken_over_whole() {
    let test = "layout_7_is_taken_over_whole";
    if skip_unless_privileged(test) {
        return;
    }
    let Some(before) = before(test) else { return };
    let _turn = alone();
    let mut record = Record::new(
        "layouts",
        "upgrade of an enforcing node of commit 25a784f, whose maps have another layout",
        1,
        "0 leaked; counted = sent; nothing forgotten; evidence verifies; the older executable changes nothing any more",
    );
    let node = rig::idle(&rig::settings().rules("[counters]\nper_peer = true\n[evidence]\nmax_size = \"4GiB\"\n"));
    // It audits, and enforces on trial.
    let text = fs::read_to_string(rig::config_file(&node)).unwrap();
    node.configure_text(&text.replacen("mode = \"enforce\"", "mode = \"audit\"", 1));
    let kept = fill_store(&rig::state_dir(&node), if is_full() { 1 << 30 } else { 4 << 20 });
    let (old, new) = (By(&node, &before), By(&node, Path::new(crate::binary::executable())));
    let agent = old.agent();
    old.done("block", &[&BLOCKED.to_string(), "--ttl", "1h", "--reason", "scans us"]);
    old.done("peers", &["add", JOINING, "--ttl", "1h"]);
    let trial = old.spawn("enforce", &["--confirm-within", "30m"]);
    eventually("the trial", || (old.json("status", &[])["mode"] == "enforce").then_some(()));
    // That build's agent goes back to the policy that it knows, for a second, where it looks at the data path before it sees who changed it.
    let knows = |line: &str| line.contains("a command changed the policy") && line.contains("enforce");
    agent.wait_for_line(PATIENCE, knows).unwrap();
    let mut witness = Witness::of(&node, &[ELASTICSEARCH]);
    send(&node, 100);
    let frames =
        [(OUTSIDER, ELASTICSEARCH), (rig::peer(21), CASSANDRA), (rig::peer(22), CASSANDRA), (BLOCKED, CASSANDRA)];
    let flood = rig::flood(&node, frames.map(|(from, port)| rig::datagram(&node, from, port)).to_vec());
    eventually("each peer is counted", || (rows(&old.json("counters", &["--per-peer"])).len() >= 2).then_some(()));
    let journal = fs::read_to_string(rig::state_dir(&node).join("journal.jsonl")).unwrap();
    let peers = old.json("peers", &["list"]);
    let status = old.json("status", &[]);
    let metered = [old.json("counters", &[]), old.json("counters", &["--per-peer"])];
    ended(&agent, Signal::KILL);
    // Nobody sweeps what is denied now.
    let last = [old.json("counters", &[]), old.json("counters", &["--per-peer"])];

    let agent = new.agent();
    let counters = [new.json("counters", &[]), new.json("counters", &["--per-peer"])];
    for (before, after) in metered.iter().chain(&last).zip(counters.iter().chain(&counters)) {
        let went_back: Vec<String> = went_back(&rows(before), &rows(after)).collect();
        assert!(went_back.is_empty(), "{went_back:#?}");
    }
    // Nothing is forgotten.
    let now = eventually("it is healthy", || Some(new.json("status", &[])).filter(|now| now["healthy"] == true));
    assert_eq!(
        (&now["mode"], &now["healthy"], &now["problems"]),
        (&json!("enforce"), &json!(true), &json!([])),
        "{now}"
    );
    assert_eq!(now["blocks"][0]["source"], BLOCKED.to_string());
    assert!(
        now["trial"]["seconds_left"].as_u64().unwrap() <= status["trial"]["seconds_left"].as_u64().unwrap(),
        "{now}"
    );
    assert!(now["generation"].as_u64() > status["generation"].as_u64(), "{now}");
    let list =
        |peers: &Value| peers["peers"].as_array().unwrap().iter().map(|peer| peer["peer"].clone()).collect::<Vec<_>>();
    assert_eq!(list(&new.json("peers", &["list"])), list(&peers));
    assert!(fs::read_to_string(rig::state_dir(&node).join("journal.jsonl")).unwrap().starts_with(&journal));
    new.done("confirm", &[]);
    assert!(trial.wait(PATIENCE).unwrap().success(), "{}", trial.output());
    assert_refused(&old, &new);
    let flooded = flood.stop().unwrap();
    send(&node, 50);
    let [outsider, first, second, blocked] = flooded.sent_packets[..] else { panic!("{flooded:?}") };
    let of = |port: u16, reason: &'static str| move |row: &Value| row["port"] == port && row["reason"] == reason;
    let settled = || {
        let counters = new.json("counters", &[]);
        [of(ELASTICSEARCH, "outsider"), of(CASSANDRA, "peer"), of(CASSANDRA, "blocked_source")]
            .map(|of| rows_of(&counters, of))
    };
    eventually_eq("counted is not what was sent", settled, &[outsider, first + second, blocked]);
    let by_peer = new.json("counters", &["--per-peer"]);
    for (number, packets) in [(21, first), (22, second)] {
        let peer = rig::peer(number).to_string();
        assert_eq!(rows_of(&by_peer, |row| row["peer"] == *peer && row["direction"] == "in"), packets, "{by_peer}");
    }
    assert_eq!(sent(&new.json("counters", &[])), 150);
    let leaked = witness.leaked_packets();

    let verified = evidence_is_whole(&new, kept);
    // Nor is anything left behind.
    let pins = node.directories.pins();
    assert_eq!(names(&pins.join("maps")), ["nw_image_0"]);
    assert_eq!(names(pins), [&node_ebpf_common::ABI_VERSION.to_string(), "links", "maps"]);
    ended(&agent, Signal::TERM);
    assert_told("run", &old.run("run", &[]));
    record.measured(format!(
        "{} frames at {}, {leaked} leaked; {} denied frames in a store with {} older captures ({}); refused by both numbers",
        grouped(flooded.total_packets()),
        kpps(flooded.rate_pps()),
        grouped(recorded(&node)),
        grouped(kept),
        verified.lines().next().unwrap_or_default(),
    ));
    assert_eq!(leaked, 0);
    new.done("detach", &[]);
    assert!(!pins.exists(), "{:?}", names(pins));
    record.passed();
}

/// Both numbers.
#[track_caller]
fn assert_told(verb: &str, refused: &Finished) {
    let says = |text: &str| refused.stderr.contains(text);
    let ours = format!("ABI version {}", node_ebpf_common::ABI_VERSION);
    let told = says(&ours) && (says("this build has 7") || says("ABI version up to 7"));
    assert!(told && !refused.status.success(), "{verb}: {refused:?}");
}

/// What the older executable does with maps that it does not know.
fn assert_refused(old: &By<'_>, new: &By<'_>) {
    let links = names(&old.0.directories.pins().join("links"));
    let in_force = |status: &Value| {
        json!([status["mode"], status["generation"], status["interfaces"], status["trial"].is_object()])
    };
    let before = in_force(&new.json("status", &[]));
    let verbs: [(&str, &[&str]); 7] = [
        ("apply", &["--mode", "audit"]),
        ("block", &["192.0.2.1"]),
        ("rollback", &[]),
        ("panic-open", &["--for", "1m"]),
        ("counters", &[]),
        ("status", &[]),
        ("detach", &[]),
    ];
    for (verb, arguments) in verbs {
        assert_told(verb, &old.run(verb, arguments));
        assert_eq!(in_force(&new.json("status", &[])), before, "{verb}");
    }
    assert_eq!(names(&old.0.directories.pins().join("links")), links);
    let status = new.json("status", &[]);
    assert_eq!((&status["healthy"], &status["blocks"].as_array().unwrap().len()), (&json!(true), &1), "{status}");
}
