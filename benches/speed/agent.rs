//! The agent section: the real `nodewall run` on a link in a namespace. How soon does it enforce, what does it cost while nothing happens, and how long
//! does it take to read its counters?

mod node;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs, thread,
    time::{Duration, Instant},
};

use crate::{
    Section, cpus,
    data::sample::Spread,
    report::{Bar, Report, Table, short},
    setting::Setting,
};
use anyhow::{Context, Result, anyhow, ensure};
use nodewall_datapath::Maps;
use nodewall_testbed::Process;
use serde::Serialize;
use serde_json::json;

use node::{Node, Started};

/// Peers in the configuration: few, and as many as it may name.
const PEERS: [usize; 2] = [3, 16_384];
/// Starts and scrapes; a median of fewer is not taken.
const ROUNDS_MIN: usize = 9;
const ROUNDS_MAX: usize = 15;
/// After its start the agent still looks for what it should warn of.
const SETTLE: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_secs(10);

/// Blocks of one address.
const BLOCKS: u8 = 20;

/// Bars.
const BLOCK_MS: f64 = 50.0;
/// Compiling and writing, for each of [`PEERS`].
const CHANGE_MS: [f64; 2] = [15.0, 30.0];
const START_MS: f64 = 100.0;
const IDLE_PERCENT: f64 = 0.1;
const RSS_MB: f64 = 20.0;
const SCRAPE_MS: f64 = 10.0;

/// An agent while nothing happens.
#[derive(Clone, Copy, Debug, Serialize)]
struct Idle {
    /// CPU time of all of its threads, % of one CPU.
    percent: f64,
    /// Times that its threads went to sleep by themselves, a second.
    switches_per_s: f64,
    /// Resident memory: all, of its own, of files (its own program text for the most part); MB of 10^6 bytes.
    rss_mb: f64,
    anonymous_mb: f64,
    file_mb: f64,
}

/// Reading the counters, ms.
#[derive(Clone, Copy, Debug, Serialize)]
struct Scrape {
    /// `nodewall counters -o json`, from its start to its end.
    command: f64,
    /// What an exporter does for each scrape: the policy's number, the rows, the counters.
    reading: f64,
}

/// `nodewall block` beside the agent, ms.
#[derive(Clone, Copy, Debug, Serialize)]
struct Block {
    /// The command, from its start to its end.
    command: f64,
    /// Compiling the image.
    compile: f64,
    /// Writing it and the names of its rows and peers to the kernel.
    write: f64,
    /// The kernel's grace period: no packet meets the image before it any more.
    grace: f64,
    /// Writing the last good policy to disk.
    state: f64,
}

/// All of one number of peers.
#[derive(Debug, Serialize)]
struct Figures {
    peers: usize,
    starts: Vec<Started>,
    idle: Idle,
    scrapes: Vec<Scrape>,
    blocks: Vec<Block>,
}

/// The section.
pub struct Agent;

impl Section for Agent {
    fn name(&self) -> &'static str {
        "agent"
    }

    fn what(&self) -> &'static str {
        "the real agent: start to enforcing, idle CPU and memory, reading the counters"
    }

    fn run(&self, setting: &Setting) -> Result<Report> {
        cpus::unpin()?;
        let rounds = setting.rounds.clamp(ROUNDS_MIN, ROUNDS_MAX);
        let mut nodes = Vec::new();
        for peers in PEERS {
            nodes.push((peers, Node::new(peers)?, Vec::new()));
        }
        // The first start reads the program from the disk.
        for round in 0..=rounds {
            for (_, node, starts) in &mut nodes {
                let (agent, started) = node.timed_start()?;
                node.open(&agent)?;
                if round > 0 {
                    starts.push(started);
                }
            }
        }
        let agents: Vec<Process> = nodes.iter().map(|(_, node, _)| node.start()).collect::<Result<_>>()?;
        thread::sleep(SETTLE);
        let before = agents.iter().map(Usage::of).collect::<Result<Vec<_>>>()?;
        let began = Instant::now();
        thread::sleep(IDLE);
        let after = agents.iter().map(Usage::of).collect::<Result<Vec<_>>>()?;
        let seconds = began.elapsed().as_secs_f64();
        let mut all = Vec::new();
        for (((peers, node, starts), agent), (before, after)) in
            nodes.into_iter().zip(&agents).zip(before.iter().zip(&after))
        {
            let idle = Idle::of(agent, before, after, seconds)?;
            let scrapes = (0..rounds).map(|_| scrape(&node)).collect::<Result<_>>()?;
            let blocks = (1..=BLOCKS).map(|n| block(&node, n)).collect::<Result<_>>()?;
            node.open(agent)?;
            all.push(Figures { peers, starts, idle, scrapes, blocks });
        }
        report(&all)
    }
}

/// What a process has used until now.
struct Usage {
    /// CPU time of all of its threads, those that have ended, too.
    cpu_ns: u64,
    /// Times that each of its threads went to sleep by itself, by the thread's number.
    switches: BTreeMap<OsString, u64>,
}

impl Usage {
    fn of(process: &Process) -> Result<Self> {
        let mut switches = BTreeMap::new();
        let tasks = format!("/proc/{}/task", process.id());
        for task in fs::read_dir(&tasks).with_context(|| tasks.clone())?.flatten() {
            // A thread may end between the two.
            if let Ok(status) = fs::read_to_string(task.path().join("status")) {
                switches.insert(task.file_name(), field(&status, "voluntary_ctxt_switches:")?);
            }
        }
        Ok(Self { cpu_ns: process_cpu_ns(process.id())?, switches })
    }

    /// Switches since `before`, of threads that were there all the time.
    fn switches_since(&self, before: &Self) -> u64 {
        self.switches
            .iter()
            .map(|(task, now)| before.switches.get(task).map_or(0, |then| now.saturating_sub(*then)))
            .sum()
    }
}

/// CPU time of another process, ns.
fn process_cpu_ns(pid: u32) -> Result<u64> {
    let mut clock = 0;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: both are valid for writing.
    let failed = unsafe {
        libc::clock_getcpuclockid(pid.cast_signed(), &raw mut clock) != 0
            || libc::clock_gettime(clock, &raw mut time) != 0
    };
    ensure!(!failed, "the CPU time of process {pid} can not be read");
    Ok(time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned())
}

/// A number of /proc/PID/status.
fn field(status: &str, name: &str) -> Result<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok());
    value.with_context(|| format!("no {name} in a process's status"))
}

impl Idle {
    fn of(process: &Process, before: &Usage, after: &Usage, seconds: f64) -> Result<Self> {
        let status = fs::read_to_string(format!("/proc/{}/status", process.id()))?;
        let mb = |name| field(&status, name).map(|kib| kib as f64 * 1_024.0 / 1e6);
        Ok(Self {
            percent: (after.cpu_ns - before.cpu_ns) as f64 / seconds / 1e9 * 100.0,
            switches_per_s: after.switches_since(before) as f64 / seconds,
            rss_mb: mb("VmRSS:")?,
            anonymous_mb: mb("RssAnon:")?,
            file_mb: mb("RssFile:")?,
        })
    }
}

fn scrape(node: &Node) -> Result<Scrape> {
    let ms = |began: Instant| began.elapsed().as_secs_f64() * 1_000.0;
    let began = Instant::now();
    node.nodewall(&["counters", "-o", "json"])?;
    let command = ms(began);
    // An exporter has the maps open.
    let (_, maps) = Maps::live(node.pins())?.context("the agent's maps are not there")?;
    let began = Instant::now();
    let rows = maps.rows()?;
    let cells = maps.cells(&rows)?;
    let generation = maps.policy()?.generation;
    let reading = ms(began);
    // Also keeps the compiler from leaving anything out.
    if generation == 0 && cells.is_empty() {
        return Err(anyhow!("a policy in force without a number"));
    }
    Ok(Scrape { command, reading })
}

/// Blocks one more address. The steps are as `--verbose` tells them.
fn block(node: &Node, n: u8) -> Result<Block> {
    let began = Instant::now();
    let told = node.nodewall(&["block", &format!("192.0.2.{n}"), "--verbose"])?.stderr;
    let command = began.elapsed().as_secs_f64() * 1_000.0;
    let step = |name: &str| {
        let value = told.split_whitespace().find_map(|word| word.strip_prefix(name)?.parse::<f64>().ok());
        value.map(|us| us / 1_000.0).with_context(|| format!("no {name} in {told}"))
    };
    Ok(Block {
        command,
        compile: step("compile_us=")?,
        write: step("write_us=")?,
        grace: step("grace_us=")?,
        state: step("state_us=")?,
    })
}

fn spread(values: impl IntoIterator<Item = f64>) -> Result<Spread> {
    Spread::of(&values.into_iter().collect::<Vec<_>>()).context("no samples")
}

fn report(all: &[Figures]) -> Result<Report> {
    let (mut starts, mut idle, mut scrapes, mut bars) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut blocks = Vec::new();
    for (figures, change_ms) in all.iter().zip(CHANGE_MS) {
        let peers = format!("{} peers", figures.peers);
        let dropped = spread(figures.starts.iter().map(|s| s.dropped_ms))?;
        let said = spread(figures.starts.iter().map(|s| s.said_ms))?;
        let row = [dropped.median, dropped.min, dropped.max, said.median].map(short);
        starts.push([vec![peers.clone()], row.to_vec()].concat());
        let i = &figures.idle;
        let mut row = vec![peers.clone(), format!("{:.4}", i.percent)];
        row.extend([i.switches_per_s, i.rss_mb, i.anonymous_mb, i.file_mb].map(short));
        idle.push(row);
        let (command, reading) =
            (spread(figures.scrapes.iter().map(|s| s.command))?, spread(figures.scrapes.iter().map(|s| s.reading))?);
        let row = [reading.median, reading.max, command.median, command.max].map(short);
        scrapes.push([vec![peers.clone()], row.to_vec()].concat());
        let median = |of: fn(&Block) -> f64| Ok::<_, anyhow::Error>(spread(figures.blocks.iter().map(of))?.median);
        let (whole, change) = (median(|b| b.command)?, median(|b| b.compile + b.write)?);
        let [compile, write, grace] = [median(|b| b.compile)?, median(|b| b.write)?, median(|b| b.grace)?];
        let rest = median(|b| b.command - b.compile - b.write - b.grace - b.state)?;
        let row = [whole, compile, write, grace, median(|b| b.state)?, rest].map(short);
        blocks.push([vec![peers.clone()], row.to_vec()].concat());
        bars.extend([
            Bar::at_most(format!("`nodewall block`, {peers}"), BLOCK_MS, whole, "ms"),
            Bar::at_most(format!("compile and write, {peers}"), change_ms, change, "ms"),
            Bar::at_most(format!("start to enforcing, {peers}"), START_MS, dropped.median, "ms"),
            Bar::at_most(format!("idle CPU, {peers}"), IDLE_PERCENT, i.percent, "% of a core"),
            Bar::at_most(format!("resident memory, {peers}"), RSS_MB, i.rss_mb, "MB"),
            Bar::at_most(format!("reading for a scrape, {peers}"), SCRAPE_MS, reading.median, "ms"),
        ]);
    }
    let table = |name: &str, title: &str, head: &[&str], rows| Table {
        name: name.to_owned(),
        title: title.to_owned(),
        head: head.iter().map(|s| (*s).to_owned()).collect(),
        rows,
    };
    Ok(Report {
        tables: vec![
            table(
                "agent-start",
                "From `nodewall run` on an open node to the first of an outsider's datagrams that is dropped, and to the log's \"policy enforced\"; ms",
                &["", "dropped", "min", "max", "said"],
                starts,
            ),
            table(
                "agent-idle",
                "While nothing happens, over 10 s: CPU time in % of a core, voluntary switches a second, resident memory in MB (all, of its own, of files)",
                &["", "CPU %", "switches/s", "RSS", "anonymous", "file"],
                idle,
            ),
            table(
                "agent-scrape",
                "Reading the counters with the maps open, as an exporter does, and `nodewall counters -o json` from its start to its end; ms",
                &["", "reading", "max", "command", "max"],
                scrapes,
            ),
            table(
                "agent-block",
                "`nodewall block` of one address beside the agent, medians of 20: the whole command; compiling the image, writing it, the kernel's grace period, writing the last good policy to disk; the rest is the process's start, what is in force, the list of blocks and the journal; ms",
                &["", "command", "compile", "write", "grace", "state", "rest"],
                blocks,
            ),
        ],
        bars,
        figures: json!(all),
        notes: vec!["What a whole scrape over HTTP costs is in docs/METRICS.md.".to_owned()],
    })
}
