//! A state directory with a store of known records, and the executable over it. It must not know what the answers are.

use std::{path::PathBuf, process::Command};

use crate::binary::executable;
use node_ebpf_common::Reason;
use nodewall_evidence::{
    record::{Batch, Capture, Event, EventKind, Flow, FlowKey, Loss, LossKind, Outcome},
    store::{Limits, Writer},
};
use nodewall_testbed::{Finished, PATIENCE, run_to_end};
use serde_json::Value;
use tempfile::TempDir;

/// 2026-11-22T10:00:00Z.
pub(crate) const T0: u64 = 1_795_341_600_000_000_000;
pub(crate) const SECOND: u64 = 1_000_000_000;
pub(crate) const HOUR: u64 = 3600 * SECOND;
pub(crate) const POLICY_TEXT: &str = "mode = \"enforce\"\n[[rule]]\nports = [9042]\n";

pub(crate) struct World {
    directory: TempDir,
}

pub(crate) struct Ran {
    pub(crate) out: String,
    pub(crate) err: String,
    code: i32,
}

impl Ran {
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}\n{}{}", self.out, self.err))
    }

    #[track_caller]
    pub(crate) fn jsonl(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }
}

impl World {
    pub(crate) fn empty() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    /// With the records of [`batches`].
    pub(crate) fn new() -> Self {
        let world = Self::empty();
        let mut writer = world.writer();
        for batch in batches() {
            writer.append(&batch).unwrap();
        }
        world
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    pub(crate) fn writer(&self) -> Writer {
        // As the agent makes it.
        nodewall_host::state::StateDir::create(&self.state()).unwrap();
        let limits = Limits { max_bytes: 64 << 20, max_age_ns: u64::MAX };
        Writer::open(&self.state().join("evidence"), limits).unwrap().writer
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(executable());
        command.arg("events").args(arguments).arg("--state-dir").arg(self.state());
        command.env_remove("NODEWALL_LOG").env("TZ", "Asia/Kolkata");
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        let Finished { status, stdout, stderr } = run_to_end("nodewall", self.command(arguments), PATIENCE).unwrap();
        let code = status.code().unwrap_or_else(|| panic!("{status}\n{stderr}"));
        Ran { out: stdout, err: stderr, code }
    }

    /// The ids that a list names, in its order.
    pub(crate) fn ids(&self, arguments: &[&str]) -> Vec<String> {
        let ran = self.run(&[&["list", "-o", "jsonl"], arguments].concat()).exits(0);
        ran.jsonl().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    }
}

pub(crate) fn key(source: Option<&str>, protocol: &'static str, port: Option<u16>, reason: Reason) -> FlowKey {
    FlowKey {
        source: source.map(|source| source.parse().unwrap()),
        protocol,
        port,
        reason,
        outcome: Outcome::Drop,
        interface: "eth0".into(),
    }
}

pub(crate) fn flow(key: FlowKey, class: Option<&str>, first_unix_ns: u64, packets: u64) -> Flow {
    Flow {
        key,
        class: class.map(Into::into),
        mac: [2, 0, 0, 0, 0, 9],
        generation: 4,
        first_unix_ns,
        last_unix_ns: first_unix_ns + SECOND / 2,
        packets,
        bytes: packets * 60,
    }
}

pub(crate) fn capture(key: FlowKey, unix_ns: u64, frame: Vec<u8>, original_bytes: u32) -> Capture {
    Capture {
        key,
        class: Some("cassandra".into()),
        mac: [2, 0, 0, 0, 0, 9],
        generation: 4,
        unix_ns,
        boot_ns: 77,
        cpu: 1,
        original_bytes,
        frame,
    }
}

/// A TCP SYN to 9042 with some text behind its header.
pub(crate) fn syn(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    etherparse::PacketBuilder::ethernet2([2, 0, 0, 0, 0, 9], [2, 0, 0, 0, 0, 1])
        .single_vlan(etherparse::VlanId::try_new(7).unwrap())
        .ipv4([203, 0, 113, 9], [192, 0, 2, 1], 61)
        .tcp(51_000, 9042, 77, 1024)
        .syn()
        .write(&mut frame, payload)
        .unwrap();
    frame
}

pub(crate) fn event(unix_ns: u64, kind: EventKind, detail: &str) -> Event {
    Event { unix_ns, kind, detail: detail.into(), who: None, text: None }
}

/// Three batches: the first, one an hour later, and one the day after.
pub(crate) fn batches() -> [Batch; 3] {
    let first = key(Some("203.0.113.9"), "tcp", Some(9042), Reason::Outsider);
    let audited =
        FlowKey { outcome: Outcome::WouldDrop, ..key(Some("203.0.113.77"), "tcp", Some(9042), Reason::Outsider) };
    let frame = syn(b"hello");
    let loss = |kind, packets, bytes| Loss {
        kind,
        first_unix_ns: T0 + HOUR - SECOND,
        last_unix_ns: T0 + HOUR,
        packets,
        bytes,
    };
    let policy = Event {
        who: Some(r#"{"user":"root","via":"nodewall apply"}"#.into()),
        text: Some(POLICY_TEXT.into()),
        ..event(T0, EventKind::Policy, "generation 4, enforce")
    };
    [
        Batch {
            unix_ns: T0 + SECOND,
            boot_offset_ns: 5,
            flows: vec![
                flow(first.clone(), Some("cassandra"), T0, 12),
                flow(audited, Some("cassandra"), T0 + SECOND / 4, 3),
            ],
            captures: vec![capture(first, T0, frame[..40].to_vec(), frame.len() as u32)],
            losses: vec![],
            events: vec![policy],
        },
        Batch {
            unix_ns: T0 + HOUR,
            boot_offset_ns: 5,
            flows: vec![
                flow(key(Some("2001:db8::5"), "udp", Some(53), Reason::Closed), Some("dns"), T0 + HOUR - SECOND, 1),
                flow(key(None, "none", None, Reason::ShortFrame), None, T0 + HOUR - SECOND, 5),
            ],
            captures: vec![],
            losses: vec![loss(LossKind::NotAttributed, 7, 700), loss(LossKind::CaptureBudget, 2, 0)],
            events: vec![],
        },
        Batch {
            unix_ns: T0 + 26 * HOUR,
            boot_offset_ns: 5,
            flows: vec![flow(
                key(Some("203.0.113.9"), "tcp", Some(8443), Reason::Closed),
                Some("ui"),
                T0 + 26 * HOUR - SECOND,
                40,
            )],
            captures: vec![],
            losses: vec![],
            events: vec![event(T0 + 26 * HOUR, EventKind::Operator("block".into()), "203.0.113.0/24")],
        },
    ]
}
