//! A node with one link for the real `nodewall`, and an outsider at its other end. Owns starting, asking and ending the agent; measures nothing but what
//! the outsider sees.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use nodewall_testbed::{
    Finished, NetNs, Process, Signal,
    cleanup::{self, Guard},
    run_to_end,
};
use tempfile::TempDir;

/// Nothing waits that long when all is right.
const PATIENCE: Duration = Duration::from_secs(20);
/// The outsider's datagrams.
const KNOCK_EVERY: Duration = Duration::from_micros(100);
/// Still on their way when the agent says that it enforces.
const LAST_KNOCKS: Duration = Duration::from_millis(30);
const NODE: Ipv4Addr = Ipv4Addr::new(10, 255, 255, 1);
const OUTSIDER: Ipv4Addr = Ipv4Addr::new(10, 255, 255, 2);
const CLUSTER_PORT: u16 = 9042;

/// The node, its link, its directories.
pub struct Node {
    netns: NetNs,
    outsider: NetNs,
    pins: PathBuf,
    state: TempDir,
    _unpin: Guard,
}

/// When what happened after the agent's start, ms.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Started {
    /// The first of the outsider's datagrams that was dropped, with all after it, was sent.
    pub dropped_ms: f64,
    /// The agent said that it enforces.
    pub said_ms: f64,
}

impl Node {
    /// `peers` static peers; the outsider is none.
    pub fn new(peers: usize) -> Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let mut namespaces = NetNs::create_many(&["agent", "outsider"])?.into_iter();
        let (Some(netns), Some(outsider)) = (namespaces.next(), namespaces.next()) else {
            return Err(anyhow!("two namespaces were asked for"));
        };
        netns.ip_batch(&format!(
            "link add eth0 index 901 type veth peer name eth0 index 902 netns {}\n\
             addr add {NODE}/30 dev eth0\nlink set dev eth0 up\n",
            outsider.name()
        ))?;
        outsider.ip_batch(&format!("addr add {OUTSIDER}/30 dev eth0\nlink set dev eth0 up\n"))?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let pins = Path::new("/sys/fs/bpf").join(format!("nwb-{}-{number}", process::id()));
        let remove = pins.clone();
        // Without its pin the kernel lets go of a link.
        let unpin = cleanup::guard(move || drop(fs::remove_dir_all(remove)));
        let state = tempfile::tempdir().context("a folder for the agent's state")?;
        fs::DirBuilder::new().mode(0o700).create(state.path().join("state"))?;
        // 10.0.0.0/9, where the link is not.
        let list: Vec<String> =
            (1..=peers as u32).map(|n| format!("\"{}\"", Ipv4Addr::from_bits((10 << 24) + n * 257))).collect();
        let text = format!("interfaces = [\"eth0\"]\n[peers]\nstatic = [{}]\n", list.join(", "));
        fs::write(state.path().join("nodewall.toml"), text)?;
        Ok(Self { netns, outsider, pins, state, _unpin: unpin })
    }

    /// The pin directory.
    pub fn pins(&self) -> &Path {
        &self.pins
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.netns.command(env!("CARGO_BIN_EXE_nodewall"));
        command.args(words).arg("--config").arg(self.state.path().join("nodewall.toml"));
        command.arg("--bpffs").arg(&self.pins).arg("--state-dir").arg(self.state.path().join("state"));
        command.args(["--color", "never"]);
        command
    }

    /// Runs a command of nodewall's to its end.
    pub fn nodewall(&self, words: &[&str]) -> Result<Finished> {
        let finished = run_to_end("nodewall", self.command(words), PATIENCE)?;
        ensure!(finished.status.success(), "nodewall {words:?}: {}{}", finished.stdout, finished.stderr);
        Ok(finished)
    }

    /// Starts the agent and returns when it enforces.
    pub fn start(&self) -> Result<Process> {
        let agent = Process::spawn("nodewall run", self.command(&["run"]))?;
        agent.wait_for_line(PATIENCE, |line| line.contains("policy enforced"))?;
        Ok(agent)
    }

    /// Ends the agent and opens the node again.
    pub fn open(&self, agent: &Process) -> Result<()> {
        agent.signal(Signal::TERM)?;
        let status = agent.wait(PATIENCE)?;
        ensure!(status.success(), "the agent ended with {status}: {}", agent.output());
        self.nodewall(&["detach"]).map(drop)
    }

    /// Starts the agent on the open node while the outsider knocks at a cluster port.
    pub fn timed_start(&self) -> Result<(Process, Started)> {
        let door = self.netns.run(|| UdpSocket::bind((NODE, CLUSTER_PORT)))?.context("the node's port")?;
        door.set_read_timeout(Some(Duration::from_millis(1)))?;
        let knocker = self.outsider.run(|| UdpSocket::bind((OUTSIDER, 0)))?.context("the outsider's socket")?;
        // The first datagram also finds the node's hardware address.
        heard(&knocker, &door)?;
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let knocking = scope.spawn(|| knock(&knocker, &done));
            let listening = scope.spawn(|| listen(&door, &done));
            let began = Instant::now();
            let started = self.start();
            let said = Instant::now();
            thread::sleep(LAST_KNOCKS);
            done.store(true, Ordering::Relaxed);
            let sent = knocking.join().map_err(|_| anyhow!("the knocking thread panicked"))??;
            let last = listening.join().map_err(|_| anyhow!("the listening thread panicked"))?;
            let agent = started?;
            let first_dropped = last.map_or(0, |last| last as usize + 1);
            let dropped = sent.get(first_dropped).context("the outsider's last datagram was not dropped")?;
            let ms = |at: Instant| at.saturating_duration_since(began).as_secs_f64() * 1_000.0;
            Ok((agent, Started { dropped_ms: ms(*dropped), said_ms: ms(said) }))
        })
    }
}

/// Waits until a datagram gets through.
fn heard(knocker: &UdpSocket, door: &UdpSocket) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut buffer = [0; 8];
    while Instant::now() < deadline {
        knocker.send_to(&[0], SocketAddr::from((NODE, CLUSTER_PORT)))?;
        if door.recv(&mut buffer).is_ok() {
            // Others may have waited for the hardware address.
            while door.recv(&mut buffer).is_ok() {}
            return Ok(());
        }
    }
    Err(anyhow!("no datagram reaches the node while nothing filters it"))
}

/// Sends numbered datagrams; returns when each was sent.
fn knock(knocker: &UdpSocket, done: &AtomicBool) -> Result<Vec<Instant>> {
    let mut sent = Vec::new();
    while !done.load(Ordering::Relaxed) {
        let number = sent.len() as u32;
        sent.push(Instant::now());
        knocker.send_to(&number.to_le_bytes(), SocketAddr::from((NODE, CLUSTER_PORT))).context("knocking")?;
        thread::sleep(KNOCK_EVERY);
    }
    Ok(sent)
}

/// The number of the last datagram that came in.
fn listen(door: &UdpSocket, done: &AtomicBool) -> Option<u32> {
    let mut last = None;
    let mut number = [0; 4];
    while !done.load(Ordering::Relaxed) {
        if let Ok(4) = door.recv(&mut number) {
            last = Some(u32::from_le_bytes(number));
        }
    }
    last
}
