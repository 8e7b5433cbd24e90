//! What the exporter costs: nothing while nobody asks, and little for a scrape of the largest peer set; and what the whole agent does where there are many
//! processors.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use nodewall_testbed::{
    Family, Lab, PATIENCE, Probe, Process, find_tool, judge_time, run_to_end, skip_unless_privileged, times_are_judged,
};
use serde_json::Value;

use super::client::{get, samples, served, wait_until_served};
use crate::{
    node::{Node, eventually},
    settings::Settings,
    traffic::silent,
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
        sleep(Duration::from_secs(3));
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
    let mut node = Node::idle(Lab::new().unwrap(), &Settings::default());
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
        sleep(Duration::from_millis(60));
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

/// Of the exporter's bar, and of the sweep's: a hundredth of a core, which all that the agent does has to meet.
const MANY_SCRAPE_AT_MOST: Duration = Duration::from_millis(50);
const MANY_PARTS_PER_MILLION: u128 = 10_000;
/// What the largest machines have.
const MANY: u64 = 128;
/// A cluster of the largest size.
const CLUSTER: u32 = 30;

/// An agent that finds so many processors in /sys. It makes, reads and sweeps the tables of all; the kernel fills those of the processors that are there.
fn agent_with(node: &Node, processors: u64) -> Process {
    let list = node.directories.config().with_file_name("possible");
    fs::write(&list, format!("0-{}\n", processors - 1)).unwrap();
    let inside = node.command("run", &[]);
    let mut command = node.netns().command(find_tool("unshare").unwrap());
    command.args([
        "--mount",
        "--",
        "sh",
        "-c",
        "mount --bind \"$1\" /sys/devices/system/cpu/possible && shift && exec \"$@\"",
        "sh",
    ]);
    command.arg(list).arg(inside.get_program()).args(inside.get_args());
    let agent = Process::spawn("nodewall run", command).unwrap();
    agent.wait_for_line(PATIENCE, |line| line.contains("policy enforced")).unwrap();
    wait_until_served(node);
    agent
}

/// How many tables of denied flows there are.
fn tables(node: &Node) -> u64 {
    let mut command = Command::new(find_tool("bpftool").unwrap());
    command.args(["-j", "map", "show", "pinned"]).arg(node.directories.maps().join("nw_counters"));
    let shown = run_to_end("bpftool", command, PATIENCE).unwrap();
    serde_json::from_str::<Value>(&shown.stdout).unwrap()["max_entries"].as_u64().unwrap()
}

/// CPU time of all threads of a process.
fn cpu_time_of_all(pid: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|task| task.unwrap().path());
    let times = tasks.filter_map(|task| fs::read_to_string(task.join("schedstat")).ok());
    times.map(|stat| Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())).sum()
}

/// Its CPU time while this is done, in parts of a million of the time that it takes.
fn share_of_a_core(agent: &Process, work: impl FnOnce()) -> u128 {
    let (before, began) = (cpu_time_of_all(agent.id()), Instant::now());
    work();
    let used = cpu_time_of_all(agent.id()).saturating_sub(before);
    used.as_nanos() * 1_000_000 / began.elapsed().as_nanos()
}

#[test]
fn an_agent_of_128_processors_needs_a_hundredth_of_one_at_most() {
    if skip_unless_privileged("an_agent_of_128_processors_needs_a_hundredth_of_one_at_most") {
        return;
    }
    let seconds = if times_are_judged() { 60 } else { 3 };
    for processors in [2, MANY] {
        let mut peers: Vec<String> = (0..CLUSTER - 2).map(|n| format!("10.9.0.{}", n + 1)).collect();
        peers.extend(["10.77.0.11", "10.77.0.12"].map(str::to_owned));
        let peers: Vec<&str> = peers.iter().map(String::as_str).collect();
        let settings = Settings::default().peers(&peers);
        let settings = settings.rules("[counters]\nper_peer = true\n[export]\nper_peer = true\n");
        let node = Node::idle(Lab::new().unwrap(), &settings);
        let agent = agent_with(&node, processors);
        assert_eq!(tables(&node), processors);
        let idle = share_of_a_core(&agent, || sleep(Duration::from_secs(seconds)));
        let knock = [Probe::udp(node.host().socket(Family::V4, 9042))];
        let denying = share_of_a_core(&agent, || {
            for _ in 0..seconds {
                silent(node.outsider(), &knock);
                sleep(Duration::from_millis(750));
            }
        });
        let mut scrapes: Vec<Duration> = (0..9)
            .map(|_| {
                sleep(Duration::from_millis(100));
                let before = cpu_time(agent.id());
                get(&node, "/metrics");
                cpu_time(agent.id()).saturating_sub(before)
            })
            .collect();
        scrapes.sort_unstable();
        println!(
            "{processors} processors, {seconds} s each: idle {idle} ppm of a core, with a denied frame a second {denying} ppm; a scrape {:?}",
            scrapes[4]
        );
        judge_time(idle.max(denying) <= MANY_PARTS_PER_MILLION, || format!("{processors}: {idle} and {denying} ppm"));
        judge_time(scrapes[4] <= MANY_SCRAPE_AT_MOST, || format!("{processors}: {scrapes:?}"));
    }
}
