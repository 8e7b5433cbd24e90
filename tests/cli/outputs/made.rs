//! Records to be written, and tools to read them with.

use std::{
    fs::File,
    io::Write as _,
    net::IpAddr,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use crate::binary::executable;
use etherparse::PacketBuilder;
use node_ebpf_common::Reason;
use nodewall_evidence::{
    record::{Batch, Capture, FlowKey, Loss, LossKind, Outcome},
    store::{Limits, Writer},
};
use nodewall_host::state::StateDir;
pub(crate) use nodewall_testbed::until;
use tempfile::TempDir;

/// 2026-03-01T00:00:00.123456789Z.
pub(crate) const START_NS: u64 = 1_772_323_200_123_456_789;
pub(crate) const SECOND_NS: u64 = 1_000_000_000;

pub(crate) const MAC: [u8; 6] = [2, 0, 0, 0xaa, 0xbb, 0xcc];

/// A name as the kernel would let it be, and text as nobody should write it.
pub(crate) const HOSTILE: &str = "e\u{1b}[31m\"<b>&'\u{202e}";

pub(crate) fn key(interface: &str, outcome: Outcome) -> FlowKey {
    FlowKey {
        source: Some("203.0.113.7".parse::<IpAddr>().unwrap()),
        protocol: "tcp",
        port: Some(9042),
        reason: Reason::Outsider,
        outcome,
        interface: interface.to_owned(),
    }
}

/// A SYN from 203.0.113.7 to port 9042.
pub(crate) fn syn() -> Vec<u8> {
    let packet = PacketBuilder::ethernet2(MAC, [2, 0, 0, 0, 0, 1])
        .ipv4([203, 0, 113, 7], [192, 0, 2, 1], 64)
        .tcp(40_000, 9042, 1, 1024)
        .syn();
    let mut frame = Vec::new();
    packet.write(&mut frame, &[]).unwrap();
    frame
}

pub(crate) fn capture(interface: &str, outcome: Outcome, unix_ns: u64, frame: Vec<u8>) -> Capture {
    Capture {
        key: key(interface, outcome),
        class: Some("cassandra".to_owned()),
        mac: MAC,
        generation: 7,
        unix_ns,
        boot_ns: unix_ns - 1_700_000_000_000_000_000,
        cpu: 1,
        original_bytes: 1500,
        frame,
    }
}

pub(crate) fn loss(kind: LossKind, last_unix_ns: u64, packets: u64) -> Loss {
    Loss { kind, first_unix_ns: last_unix_ns - SECOND_NS, last_unix_ns, packets, bytes: 0 }
}

/// Runs a tool over bytes on its standard input.
pub(crate) fn fed(program: &str, args: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(program)
        .args(args)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}; `cargo xtask setup` installs it"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join();
    output
}

/// What a tool said; it must have ended well.
pub(crate) fn said(program: &str, args: &[&str], input: &[u8]) -> String {
    let output = fed(program, args, input);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// A state directory with a store that this process writes, as the agent would.
pub(crate) struct WrittenStore {
    dir: TempDir,
    pub(crate) writer: Writer,
    /// Held as an agent holds it.
    agent: Option<File>,
}

impl WrittenStore {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        StateDir::create(&dir.path().join("state")).unwrap();
        let limits = Limits { max_bytes: 1 << 30, max_age_ns: u64::MAX };
        let opened = Writer::open(&dir.path().join("state/evidence"), limits).unwrap();
        Self { dir, writer: opened.writer, agent: None }
    }

    pub(crate) fn with_agent(mut self) -> Self {
        self.agent = Some(StateDir::open(&self.state()).unwrap().unwrap().lock_agent().unwrap());
        self
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// A file beside the state directory.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn nodewall(&self, args: &[&str]) -> Command {
        let mut command = Command::new(executable());
        command.arg("--state-dir").arg(self.state()).args(args).stdin(Stdio::null());
        command
    }

    /// What a command said; it must have ended well.
    pub(crate) fn said(&self, args: &[&str]) -> Vec<u8> {
        let output = self.nodewall(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }
}

/// Put together right after the youngest of its records.
pub(crate) fn batch(captures: Vec<Capture>, losses: Vec<Loss>) -> Batch {
    let times = captures.iter().map(|capture| capture.unix_ns).chain(losses.iter().map(|loss| loss.last_unix_ns));
    let unix_ns = times.max().unwrap_or(START_NS) + 1;
    Batch { unix_ns, boot_offset_ns: 1, captures, losses, ..Batch::default() }
}
