//! What the kernel made of the program: **no helper call and no subprogram call on the path of an accounted packet**. A function's return alone
//! costs as much as the whole decision does. Below Linux 6.10 asking which CPU this is, which a counter's place needs, is a call; from there on it is
//! inlined, and a call that is left is ours.
//!
//! The translated instructions are read back from the kernel. The program for single buffers must have no call at all. That for many buffers has
//! some, for what the first buffer does not hold; every frame of the table of cases, and the commonest frames by name, are walked through it
//! instruction by instruction, and must not meet one.

mod machine;
mod table;

use std::collections::{BTreeMap, BTreeSet};

use machine::{Memory, Path, walk};
use node_ebpf_common::{Shape, counter::Outcome, decide, maps::name, wire::ETHERNET_BYTES};
use nodewall_datapath::{Buffers, EgressEngine, KernelEngine};
use nodewall_model::cases::{Compile as _, OUTSIDER, OUTSIDER6, PEER, PEER6, Policy, all, frames};
use nodewall_policy::Compiled;
use nodewall_testbed::{
    program::{Instruction, Program},
    skip_unless_privileged,
};

/// The first kernel that inlines `bpf_get_smp_processor_id`.
const INLINES_CPU: (u32, u32) = (6, 10);
const XDP_DROP: u64 = 1;
const XDP_PASS: u64 = 2;

/// Whether this machine can not show it, which is said.
fn skip(test: &str) -> bool {
    if skip_unless_privileged(test) {
        return true;
    }
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.trim().split(['.', '-', '+']).map_while(|part| part.parse().ok());
    let version: (u32, u32) = (numbers.next().unwrap(), numbers.next().unwrap());
    if version < INLINES_CPU {
        println!("SKIPPED {test}: Linux {version:?} calls a helper to ask for the CPU, {INLINES_CPU:?} inlines it");
        return true;
    }
    false
}

/// The loaded filter and what its instructions refer to.
struct Loaded {
    engine: KernelEngine,
    instructions: Vec<Instruction>,
    counter_map: u32,
    values: BTreeMap<u32, Vec<u8>>,
}

impl Loaded {
    fn new(compiled: &Compiled, shape: Shape, buffers: Buffers) -> Self {
        let engine = KernelEngine::new(&compiled.image, shape, Some(buffers)).unwrap();
        let mut loaded = Self { engine, instructions: Vec::new(), counter_map: 0, values: BTreeMap::new() };
        let program = loaded.program();
        loaded.instructions = program.instructions().unwrap();
        loaded.read();
        assert!(loaded.counter_map != 0, "the program's maps are not the ones of the list");
        loaded
    }

    fn program(&mut self) -> Program {
        Program::by_id(self.engine.facts().unwrap().id).unwrap()
    }

    /// Reads what is in the maps now.
    fn read(&mut self) {
        for map in self.program().maps().unwrap() {
            if map.name == name::COUNTERS {
                self.counter_map = map.id;
            }
            self.values.extend(map.first_value().unwrap().map(|value| (map.id, value)));
        }
    }

    fn calls(&self) -> Vec<usize> {
        let calls = self.instructions.iter().enumerate().filter(|(_, instruction)| instruction.is_call());
        calls.map(|(at, _)| at).collect()
    }

    /// CPU time of a run, in a row of many.
    fn ns(&mut self, frame: &[u8]) -> u64 {
        let program = self.program();
        let times = (0..9).map(|_| program.run(frame, 100_000).unwrap().cpu_ns / 100_000);
        times.min().unwrap()
    }

    /// Walks the frame; the walk itself is checked: it must end as `decide` says.
    fn path(&self, compiled: &Compiled, frame: &[u8], what: &str) -> Path {
        let memory = Memory { counter_map: self.counter_map, values: &self.values };
        let path = walk(&self.instructions, &memory, frame);
        if path.calls.is_empty() {
            let decision = decide(frame, &compiled.image);
            let dropped = decision.outcome() == Some(Outcome::Drop);
            assert_eq!(path.action, Some(if dropped { XDP_DROP } else { XDP_PASS }), "{what}: action");
            assert_eq!(path.cells, [decision.cell], "{what}: the cell that is counted on");
            assert_eq!(path.counted, [1, u64::from(decision.bytes)], "{what}: what is counted");
        }
        path
    }
}

#[test]
fn the_filter_for_single_buffers_calls_nothing() {
    if skip("the_filter_for_single_buffers_calls_nothing") {
        return;
    }
    // Evidence has two: the clock and the hand-over of a frame that is captured, behind a budget, wherever a decision is settled.
    for (shape, captures) in [(Shape::PLAIN, 0), (Shape::EVIDENCE, 2), (Shape::PER_PEER, 2)] {
        let loaded = Loaded::new(&Policy::Enforce.compiled(), shape, Buffers::Linear);
        let calls: Vec<Instruction> = loaded.calls().into_iter().map(|at| loaded.instructions[at]).collect();
        let helpers: BTreeSet<i32> = calls.iter().map(|call| call.immediate).collect();
        assert_eq!(helpers.len(), captures, "{shape}: calls left in the translated program: {calls:?}");
        assert!(calls.iter().all(|call| call.source == 0), "{shape}: a call of a function: {calls:?}");
    }
}

/// What is not asked for is not in the program: each setting brings instructions that are not there without it.
#[test]
fn a_setting_that_is_off_leaves_nothing_behind() {
    if skip("a_setting_that_is_off_leaves_nothing_behind") {
        return;
    }
    let compiled = Policy::Enforce.compiled();
    let long = |shape| Loaded::new(&compiled, shape, Buffers::Linear).instructions.len();
    let plain = long(Shape::PLAIN);
    for name in Shape::NAMES.iter().filter(|name| **name != "answer") {
        let with = long(Shape::PLAIN.with(name));
        println!("{name}: {with} instructions, {plain} without");
        // Additions in one step are other instructions, and fewer; with a log there are no shortcuts.
        let is_there = if ["atomic", "log"].contains(name) { with != plain } else { with > plain };
        assert!(is_there, "{name}: {with} instructions, {plain} without");
    }
}

/// Frames of one buffer, whatever is in them: the program for many buffers calls only where a length says that there is more.
#[test]
fn no_accounted_packet_meets_a_call() {
    if skip("no_accounted_packet_meets_a_call") {
        return;
    }
    for policy in Policy::ALL {
        let compiled = policy.compiled();
        let loaded = Loaded::new(&compiled, Shape::PLAIN, Buffers::Frags);
        let (mut walked, mut met) = (0, Vec::new());
        for case in all().iter().filter(|c| c.policy == policy && c.frame.len() >= ETHERNET_BYTES) {
            let path = loaded.path(&compiled, &case.frame, case.name);
            walked += 1;
            if path.calls.is_empty() {
                continue;
            }
            met.push(case.name);
            assert!(
                !case.reason.has_row(),
                "{}: a packet that is counted on a port meets a call at {:?}",
                case.name,
                path.calls
            );
        }
        println!("{policy:?}: {walked} frames walked; a call is met only by {met:?}");
        assert!(walked > 0 && met.len() < walked);
    }
}

#[test]
fn the_commonest_packets_take_the_short_way() {
    if skip("the_commonest_packets_take_the_short_way") {
        return;
    }
    let compiled = Policy::Enforce.compiled();
    for buffers in [Buffers::Linear, Buffers::Frags] {
        let loaded = Loaded::new(&compiled, Shape::PLAIN, buffers);
        println!("{buffers:?}: {} instructions, {} of them calls", loaded.instructions.len(), loaded.calls().len());
        for port in [9042, 443, 33_333] {
            for protocol in [frames::TCP, frames::UDP] {
                let v4 = |source| {
                    frames::ethernet(
                        frames::IPV4,
                        &frames::Ip4::new(source, protocol, frames::transport(protocol, port)).packet(),
                    )
                };
                let v6 = |source| {
                    frames::ethernet(
                        frames::IPV6,
                        &frames::Ip6::new(source, protocol, frames::transport(protocol, port)).packet(),
                    )
                };
                let (tagged4, tagged6) =
                    (frames::tagged(&[0x8100], &v4(OUTSIDER)), frames::tagged(&[0x8100], &v6(OUTSIDER6)));
                for (what, frame) in [
                    ("IPv4 peer", v4(PEER)),
                    ("IPv4 outsider", v4(OUTSIDER)),
                    ("IPv6 peer", v6(PEER6)),
                    ("IPv6 outsider", v6(OUTSIDER6)),
                    ("VLAN IPv4 outsider", tagged4),
                    ("VLAN IPv6 outsider", tagged6),
                ] {
                    let what = format!("{what}, protocol {protocol}, port {port}");
                    let short = loaded.path(&compiled, &frame, &what);
                    // Two more tags are no common shape: the same packet by the general walk.
                    let long = loaded.path(&compiled, &frames::tagged(&[0x88a8, 0x8100], &frame), &what);
                    let (instructions, general) = (short.steps.len(), long.steps.len());
                    println!("  {what}: {instructions} instructions (by the general walk {general})");
                    assert!(short.calls.is_empty(), "{buffers:?}, {what}: a call at {:?}", short.calls);
                    assert!(
                        instructions < general,
                        "{buffers:?}, {what}: {instructions} instructions, {general} in general"
                    );
                }
            }
        }
    }
}

/// Where programs come between one another, each sum is one instruction instead of three that another could come into.
#[test]
fn what_is_counted_in_one_step_takes_no_more_instructions() {
    if skip("what_is_counted_in_one_step_takes_no_more_instructions") {
        return;
    }
    let compiled = Policy::Enforce.compiled();
    let atomic = Shape { atomic: true, ..Shape::PLAIN };
    for buffers in [Buffers::Linear, Buffers::Frags] {
        let [mut plain, mut atomic] = [Shape::PLAIN, atomic].map(|shape| Loaded::new(&compiled, shape, buffers));
        for (what, source) in [("a peer", PEER), ("an outsider", OUTSIDER)] {
            let packet = frames::Ip4::new(source, frames::TCP, frames::transport(frames::TCP, 9042)).packet();
            let frame = frames::ethernet(frames::IPV4, &packet);
            // For people: the additions are dearer than what they replace.
            let ns = [&mut plain, &mut atomic].map(|loaded| loaded.ns(&frame));
            let [plain, atomic] = [&plain, &atomic].map(|loaded| loaded.path(&compiled, &frame, what).steps.len());
            println!("{buffers:?}, {what}: {plain} instructions, {atomic} where each addition is one; {ns:?} ns");
            assert!(atomic <= plain, "{buffers:?}, {what}: {atomic} and {plain}");
        }
    }
}

/// The outbound program has one helper to call, the one that fetches what the first part of a buffer lacks: what it counts on is found inline.
#[test]
fn what_counts_outbound_frames_calls_for_missing_bytes_only() {
    if skip("what_counts_outbound_frames_calls_for_missing_bytes_only") {
        return;
    }
    let mut engine = EgressEngine::new(&Policy::Enforce.compiled().image).unwrap();
    let program = Program::by_id(engine.facts().unwrap().id).unwrap();
    let instructions = program.instructions().unwrap();
    let calls: Vec<&Instruction> = instructions.iter().filter(|instruction| instruction.is_call()).collect();
    let helpers: BTreeSet<i32> = calls.iter().map(|call| call.immediate).collect();
    assert_eq!(helpers.len(), 1, "one helper: {calls:?}");
    let symbols = std::fs::read_to_string("/proc/kallsyms").unwrap();
    let address = |name: &str| {
        let line = symbols.lines().find(|line| line.split_whitespace().nth(2) == Some(name))?;
        u64::from_str_radix(line.split_whitespace().next()?, 16).ok().filter(|address| *address != 0)
    };
    // A call's number is the helper's distance from this symbol.
    let (Some(base), Some(helper)) = (address("__bpf_call_base"), address("bpf_skb_load_bytes")) else {
        println!("this kernel hides its symbols: which helper it is stays unproven");
        return;
    };
    assert_eq!(helpers.into_iter().map(i64::from).collect::<Vec<_>>(), [helper.wrapping_sub(base).cast_signed()]);
}

/// The walk does see calls: the filter that logs makes some for every frame.
#[test]
fn a_call_on_the_path_is_seen() {
    if skip("a_call_on_the_path_is_seen") {
        return;
    }
    let compiled = Policy::Enforce.compiled();
    for buffers in [Buffers::Linear, Buffers::Frags] {
        let loaded = Loaded::new(&compiled, Shape::LOGGED, buffers);
        let payload = frames::transport(frames::TCP, 9042);
        let frame = frames::ethernet(frames::IPV4, &frames::Ip4::new(OUTSIDER, frames::TCP, payload).packet());
        let path = loaded.path(&compiled, &frame, "an outsider, logged");
        assert_eq!(path.calls.len(), 1, "the walk ends at its first call");
        assert_eq!(path.action, None);
    }
}
