//! A machine with places for 128 processors, of which one is there: what nodewall holds and reads for each of them. Memory is judged; times are told, as an
//! emulated processor is no measure of them (docs/BENCH.md says what they come to elsewhere).

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use node_ebpf_common::Shape;
use nodewall_datapath::{CaptureBudget, KernelEngine};
use nodewall_testbed::{Lab, PATIENCE, Protocol, run_to_end};
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;

use crate::cases::{self, Compile as _, Policy};
use crate::counters::{Cell, Counters};
use crate::guest::{fact, skip_outside};
use crate::node::{Node, eventually};
use crate::settings::Settings;
use crate::traffic::silent;

/// What the check's guest has places for.
const CPUS: u64 = 128;
/// Of everything that nodewall keeps in the kernel.
const BYTES_A_CPU: u64 = 1_258_291;
/// A cluster of the largest size.
const PEERS: u32 = 30;
const SCRAPES: usize = 9;
const SWEEPS: usize = 51;
const IDLE: Duration = Duration::from_secs(60);
const NS_PER_S: u128 = 1_000_000_000;

/// As `/sys` has it: `0-127`.
fn possible_cpus() -> u64 {
    let list = fs::read_to_string("/sys/devices/system/cpu/possible").unwrap();
    list.trim().rsplit(['-', ',']).next().unwrap().parse::<u64>().unwrap() + 1
}

/// A node that counts and exports all that there is.
fn node() -> Node {
    let mut peers: Vec<String> = (0..PEERS - 2).map(|n| format!("10.9.0.{}", n + 1)).collect();
    peers.extend(["10.77.0.11", "10.77.0.12"].map(str::to_owned));
    let peers: Vec<&str> = peers.iter().map(String::as_str).collect();
    let settings = Settings::default().peers(&peers);
    let node =
        Node::on(Lab::new().unwrap(), &settings.rules("[counters]\nper_peer = true\n[export]\nper_peer = true\n"));
    eventually("the agent answers", || scrape(&node));
    node
}

/// The text of the metrics.
fn scrape(node: &Node) -> Option<String> {
    let ask = || {
        let mut stream = TcpStream::connect(("127.0.0.1", 9117)).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    };
    node.netns().run(ask).unwrap()
}

/// The files of pinned maps, however deep.
fn pinned_maps(below: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(below).unwrap().map(|entry| entry.unwrap()) {
        if entry.file_type().unwrap().is_dir() {
            pinned_maps(&entry.path(), found);
        } else if entry.file_name().to_string_lossy().starts_with("nw_") {
            found.push(entry.path());
        }
    }
}

/// What the kernel holds for a pinned map.
fn bytes_of(map: &Path) -> u64 {
    let mut command = std::process::Command::new("bpftool");
    command.args(["-j", "map", "show", "pinned"]).arg(map);
    let shown = run_to_end("bpftool", command, PATIENCE).unwrap();
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap_or_else(|error| panic!("{error}: {shown:?}"));
    shown["bytes_memlock"].as_u64().unwrap_or_else(|| panic!("{shown}"))
}

/// CPU time of the agent's threads that are called so; of all, where there is no name.
fn cpu_time(node: &Node, name: Option<&str>) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{}/task", node.agent().id())).unwrap();
    let tasks = tasks.map(|task| task.unwrap().path());
    let is_called = |task: &PathBuf| {
        name.is_none_or(|name| fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name))
    };
    tasks.filter(is_called).filter_map(|task| time_of(&task)).sum()
}

/// CPU time of a thread in /proc; nothing of one that has ended.
fn time_of(task: &Path) -> Option<Duration> {
    let stat = fs::read_to_string(task.join("schedstat")).ok()?;
    Some(Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap()))
}

#[test]
fn memory_reading_and_waiting_stay_small() {
    let test = "many_cpus::memory_reading_and_waiting_stay_small";
    if skip_outside(test) {
        return;
    }
    let cpus = possible_cpus();
    assert_eq!(cpus, CPUS, "the guest was to have places for so many processors");
    let node = node();

    let mut maps = Vec::new();
    pinned_maps(node.directories.pins(), &mut maps);
    assert!(maps.len() >= 7, "{maps:?}");
    let bytes: u64 = maps.iter().map(|map| bytes_of(map)).sum();
    fact("many_cpus_bytes_a_cpu", &(bytes / cpus).to_string());
    assert!(bytes / cpus <= BYTES_A_CPU, "{bytes} bytes for {cpus} CPUs");

    // What is counted here is found among all those that count nothing.
    let knocks = silent(
        node.outsider(),
        &[nodewall_testbed::Probe::udp(node.host().socket(nodewall_testbed::Family::V4, 9042))],
    );
    let sent: u64 = knocks.iter().map(|knock| u64::from(knock.sent_packets)).sum();
    let dropped = Cell::port("cassandra", 9042, Protocol::Udp, "drop", "outsider");
    eventually("the knock is counted", || (node.counters().packets(&dropped) == sent).then_some(()));

    let mut scrapes = Vec::new();
    for _ in 0..SCRAPES {
        // Who asks right after another shares its answer.
        thread::sleep(Duration::from_millis(100));
        let before = cpu_time(&node, Some("export"));
        let text = scrape(&node).unwrap();
        assert!(text.contains("nodewall_packets_total{class=\"cassandra\",port=\"9042\""), "{text}");
        scrapes.push(cpu_time(&node, Some("export")).checked_sub(before).unwrap());
    }
    scrapes.sort_unstable();
    fact("many_cpus_scrape_us", &scrapes[SCRAPES / 2].as_micros().to_string());

    let before = cpu_time(&node, None);
    thread::sleep(IDLE);
    let waiting = cpu_time(&node, None).checked_sub(before).unwrap();
    let share = waiting.as_nanos() * 1_000_000 / (u128::from(IDLE.as_secs()) * NS_PER_S);
    fact("many_cpus_idle_ppm", &share.to_string());
    node.assert_counted(Counters::drops, &[(dropped, sent)].into());
}

/// A sweep looks at every processor's table once a second, also at those that were never started: what that costs, with nothing noted and with something.
#[test]
fn a_sweep_is_a_small_part_of_its_second() {
    let test = "many_cpus::a_sweep_is_a_small_part_of_its_second";
    if skip_outside(test) {
        return;
    }
    let mut engine = KernelEngine::new(&Policy::Enforce.compiled().image, Shape::EVIDENCE, None).unwrap();
    let mut evidence = engine.maps().evidence(CaptureBudget { snap_bytes: 256, per_second: 200 }).unwrap();
    let frame = cases::frames::Ip4::new(
        cases::OUTSIDER,
        cases::frames::TCP,
        cases::frames::transport(cases::frames::TCP, 9042),
    )
    .frame();
    let mut sweeps = |denied: bool| {
        let mut times: Vec<i64> = (0..SWEEPS)
            .map(|_| {
                if denied {
                    engine.run(&frame).unwrap();
                }
                let before = clock_gettime(ClockId::ThreadCPUTime);
                let sweep = evidence.sweep(NS_PER_S as u64).unwrap();
                assert_eq!(sweep.denied_packets, u64::from(denied));
                {
                    let after = clock_gettime(ClockId::ThreadCPUTime);
                    (after.tv_sec - before.tv_sec) * 1_000_000 + (after.tv_nsec - before.tv_nsec) / 1_000
                }
            })
            .collect();
        times.sort_unstable();
        times[SWEEPS / 2]
    };
    fact("many_cpus_idle_sweep_us", &sweeps(false).to_string());
    fact("many_cpus_sweep_us", &sweeps(true).to_string());
}
