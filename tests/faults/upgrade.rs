//! An upgrade under load: another executable with another kernel program takes over what the first one pinned, there and back again. Where
//! `NODEWALL_FAULTS_NEXT` names an executable that was built differently (`cargo xtask faults --full` builds one), it is that; else a copy
//! of this one that loads the program that logs, which has other instructions, too.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::{
    binary::executable,
    measure::{grouped, kpps, ms},
    node::{Node, PATIENCE},
    record::{Record, alone, is_full, runs},
    rig::{self, CASSANDRA, OUTSIDER, Witness},
};
use nodewall_datapath::Maps;
use nodewall_testbed::{Process, Signal, program::Program, skip_unless_privileged};
use tempfile::TempDir;

const NEXT: &str = "NODEWALL_FAULTS_NEXT";
/// The program that logs every frame is slow.
const LOGGED_PPS: u32 = 2_000;

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
        assert!(
            !is_full(),
            "set {NEXT} to an executable that was built differently (`cargo xtask faults --full` does)"
        );
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

/// Reads every counter again and again, straight from the pinned maps, so often at least.
fn watch(node: &Node, at_least: u64, done: &AtomicBool) -> Watched {
    let pins = node.directories.pins();
    let mut watched = Watched { reads: 0, longest: Duration::ZERO, went_back: Vec::new() };
    let mut before = Vec::new();
    let mut last = Instant::now();
    while !done.load(Ordering::Relaxed) || watched.reads < at_least {
        // Opened anew each time: what is pinned may be something else by now.
        let (_, maps) = Maps::live(pins).unwrap().expect("pinned maps");
        let cells = maps.cells(&maps.rows().unwrap()).unwrap();
        for old in &before {
            let old: &nodewall_datapath::Cell = old;
            let new = cells.iter().find(|new| new.index() == old.index());
            if new.is_none_or(|new| new.counter.packets < old.counter.packets || new.counter.bytes < old.counter.bytes)
            {
                watched.went_back.push(format!("{old:?} became {new:?}"));
            }
        }
        before = cells;
        watched.reads += 1;
        watched.longest = watched.longest.max(last.elapsed());
        last = Instant::now();
        thread::sleep(Duration::from_millis(1));
    }
    watched
}

/// The program on the interface: its number, and what the kernel made of it.
fn program(node: &Node) -> (u64, u32) {
    let (_, id) = node.attachment("eth0").expect("a program on eth0");
    (id, Program::by_id(id as u32).unwrap().facts().unwrap().translated_instructions)
}

#[test]
fn upgrades_under_load() {
    if skip_unless_privileged("upgrades_under_load") {
        return;
    }
    let _turn = alone();
    let upgrades = runs(5, 50);
    let next = NextNodewall::find();
    let mut record = Record::new(
        "upgrade",
        "upgrade to a differently built executable and kernel program, and back, under load",
        upgrades,
        "no counter goes back; 0 leaked; counted = sent",
    );
    let node = rig::idle(&rig::settings());
    let mut agent = rig::spawn_agent(&node, &[]);
    rig::wait_until_enforced(&agent);
    let mut witness = Witness::of(&node, &[CASSANDRA]);
    let flood = rig::flood_at(&node, vec![rig::datagram(&node, OUTSIDER, CASSANDRA)], next.rate_pps);
    let done = AtomicBool::new(false);
    let mut sizes = Vec::new();
    let watched = thread::scope(|scope| {
        let watching = scope.spawn(|| watch(&node, upgrades * 10, &done));
        let upgraded = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for n in 0..upgrades {
                let before = program(&node);
                // An upgrade ends the old agent and starts the new one: the old program stays until then.
                agent.signal(if n % 2 == 0 { Signal::TERM } else { Signal::KILL }).unwrap();
                agent.wait(PATIENCE).unwrap();
                agent = if n % 2 == 0 { next.start(&node) } else { rig::spawn_agent(&node, &[]) };
                rig::wait_until_enforced(&agent);
                let after = program(&node);
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
