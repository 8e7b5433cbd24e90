//! What the exporter costs: nothing while nobody asks, and little for a scrape of the largest peer set.

use std::{fs, path::PathBuf, time::Duration};

use nodewall_testbed::{judge_time, skip_unless_privileged};

use super::client::{get, samples, served, wait_until_served};
use crate::{
    node::{Node, eventually},
    settings::Settings,
};

/// CPU time. A debug build is slower by as much.
const SCRAPE_AT_MOST: Duration = Duration::from_millis(if cfg!(debug_assertions) { 20 } else { 10 });
const PEERS: u32 = 16_384;

/// The exporter's thread in /proc.
fn thread(pid: u32) -> PathBuf {
    let mut tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|task| task.unwrap().path());
    tasks
        .find(|task| fs::read_to_string(task.join("comm")).unwrap().trim() == "export")
        .expect("no thread of exporters")
}

fn wakes(pid: u32) -> u64 {
    let status = fs::read_to_string(thread(pid).join("status")).unwrap();
    let switches = status.lines().filter(|line| line.contains("ctxt_switches"));
    switches.map(|line| line.split_whitespace().last().unwrap().parse::<u64>().unwrap()).sum()
}

/// CPU time that it has used.
fn cpu_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(thread(pid).join("schedstat")).unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

#[test]
fn an_exporter_that_nobody_asks_does_not_wake() {
    if skip_unless_privileged("an_exporter_that_nobody_asks_does_not_wake") {
        return;
    }
    let node = served();
    let pid = node.agent().id();
    // The connections that asked whether it is there end at some time. An exporter that wakes by itself has no such three seconds.
    let before = eventually("three seconds without a wake", || {
        let before = wakes(pid);
        std::thread::sleep(Duration::from_secs(3));
        (wakes(pid) == before).then_some(before)
    });
    get(&node, "/metrics");
    assert!(wakes(pid) > before, "this is not the exporter's thread");
}

#[test]
fn a_scrape_with_the_most_peers_is_quick_and_shows_numbers_only() {
    if skip_unless_privileged("a_scrape_with_the_most_peers_is_quick_and_shows_numbers_only") {
        return;
    }
    let mut node = Node::idle(nodewall_testbed::Lab::new().unwrap(), &Settings::default());
    let file = node.directories.state_dir().with_file_name("peers.txt");
    let peers: String = (0..PEERS - 4).map(|n| format!("10.9.{}.{}\n", n >> 8, n & 255)).collect();
    fs::write(&file, peers).unwrap();
    let text = Settings::default().to_toml().replace("[peers]\n", &format!("[peers]\nfile = {file:?}\n"));
    node.configure_text(&text);
    node.start_agent();
    wait_until_served(&node);
    let in_force = || samples(&get(&node, "/metrics").body)["nodewall_peers_in_force"] as u32;
    eventually("all peers are in force", || (in_force() == PEERS).then_some(()));
    let pid = node.agent().id();
    let mut times = Vec::new();
    for _ in 0..20 {
        // Who asks right after another shares its answer.
        std::thread::sleep(Duration::from_millis(60));
        let before = cpu_time(pid);
        let body = get(&node, "/metrics").body;
        times.push(cpu_time(pid).checked_sub(before).unwrap());
        assert!(!body.contains("10.9."), "an address is in the metrics");
    }
    times.sort_unstable();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let rss = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    println!("a scrape with {PEERS} peers takes CPU time: median {:?}, worst {:?}; {rss}", times[10], times[19]);
    let file_peers = samples(&get(&node, "/metrics").body)
        .into_iter()
        .find(|(name, _)| name.starts_with("nodewall_peers{") && name.contains("peers.txt") && name.contains("active"));
    assert_eq!(file_peers.unwrap().1 as u32, PEERS - 4);
    judge_time(times[10] < SCRAPE_AT_MOST, || format!("{times:?}"));
}
