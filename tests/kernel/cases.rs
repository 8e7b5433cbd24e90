//! The kernel rung: the same table of cases through the loaded program by test run. Each case moves exactly its counter, by exactly one packet
//! and its bytes, and the XDP action is what verdict and mode say.

use std::collections::BTreeMap;

use node_ebpf_common::{
    Decision, Frame, Shape,
    counter::{Counter, Outcome},
    decide,
    frame::Wire,
    wire::ETHERNET_BYTES,
};
use nodewall_datapath::{Aggregate, Buffers, CaptureBudget, KernelEngine, Layer};
use nodewall_model::cases::{
    Case, Compile as _, Counted as _, OUTSIDER, OUTSIDER6, Policy, all,
    frames::{Ip4, Ip6, TCP, UDP, tagged, transport},
    ipv4::jumbo,
};
use nodewall_policy::Compiled;
use nodewall_testbed::skip_unless_privileged;

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
/// `TC_ACT_SHOT`, and `TCX_NEXT` or `TC_ACT_UNSPEC`.
const TC_DROP: u32 = 2;
const TC_NEXT: u32 = (-1_i32).cast_unsigned();
/// Longer frames are refused by some kernels' test runs at the tc hook, and those that are too short for the IP header that their type promises.
const TC_FRAME_BYTES_MAX: usize = 3_200;

/// One of the filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Xdp(Buffers),
    Tc(Layer),
}

impl Entry {
    fn engine(self, compiled: &Compiled, shape: Shape) -> KernelEngine {
        match self {
            Self::Xdp(buffers) => KernelEngine::new(&compiled.image, shape, Some(buffers)).unwrap(),
            Self::Tc(layer) => KernelEngine::at_tc(&compiled.image, shape, layer).unwrap(),
        }
    }

    fn answer(self, dropped: bool) -> u32 {
        match self {
            Self::Xdp(_) => {
                if dropped {
                    XDP_DROP
                } else {
                    XDP_PASS
                }
            }
            Self::Tc(_) => {
                if dropped {
                    TC_DROP
                } else {
                    TC_NEXT
                }
            }
        }
    }

    /// Whether every kernel runs it on such a frame, and can show by it what it does.
    fn takes(self, frame: &[u8], compiled: &Compiled) -> bool {
        // A test run's buffer has an Ethernet header in front of the packet, and is longer than the packet by as much: a length that lies by less is believed.
        let longer = [frame, &[0; ETHERNET_BYTES]].concat();
        let [cell, cell_of_longer] = [frame, &longer].map(|frame| decide(frame, &compiled.image).cell);
        match self {
            Self::Tc(Layer::Ip) if cell != cell_of_longer => false,
            Self::Xdp(_) => frame.len() >= ETHERNET_BYTES,
            Self::Tc(_) => {
                let header_bytes = match frame.get(12..14) {
                    Some([0x08, 0x00]) => 20,
                    Some([0x86, 0xdd]) => 40,
                    _ => 0,
                };
                (ETHERNET_BYTES + header_bytes..=TC_FRAME_BYTES_MAX).contains(&frame.len())
            }
        }
    }

    /// What it counts of a frame whose bytes, with an Ethernet header, are these.
    fn bytes(self, case: &Case, compiled: &Compiled) -> u64 {
        // Of what is no sound packet all of the buffer is counted, which in a test run has that header.
        let is_sound = decide(&IpPacket::of(&case.frame), &compiled.image).bytes < case.frame.len() as u32;
        if self == Self::Tc(Layer::Ip) && is_sound { case.bytes - ETHERNET_BYTES as u64 } else { case.bytes }
    }

    /// What the host says.
    fn decide(self, frame: &[u8], compiled: &Compiled) -> Decision {
        match self {
            Self::Tc(Layer::Ip) => decide(&IpPacket::of(frame), &compiled.image),
            _ => decide(frame, &compiled.image),
        }
    }
}

/// A frame without its Ethernet header, as a device hands it over that never had one.
struct IpPacket<'a> {
    protocol: u16,
    packet: &'a [u8],
}

impl<'a> IpPacket<'a> {
    fn of(frame: &'a [u8]) -> Self {
        Self { protocol: u16::from_le_bytes([frame[12], frame[13]]), packet: &frame[ETHERNET_BYTES..] }
    }
}

impl Frame for IpPacket<'_> {
    type Forgotten<'a>
        = IpPacket<'a>
    where
        Self: 'a;

    fn protocol(&self) -> Option<u16> {
        Some(self.protocol)
    }

    fn linear_bytes(&self) -> usize {
        self.packet.len() + ETHERNET_BYTES
    }

    fn holds(&self, end: usize) -> bool {
        self.packet.holds(end)
    }

    fn total_bytes(&self) -> usize {
        self.packet.len()
    }

    fn read<T: Wire>(&self, offset: usize) -> Option<T> {
        self.packet.read(offset)
    }

    fn start<T: Wire>(&self, _skipped: usize) -> Option<T> {
        None
    }

    fn forgotten(&self, _zero: u64) -> IpPacket<'_> {
        IpPacket { ..*self }
    }
}

/// Every cell that moved since `before`.
fn moved(before: &BTreeMap<u32, Counter>, after: &BTreeMap<u32, Counter>) -> BTreeMap<u32, Counter> {
    let zero = Counter::default();
    after
        .iter()
        .map(|(cell, now)| {
            let then = before.get(cell).unwrap_or(&zero);
            (*cell, Counter { packets: now.packets - then.packets, bytes: now.bytes - then.bytes })
        })
        .filter(|(_, delta)| *delta != zero)
        .collect()
}

fn counters(engine: &KernelEngine, compiled: &Compiled) -> BTreeMap<u32, Counter> {
    let cells = engine.maps().cells(compiled.rows.records()).unwrap();
    cells.iter().map(|c| (c.index().unwrap(), c.counter)).collect()
}

/// As on a real-time kernel.
const ATOMIC: Shape = Shape { atomic: true, ..Shape::PER_PEER };

/// All shapes for `cargo xtask soak`.
const EVERY_SHAPE: &str = "NODEWALL_EVERY_SHAPE";

/// None of the settings, all, and each alone: of any two, each way that they can stand is in one of these. What any of them decides is the same.
fn shapes() -> Vec<Shape> {
    let settings: Vec<&str> = Shape::NAMES.iter().copied().filter(|name| *name != "answer").collect();
    let of = |bits: usize| {
        let on = settings.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1);
        on.fold(Shape::PLAIN, |shape, (_, name)| shape.with(name))
    };
    let all = (1 << settings.len()) - 1;
    let chosen: Vec<usize> = if std::env::var_os(EVERY_SHAPE).is_some() {
        (0..=all).collect()
    } else {
        [0, all].into_iter().chain((0..settings.len()).map(|at| 1 << at)).collect()
    };
    chosen.into_iter().map(of).collect()
}

/// How many cases were run.
fn run(policy: Policy, entry: Entry, table: &[Case]) -> usize {
    let compiled = policy.compiled();
    let is_run = |case: &&Case| case.policy == policy && entry.takes(&case.frame, &compiled);
    let cases: Vec<&Case> = table.iter().filter(is_run).collect();
    // What differs at the tc hook is how a frame is read and how much it counts as, with nothing on and with everything.
    let few = matches!(entry, Entry::Tc(_)) && std::env::var_os(EVERY_SHAPE).is_none();
    for shape in shapes().into_iter().take(if few { 2 } else { usize::MAX }) {
        run_in(shape, &compiled, entry, &cases);
    }
    cases.len()
}

fn run_in(shape: Shape, compiled: &Compiled, entry: Entry, cases: &[&Case]) {
    let [mut filter, mut probe] = [shape, shape.with("answer")].map(|shape| entry.engine(compiled, shape));
    let mut before = counters(&filter, compiled);
    for case in cases {
        let action = filter.run(&case.frame).unwrap_or_else(|e| panic!("{}: {e}", case.name));
        let dropped = case.outcome() == Outcome::Drop;
        assert_eq!(action, entry.answer(dropped), "{shape}, {entry:?} {}: action", case.name);

        let after = counters(&filter, compiled);
        let delta = moved(&before, &after);
        let expected = case.cell(compiled);
        assert_eq!(
            delta.keys().collect::<Vec<_>>(),
            [&expected],
            "{shape}, {entry:?} {}: the counters that moved",
            case.name
        );
        assert_eq!(delta[&expected].packets, 1, "{entry:?} {}: packets", case.name);
        if case.bytes != 0 {
            assert_eq!(delta[&expected].bytes, entry.bytes(case, compiled), "{entry:?} {}: bytes", case.name);
        }
        before = after;

        let (kernel, host) = (probe.decide(&case.frame).unwrap(), entry.decide(&case.frame, compiled));
        assert_eq!(
            (kernel.cell, kernel.peer()),
            (host.cell, host.peer()),
            "{entry:?} {}: kernel and host disagree",
            case.name
        );
    }
}

#[test]
fn every_case_in_one_buffer() {
    if skip_unless_privileged("every_case_in_one_buffer") {
        return;
    }
    for policy in Policy::ALL {
        run(policy, Entry::Xdp(Buffers::Linear), &all());
    }
}

#[test]
fn every_case_and_jumbo_frames_in_many_buffers() {
    if skip_unless_privileged("every_case_and_jumbo_frames_in_many_buffers") {
        return;
    }
    for policy in Policy::ALL {
        run(policy, Entry::Xdp(Buffers::Frags), &all());
    }
    run(Policy::Enforce, Entry::Xdp(Buffers::Frags), &jumbo());
}

#[test]
fn every_case_at_the_tc_hook() {
    if skip_unless_privileged("every_case_at_the_tc_hook") {
        return;
    }
    for layer in [Layer::Ethernet, Layer::Ip] {
        let entry = Entry::Tc(layer);
        let run: usize = Policy::ALL.into_iter().map(|policy| run(policy, entry, &all())).sum();
        println!("{entry:?}: {run} of {} cases", all().len());
        assert!(run * 10 > all().len() * 9);
    }
}

/// What each frame of an aggregate carries but the last, and all of it.
const PIECE: usize = 500;
const PAYLOAD: usize = 3 * PIECE + 100;

/// An aggregate is as many frames as it was on the wire, and their bytes; also where the kernel does not say how many.
#[test]
fn an_aggregate_counts_as_the_frames_that_it_was() {
    if skip_unless_privileged("an_aggregate_counts_as_the_frames_that_it_was") {
        return;
    }
    let compiled = Policy::Enforce.compiled();
    for (layer, link_bytes) in [(Layer::Ethernet, ETHERNET_BYTES), (Layer::Ip, 0)] {
        for (what, frame, headers) in aggregates(PAYLOAD) {
            let headers = headers - ETHERNET_BYTES + link_bytes;
            // A test run's buffer has an Ethernet header in front of a bare packet, too: by its length alone there would be more frames.
            let told: &[u32] = if layer == Layer::Ip { &[4] } else { &[0, 4] };
            for &told in told {
                let mut engine = KernelEngine::at_tc(&compiled.image, Shape::EVIDENCE, layer).unwrap();
                let aggregate = Aggregate { frame: &frame, pieces: told, piece_bytes: PIECE as u32 };
                assert_eq!(engine.run_aggregate(aggregate).unwrap(), TC_DROP, "{what}");
                let counted: Vec<Counter> = counters(&engine, &compiled).into_values().collect();
                let expected = Counter { packets: 4, bytes: (4 * headers + PAYLOAD) as u64 };
                assert_eq!(counted, [expected], "{what}, {layer:?}, told {told}");
                let budget = CaptureBudget { snap_bytes: 64, per_second: 1 };
                let swept = engine.maps().evidence(budget).unwrap().sweep(1).unwrap();
                assert_eq!((swept.denied_packets, swept.denied_bytes), (expected.packets, expected.bytes), "{what}");
                assert_eq!(swept.flows.iter().map(|flow| flow.sums).collect::<Vec<_>>(), [expected], "{what}");
            }
        }
    }
}

/// Frames of an outsider to a cluster port, with so much payload, and the bytes of their headers.
fn aggregates(payload: usize) -> Vec<(&'static str, Vec<u8>, usize)> {
    let tcp = |words: usize| {
        let mut segment = transport(TCP, 9042);
        segment.resize(20, 0);
        segment[12] = (words as u8) << 4;
        segment.resize(words * 4 + payload, 0);
        segment
    };
    let mut datagram = transport(UDP, 9042);
    datagram.resize(8 + payload, 0);
    let options = Ip4 { header_words: 7, ..Ip4::new(OUTSIDER, TCP, tcp(8)) };
    vec![
        ("TCP", Ip4::new(OUTSIDER, TCP, tcp(5)).frame(), 14 + 20 + 20),
        ("TCP with timestamps", Ip4::new(OUTSIDER, TCP, tcp(8)).frame(), 14 + 20 + 32),
        ("IP options", options.frame(), 14 + 28 + 32),
        ("IPv6", Ip6::new(OUTSIDER6, TCP, tcp(8)).frame(), 14 + 40 + 32),
        ("a tag in the frame", tagged(&[0x8100], &Ip4::new(OUTSIDER, TCP, tcp(8)).frame()), 14 + 4 + 20 + 32),
        ("UDP", Ip4::new(OUTSIDER, UDP, datagram).frame(), 14 + 20 + 8),
    ]
}

/// A swap under the engine's feet: the very next frame is judged by the new policy, and counters carry on.
#[test]
fn a_swap_changes_the_verdict_of_the_next_frame() {
    if skip_unless_privileged("a_swap_changes_the_verdict_of_the_next_frame") {
        return;
    }
    let (enforce, audit) = (Policy::Enforce.compiled(), Policy::Audit.compiled());
    let case = all().into_iter().find(|c| c.name == "an outsider to a cluster port").unwrap();
    let mut engine = KernelEngine::new(&enforce.image, Shape::PLAIN, None).unwrap();
    for round in 0..4 {
        assert_eq!(engine.run(&case.frame).unwrap(), XDP_DROP, "round {round}");
        engine.swap(&audit.image).unwrap();
        assert_eq!(engine.run(&case.frame).unwrap(), XDP_PASS, "round {round}");
        engine.swap(&enforce.image).unwrap();
    }
    let total: u64 = counters(&engine, &enforce).values().map(|c| c.packets).sum();
    assert_eq!(total, 8);
}

/// The verifier's work is bounded and known: a change that multiplies it would be refused by older kernels first.
#[test]
fn the_verifier_has_headroom() {
    if skip_unless_privileged("the_verifier_has_headroom") {
        return;
    }
    let compiled = Policy::Enforce.compiled();
    let by_interface = Shape { interface_rules: true, ..Shape::PER_PEER };
    let entries =
        [Entry::Xdp(Buffers::Linear), Entry::Xdp(Buffers::Frags), Entry::Tc(Layer::Ethernet), Entry::Tc(Layer::Ip)];
    for shape in [Shape::PLAIN, Shape::EVIDENCE, Shape::PER_PEER, by_interface, Shape::ANSWERS, ATOMIC] {
        for entry in entries {
            let facts = entry.engine(&compiled, shape).facts().unwrap();
            println!("{shape}, {entry:?}: {facts:?}");
            let verified = facts.verified_instructions.expect("Linux 5.16 and later tell");
            assert!(
                verified <= 30_000,
                "{shape}, {entry:?}: {verified} instructions (the kernel's limit is 1,000,000)"
            );
        }
    }
}
