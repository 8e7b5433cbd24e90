//! Counters are exact: a million frames of a known mix over every CPU, and all that shows them shows the same numbers, across an agent's restart and a
//! policy swap that adds a port and takes one away.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    thread,
    time::{Duration, Instant},
};

use nodewall_testbed::{Signal, eventually_eq, program::Program, skip_unless_privileged};
use rustix::thread::{CpuSet, sched_setaffinity};
use serde_json::Value;

use super::{
    client::{api, get, samples, served, wait_until_served},
    prometheus::Prometheus,
};
use crate::{
    frames::{self, Link},
    node::{Node, eventually},
    settings::Settings,
};

/// Frames of a phase and CPU, for each of its kinds.
const EACH: u32 = 60_000;

/// Frames as they come from the lab's hosts.
pub(crate) struct Mix {
    pub(crate) peer_9042: Vec<u8>,
    pub(crate) outsider_9042: Vec<u8>,
    pub(crate) anyone_443: Vec<u8>,
    first_port: Vec<u8>,
    second_port: Vec<u8>,
    pub(crate) cpus: usize,
}

impl Mix {
    pub(crate) fn of(node: &Node) -> Self {
        let to: IpAddr = node.host().ipv4().into();
        let [peer, _] = node.peers();
        let link = Link::between(peer, node.host());
        let frame = |from: Ipv4Addr, port| frames::udp(link, (from.into(), 40_000), (to, port), b"one of a million");
        let outsider = Ipv4Addr::new(203, 0, 113, 9);
        Self {
            peer_9042: frame(peer.ipv4(), 9042),
            outsider_9042: frame(outsider, 9042),
            anyone_443: frame(outsider, 443),
            first_port: frame(outsider, 12_000),
            second_port: frame(outsider, 12_001),
            cpus: cpus().len(),
        }
    }
}

fn cpus() -> Vec<usize> {
    let allowed = rustix::thread::sched_getaffinity(None).unwrap();
    (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect()
}

/// Has the attached program judge `frame` on each CPU, so many times.
pub(crate) fn by_cpu(node: &Node, frame: &[u8], times: u32) {
    // The one of a moment ago may just have been replaced.
    let program = eventually("the attached program", || {
        let (_, id) = node.attachment("eth0")?;
        Program::by_id(u32::try_from(id).unwrap()).ok()
    });
    thread::scope(|scope| {
        for cpu in cpus() {
            let program = &program;
            scope.spawn(move || {
                let mut one = CpuSet::new();
                one.set(cpu);
                sched_setaffinity(None, &one).unwrap();
                program.run(frame, times).unwrap();
            });
        }
    });
}

/// What a row is told apart by, and what it counts: packets and bytes.
pub(super) type Table = BTreeMap<[String; 6], (u64, u64)>;

/// The rows of ports that the policy names: nothing but the mix goes there.
pub(super) fn of_json(counters: &Value) -> Table {
    let text = |value: &Value| value.as_str().map(str::to_owned).or_else(|| value.as_u64().map(|n| n.to_string()));
    let rows =
        counters["rows"].as_array().unwrap().iter().filter(|row| !row["port"].is_null() && row["direction"] == "in");
    once_each(rows.map(|row| {
        let key = ["class", "port", "protocol", "direction", "outcome", "reason"]
            .map(|key| text(&row[key]).unwrap_or_default());
        (key, (row["packets"].as_u64().unwrap(), row["bytes"].as_u64().unwrap()))
    }))
}

/// A key that comes twice is a fault: whoever reads it takes one of the two.
fn once_each(rows: impl Iterator<Item = ([String; 6], (u64, u64))>) -> Table {
    let mut table = Table::new();
    for (key, row) in rows {
        let before = table.insert(key.clone(), row);
        assert_eq!(before, None, "two rows for {key:?}");
    }
    table
}

pub(super) fn of_table(text: &str) -> Table {
    let words = text.lines().skip(1).map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    let rows = words.filter(|words| words.len() == 8 && words[1].parse::<u16>().is_ok() && words[3] == "in");
    once_each(rows.map(|words| {
        (std::array::from_fn(|n| words[n].clone()), (words[6].parse().unwrap(), words[7].parse().unwrap()))
    }))
}

fn key_of(labels: &BTreeMap<String, String>) -> Option<[String; 6]> {
    let key = ["class", "port", "protocol", "direction", "outcome", "reason"]
        .map(|name| labels.get(name).cloned().unwrap_or_default());
    (key[1].parse::<u16>().is_ok() && key[3] == "in").then_some(key)
}

pub(super) fn of_metrics(text: &str) -> Table {
    let mut table = Table::new();
    for (name, value) in samples(text) {
        let Some((metric, labels)) = name.split_once('{') else { continue };
        let labels = labels.trim_end_matches('}').split("\",").map(|pair| pair.split_once("=\"").unwrap());
        let labels = labels.map(|(name, value)| (name.to_owned(), value.trim_end_matches('"').to_owned())).collect();
        let Some(key) = key_of(&labels) else { continue };
        let row = table.entry(key).or_default();
        match metric {
            "nodewall_packets_total" => row.0 = value as u64,
            "nodewall_bytes_total" => row.1 = value as u64,
            _ => {}
        }
    }
    table
}

fn of_prometheus(prometheus: &Prometheus) -> Table {
    let mut table = Table::new();
    for (metric, bytes) in [("nodewall_packets_total", false), ("nodewall_bytes_total", true)] {
        for (labels, value) in prometheus.query(metric) {
            let Some(key) = key_of(&labels) else { continue };
            let row = table.entry(key).or_default();
            *(if bytes { &mut row.1 } else { &mut row.0 }) = value as u64;
        }
    }
    table
}

fn rule(name: &str, port: u16) -> Settings {
    Settings::default().rules(&format!("[[rule]]\nname = {name:?}\nports = [{port}]\naccess = \"closed\"\n"))
}

#[test]
fn a_million_frames_are_the_same_number_everywhere_across_a_restart_and_a_swap() {
    if skip_unless_privileged("a_million_frames_are_the_same_number_everywhere_across_a_restart_and_a_swap") {
        return;
    }
    let mut node = served();
    node.configure(&rule("first", 12_000));
    let generation = node.generation();
    node.agent().signal(Signal::HUP).unwrap();
    eventually("the first port's rule", || (node.generation() > generation).then_some(()));
    let prometheus = Prometheus::start(&node);
    let mix = Mix::of(&node);
    let began = Instant::now();
    let mut sent: BTreeMap<&str, u64> = BTreeMap::new();
    let mut send = |node: &Node, kinds: &[(&'static str, &[u8])]| {
        for (kind, frame) in kinds {
            by_cpu(node, frame, EACH);
            *sent.entry(kind).or_default() += u64::from(EACH) * mix.cpus as u64;
        }
    };
    let always: [(&str, &[u8]); 3] =
        [("peer", &mix.peer_9042), ("outsider", &mix.outsider_9042), ("public", &mix.anyone_443)];
    send(&node, &always);
    send(&node, &[("first", &mix.first_port)]);

    node.end_agent(Signal::TERM);
    // Enforcement goes on, and so does counting.
    send(&node, &always);
    node.start_agent();
    wait_until_served(&node);
    send(&node, &[("first", &mix.first_port)]);

    let generation = node.generation();
    node.configure(&rule("second", 12_001));
    node.agent().signal(Signal::HUP).unwrap();
    eventually("the second port's rule", || (node.generation() > generation).then_some(()));
    send(&node, &always);
    send(&node, &[("first", &mix.first_port), ("second", &mix.second_port)]);
    while sent.values().sum::<u64>() < 1_000_000 {
        by_cpu(&node, &mix.peer_9042, EACH);
        *sent.get_mut("peer").unwrap() += u64::from(EACH) * mix.cpus as u64;
    }
    let sending = began.elapsed();

    let frame_bytes = mix.peer_9042.len() as u64;
    let counted = of_json(&node.json("counters"));
    let by = |port: &str, outcome: &str, reason: &str| {
        let rows = counted.iter().filter(|(key, _)| key[1] == port && key[4] == outcome && key[5] == reason);
        rows.fold((0, 0), |sum, (_, row)| (sum.0 + row.0, sum.1 + row.1))
    };
    let exactly = |packets: u64| (packets, packets * frame_bytes);
    assert_eq!(by("9042", "pass", "peer"), exactly(sent["peer"]));
    assert_eq!(by("9042", "drop", "outsider"), exactly(sent["outsider"]));
    assert_eq!(by("443", "pass", "public"), exactly(sent["public"]));
    // Without its rule the port is not named any more, and is counted with all those.
    let first_under_rule = sent["first"] / 3 * 2;
    assert_eq!(by("12000", "drop", "closed"), exactly(first_under_rule));
    assert_eq!(by("12001", "drop", "closed"), exactly(sent["second"]));

    let table = node.nodewall("counters", &[]).stdout;
    assert_eq!(of_table(&table), counted, "the table");
    assert_eq!(of_json(&api(&node, "/api/v1/counters").json()), counted, "the API");
    // Who asks right after another shares its answer.
    thread::sleep(Duration::from_millis(100));
    assert_eq!(of_metrics(&get(&node, "/metrics").body), counted, "/metrics");
    eventually_eq("Prometheus' query", || of_prometheus(&prometheus), &counted);
    println!(
        "{} frames on {} CPUs in {sending:?}, all told in {:?}",
        sent.values().sum::<u64>(),
        mix.cpus,
        began.elapsed()
    );
}
