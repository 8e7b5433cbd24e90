//! The kernel rung: the same table of cases through the loaded program by test run. Each case moves exactly its counter, by exactly one packet
//! and its bytes, and the XDP action is what verdict and mode say.

use std::collections::BTreeMap;

use node_ebpf_common::{
    Shape,
    counter::{Counter, Outcome},
    decide,
    wire::ETHERNET_BYTES,
};
use nodewall_datapath::{Buffers, KernelEngine};
use nodewall_model::cases::{Case, Compile as _, Counted as _, Policy, all, ipv4::jumbo};
use nodewall_testbed::skip_unless_privileged;

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;

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

fn counters(engine: &KernelEngine, compiled: &nodewall_policy::Compiled) -> BTreeMap<u32, Counter> {
    let cells = engine.maps().cells(compiled.rows.records()).unwrap();
    cells.iter().map(|c| (c.index().unwrap(), c.counter)).collect()
}

/// As on a real-time kernel.
const ATOMIC: Shape = Shape { atomic: true, ..Shape::PER_PEER };

/// None of the settings, each alone, and all: of any two, each way that they can stand is in one of these. What any of them decides is the same.
fn shapes() -> impl Iterator<Item = Shape> {
    let settings = || Shape::NAMES.iter().filter(|name| **name != "answer");
    let all = settings().fold(Shape::PLAIN, |shape, name| shape.with(name));
    [Shape::PLAIN, all].into_iter().chain(settings().map(|name| Shape::PLAIN.with(name)))
}

fn run(policy: Policy, buffers: Buffers, table: &[Case]) {
    for shape in shapes() {
        run_in(shape, policy, buffers, table);
    }
}

fn run_in(shape: Shape, policy: Policy, buffers: Buffers, table: &[Case]) {
    let compiled = policy.compiled();
    let mut filter = KernelEngine::new(&compiled.image, shape, Some(buffers)).unwrap();
    let mut probe = KernelEngine::new(&compiled.image, shape.with("answer"), Some(buffers)).unwrap();
    let mut before = counters(&filter, &compiled);
    for case in table.iter().filter(|c| c.policy == policy && c.frame.len() >= ETHERNET_BYTES) {
        let action = filter.run(&case.frame).unwrap_or_else(|e| panic!("{}: {e}", case.name));
        let dropped = case.outcome() == Outcome::Drop;
        assert_eq!(action, if dropped { XDP_DROP } else { XDP_PASS }, "{shape}, {buffers:?} {}: action", case.name);

        let after = counters(&filter, &compiled);
        let delta = moved(&before, &after);
        let expected = case.cell(&compiled);
        assert_eq!(
            delta.keys().collect::<Vec<_>>(),
            [&expected],
            "{shape}, {buffers:?} {}: the counters that moved",
            case.name
        );
        assert_eq!(delta[&expected].packets, 1, "{buffers:?} {}: packets", case.name);
        if case.bytes != 0 {
            assert_eq!(delta[&expected].bytes, case.bytes, "{buffers:?} {}: bytes", case.name);
        }
        before = after;

        let (kernel, host) = (probe.decide(&case.frame).unwrap(), decide(case.frame.as_slice(), &compiled.image));
        assert_eq!(
            (kernel.cell, kernel.peer()),
            (host.cell, host.peer()),
            "{buffers:?} {}: kernel and host disagree",
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
        run(policy, Buffers::Linear, &all());
    }
}

#[test]
fn every_case_and_jumbo_frames_in_many_buffers() {
    if skip_unless_privileged("every_case_and_jumbo_frames_in_many_buffers") {
        return;
    }
    for policy in Policy::ALL {
        run(policy, Buffers::Frags, &all());
    }
    run(Policy::Enforce, Buffers::Frags, &jumbo());
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
    for shape in [Shape::PLAIN, Shape::EVIDENCE, Shape::PER_PEER, by_interface, Shape::ANSWERS, ATOMIC] {
        for buffers in [Buffers::Linear, Buffers::Frags] {
            let facts = KernelEngine::new(&compiled.image, shape, Some(buffers)).unwrap().facts().unwrap();
            println!("{shape}, {buffers:?}: {facts:?}");
            let verified = facts.verified_instructions.expect("Linux 5.16 and later tell");
            assert!(
                verified <= 30_000,
                "{shape}, {buffers:?}: {verified} instructions (the kernel's limit is 1,000,000)"
            );
        }
    }
}
