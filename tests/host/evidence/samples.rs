//! Records of every shape, from a number each. It must not know the store.

use node_ebpf_common::Reason;
use nodewall_evidence::{
    record::{Batch, Capture, Event, EventKind, Flow, FlowKey, Loss, LossKind, Outcome},
    store::{Limits, Writer},
};
use nodewall_host::state::Clock;

pub(crate) const MINUTE_NS: u64 = 60_000_000_000;
/// 2026-11-20.
pub(crate) const BEGAN_NS: u64 = 1_795_132_800_000_000_000;
pub(crate) const ROOMY: Limits = Limits { max_bytes: 1 << 30, max_age_ns: u64::MAX };

pub(crate) fn key(n: u64) -> FlowKey {
    let reasons = [Reason::Outsider, Reason::Closed, Reason::SpoofedSource, Reason::TunnelOutsider, Reason::NoPorts];
    let byte = (n % 251) as u8;
    let source = match n % 3 {
        0 => Some([198, 51, 100, byte].into()),
        1 => Some([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(byte)].into()),
        _ => (!n.is_multiple_of(5)).then(|| [203, 0, 113, byte].into()),
    };
    FlowKey {
        source,
        protocol: ["tcp", "udp", "tunnel", "fragment", "other", "none"][(n % 6) as usize],
        port: (n % 6 < 2).then_some([9042_u16, 7000, 443, 65_535][(n % 4) as usize]),
        reason: reasons[(n % 5) as usize],
        outcome: if n.is_multiple_of(7) { Outcome::WouldDrop } else { Outcome::Drop },
        interface: format!("eth{}", n % 2),
    }
}

pub(crate) fn flow(n: u64) -> Flow {
    let first_unix_ns = BEGAN_NS + n * MINUTE_NS;
    Flow {
        key: key(n),
        class: (n % 4 != 3).then(|| "cassandra".to_owned()),
        mac: [2, 0, 0, 0, 0, (n % 256) as u8],
        generation: 1 + n / 10,
        first_unix_ns,
        last_unix_ns: first_unix_ns + MINUTE_NS / 2,
        packets: 1 + n,
        bytes: 60 * (1 + n),
    }
}

pub(crate) fn capture(n: u64) -> Capture {
    Capture {
        key: key(n),
        class: Some("cassandra".to_owned()),
        mac: [2, 0, 0, 0, 0, 1],
        generation: 3,
        unix_ns: BEGAN_NS + n * MINUTE_NS,
        boot_ns: 1_000 + n,
        cpu: (n % 4) as u32,
        original_bytes: 1_500,
        frame: (0..64_u64).map(|b| (b + n) as u8).collect(),
    }
}

pub(crate) fn loss(n: u64) -> Loss {
    let kind = LossKind::ALL[(n % 6) as usize];
    let first_unix_ns = BEGAN_NS + n * MINUTE_NS;
    Loss { kind, first_unix_ns, last_unix_ns: first_unix_ns + 5, packets: 10 + n, bytes: 600 + n }
}

pub(crate) fn event(n: u64) -> Event {
    let kinds = [
        EventKind::AgentStarted,
        EventKind::Policy,
        EventKind::Peers,
        EventKind::Operator("block".to_owned()),
        EventKind::AgentStopped,
        EventKind::AgentCutOff,
    ];
    let kind = kinds[(n % 6) as usize].clone();
    let text = (kind == EventKind::Policy).then(|| format!("policy {n}"));
    let who = n.is_multiple_of(2).then(|| format!("{{\"uid\":{n}}}"));
    Event { unix_ns: BEGAN_NS + n * MINUTE_NS, kind, detail: format!("what happened as number {n}"), who, text }
}

/// A batch with something of each kind.
pub(crate) fn batch(n: u64) -> Batch {
    Batch {
        unix_ns: BEGAN_NS + (n + 1) * MINUTE_NS,
        boot_offset_ns: 5,
        flows: vec![flow(n), flow(n + 1_000), flow(n + 2_000)]
            .into_iter()
            .map(|flow| Flow {
                first_unix_ns: BEGAN_NS + n * MINUTE_NS,
                last_unix_ns: BEGAN_NS + n * MINUTE_NS + 30,
                ..flow
            })
            .collect(),
        captures: vec![capture(n), Capture { frame: vec![n as u8], ..capture(n) }],
        losses: vec![loss(n)],
        events: vec![event(n), event(n)],
    }
}

/// A store of so many batches.
pub(crate) fn filled(directory: &std::path::Path, batches: u64) -> Writer {
    let mut writer = Writer::open(directory, ROOMY).unwrap().writer;
    for n in 0..batches {
        writer.append(&batch(n)).unwrap();
    }
    writer
}

/// A clock that is right, in a boot that began with Unix time.
pub(super) fn at(unix_ns: u64) -> Clock {
    Clock { boot_id: "this".into(), boot_ns: unix_ns, unix_ns }
}
