//! An upgrade under load: another executable with another kernel program takes over what the first one pinned, there and back again. Where
//! `NODEWALL_FAULTS_NEXT` names an executable that was built differently, with another layout of its maps (`cargo xtask faults` builds one), it is that; else a
//! copy of this one that loads the program that logs, which has other instructions, too.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::{
    binary::executable,
    layouts::{self, By},
    measure::{grouped, kpps, ms},
    node::{Node, PATIENCE},
    random::Random,
    record::{Record, alone, is_full, runs, seed},
    rig::{self, CASSANDRA, OUTSIDER, Witness},
};
use nodewall_testbed::{Process, Signal, find_tool, program::Program, run_to_end, skip_unless_privileged};
use serde_json::Value;
use tempfile::TempDir;

const NEXT: &str = "NODEWALL_FAULTS_NEXT";
/// The program that logs every frame is slow.
const LOGGED_PPS: u32 = 2_000;
/// strace keeps the processor busy.
const KILLED_PPS: u32 = 20_000;

/// The other executable, and how it is started.
struct NextNodewall {
    executable: PathBuf,
    arguments: &'static [&'static str],
    rate_pps: u32,
    _folder: TempDir,
}

impl NextNodewall {
    fn find() -> Self {
        let folder = tempfile::tempdir().unwrap();
        if let Some(built) = env::var_os(NEXT) {
            let next = PathBuf::from(built);
            assert_ne!(fs::read(&next).unwrap(), fs::read(executable()).unwrap(), "{NEXT} names the same executable");
            return Self { executable: next, arguments: &[], rate_pps: rig::FLOOD_PPS, _folder: folder };
        }
        assert!(!is_full(), "set {NEXT} to an executable that was built differently (`cargo xtask faults` does)");
        let next = folder.path().join("nodewall-next");
        fs::copy(executable(), &next).unwrap();
        Self { executable: next, arguments: &["--kernel-log"], rate_pps: LOGGED_PPS, _folder: folder }
    }

    fn start(&self, node: &Node) -> Process {
        let mut command = node.netns().command(&self.executable);
        command.args(node.command("run", self.arguments).get_args());
        // The log of every frame is read, and not kept.
        Process::spawn("the next nodewall", command).unwrap()
    }
}

/// What a reader of the counters saw.
struct Watched {
    reads: u64,
    longest: Duration,
    went_back: Vec<String>,
}

/// What a command says by the executable whose layout is in force; `None`: just now that changes.
fn ask(node: &Node, executables: [&Path; 2], verb: &str) -> Option<Value> {
    executables.into_iter().find_map(|executable| {
        let asked = By(node, executable).run(verb, &["-o", "json"]);
        serde_json::from_str(&asked.stdout).ok()
    })
}

/// Reads every counter again and again, so often at least.
fn watch(node: &Node, executables: [&Path; 2], at_least: u64, done: &AtomicBool) -> Watched {
    let mut watched = Watched { reads: 0, longest: Duration::ZERO, went_back: Vec::new() };
    let mut before = Vec::new();
    let mut last = Instant::now();
    while !done.load(Ordering::Relaxed) || watched.reads < at_least {
        let Some(counters) = ask(node, executables, "counters") else { continue };
        let now = layouts::rows(&counters);
        watched.went_back.extend(layouts::went_back(&before, &now));
        before = now;
        watched.reads += 1;
        watched.longest = watched.longest.max(last.elapsed());
        last = Instant::now();
        thread::sleep(Duration::from_millis(1));
    }
    watched
}

/// The program on the interface: its number, and what the kernel made of it.
fn program(node: &Node, executables: [&Path; 2]) -> (u64, u32) {
    let status = ask(node, executables, "status").expect("a status");
    let id = status["interfaces"][0]["program_id"].as_u64().unwrap_or_else(|| panic!("no program on eth0: {status}"));
    (id, Program::by_id(id as u32).unwrap().facts().unwrap().translated_instructions)
}

#[test]
fn upgrades_under_load() {
    if skip_unless_privileged("upgrades_under_load") {
        return;
    }
    let _turn = alone();
    // There and back.
    let upgrades = runs(6, 200);
    let next = NextNodewall::find();
    let mut record = Record::new(
        "upgrade",
        "upgrade to an executable with another layout of the maps and another kernel program, and back, under load",
        upgrades,
        "no counter goes back; 0 leaked; counted = sent",
    );
    let executables = [Path::new(executable()), next.executable.as_path()];
    let node = rig::idle(&rig::settings());
    let mut agent = rig::spawn_agent(&node, &[]);
    rig::wait_until_enforced(&agent);
    let mut witness = Witness::of(&node, &[CASSANDRA]);
    let flood = rig::flood_at(&node, vec![rig::datagram(&node, OUTSIDER, CASSANDRA)], next.rate_pps);
    let done = AtomicBool::new(false);
    let mut sizes = Vec::new();
    let watched = thread::scope(|scope| {
        let watching = scope.spawn(|| watch(&node, executables, upgrades * 3, &done));
        let upgraded = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for n in 0..upgrades {
                let before = program(&node, executables);
                // An upgrade ends the old agent and starts the new one: the old program stays until then.
                agent.signal(if n % 2 == 0 { Signal::TERM } else { Signal::KILL }).unwrap();
                agent.wait(PATIENCE).unwrap();
                agent = if n % 2 == 0 { next.start(&node) } else { rig::spawn_agent(&node, &[]) };
                rig::wait_until_enforced(&agent);
                let after = program(&node, executables);
                assert!(after.0 != before.0 && after.1 != before.1, "not another program: {before:?} {after:?}");
                sizes = vec![before.1, after.1];
            }
        }));
        done.store(true, Ordering::Relaxed);
        let watched = watching.join().unwrap();
        upgraded.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        watched
    });
    let flooded = flood.stop().unwrap();
    let counters = rig::settled(&node, CASSANDRA, flooded.total_packets());
    let (dropped, leaked) = (rig::counted(&counters, CASSANDRA, "drop"), witness.leaked_packets());
    sizes.sort_unstable();
    record.measured(format!(
        "programs of {sizes:?} instructions; {} frames at {}, {} counted, {leaked} leaked; {} reads of all counters, at most {} apart, {} went back",
        grouped(flooded.total_packets()),
        kpps(flooded.rate_pps()),
        grouped(dropped),
        grouped(watched.reads),
        ms(watched.longest),
        watched.went_back.len(),
    ));
    assert!(watched.went_back.is_empty(), "{:#?}", watched.went_back);
    assert_eq!((dropped, leaked), (flooded.total_packets(), 0));
    record.passed();
}

/// What the kernel is asked for, and the pins that come and go.
const CALLS: &str = "bpf,rename,renameat,renameat2,unlink,unlinkat,mkdir,rmdir";

/// `nodewall apply` by an executable, under strace.
fn traced(node: &Node, executable: &Path, log: &Path, inject: Option<&str>) -> Command {
    let mut command = node.netns().command(find_tool("strace").unwrap());
    command.args(["-f", "-qqq", "-o"]).arg(log).args(["-e", &format!("trace={CALLS}")]);
    command.args(inject.map(|inject| ["-e".to_owned(), format!("inject={inject}")]).into_iter().flatten());
    command.arg("--").arg(executable).args(node.command("apply", &[]).get_args());
    command
}

/// The calls of a traced run, each by its name and its number among those of the name. Of those that read a value there are thousands: one in a hundred.
fn places(log: &Path) -> Vec<(String, u64)> {
    let (mut counts, mut places) = (BTreeMap::new(), Vec::new());
    for line in fs::read_to_string(log).unwrap().lines() {
        let Some(call) = line.split_whitespace().nth(1).and_then(|call| call.split_once('(')) else { continue };
        let count: &mut u64 = counts.entry(call.0.to_owned()).or_default();
        *count += 1;
        if !call.1.starts_with("BPF_MAP_LOOKUP_ELEM") || count.is_multiple_of(100) {
            places.push((call.0.to_owned(), *count));
        }
    }
    places
}

/// kill -9 at a system call of an upgrade, and the next one goes on, to the same layout or back.
#[test]
fn an_upgrade_that_is_killed_anywhere_goes_on() {
    if skip_unless_privileged("an_upgrade_that_is_killed_anywhere_goes_on") {
        return;
    }
    let _turn = alone();
    let kills = runs(20, 400);
    let next = NextNodewall::find();
    let executables = [&next.executable, Path::new(executable())];
    let mut record = Record::new(
        "upgrade-kill",
        "kill -9 at any system call of an upgrade to another layout of the maps, or back",
        kills,
        "no counter goes back; 0 leaked; counted = sent; the next start goes on",
    );
    let node = rig::idle(&rig::settings());
    let (folder, mut random) = (tempfile::tempdir().unwrap(), Random::new(seed()));
    let log = folder.path().join("strace");
    By(&node, executables[1]).done("apply", &[]);
    let mut witness = Witness::of(&node, &[CASSANDRA]);
    let flood = rig::flood_at(&node, vec![rig::datagram(&node, OUTSIDER, CASSANDRA)], KILLED_PPS);
    // There and back, whole: what there is to be killed at.
    let all = executables.map(|executable| {
        let whole = run_to_end("apply", traced(&node, executable, &log, None), PATIENCE).unwrap();
        assert!(whole.status.success(), "{whole:?}");
        places(&log)
    });
    let (mut before, mut died) = (Vec::new(), 0);
    for _ in 0..kills {
        let to = random.below(2);
        let (call, number) = &all[to][random.below(all[to].len())];
        let inject = format!("{call}:signal=SIGKILL:when={number}");
        let ended = run_to_end("apply", traced(&node, executables[to], &log, Some(&inject)), PATIENCE).unwrap();
        died += u64::from(!ended.status.success());
        let told =
            ask(&node, executables, "counters").unwrap_or_else(|| panic!("{inject}: nobody can read the counters"));
        let now = layouts::rows(&told);
        let went_back: Vec<String> = layouts::went_back(&before, &now).collect();
        assert!(went_back.is_empty(), "{inject}: {went_back:#?}");
        before = now;
        assert_eq!(witness.leaked_packets(), 0, "{inject}: behind the filter, or lost by the tap");
    }
    By(&node, executables[1]).done("apply", &[]);
    let flooded = flood.stop().unwrap();
    let counters = rig::settled(&node, CASSANDRA, flooded.total_packets());
    let (dropped, leaked) = (rig::counted(&counters, CASSANDRA, "drop"), witness.leaked_packets());
    record.measured(format!(
        "{} frames at {}, {} counted, {leaked} leaked; {died} died, at {} and {} calls",
        grouped(flooded.total_packets()),
        kpps(flooded.rate_pps()),
        grouped(dropped),
        all[0].len(),
        all[1].len(),
    ));
    assert_eq!((dropped, leaked), (flooded.total_packets(), 0));
    assert!(died > kills / 2, "{died} of {kills} died");
    record.passed();
}
