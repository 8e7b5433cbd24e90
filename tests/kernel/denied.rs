//! What the kernel notes of denied frames, by test runs: every denied case is in the flow that it is of, nothing that passes is; whatever the flood, what
//! is in flows and what is not add up to what was denied, also while the tables are swept; a single packet is not hidden by a noisy source.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
};

use node_ebpf_common::{
    Shape, Verdict,
    counter::Outcome,
    decide,
    flow::{BANK_ENTRIES, FlowEntry},
    packet::walk,
};
use nodewall_datapath::{CaptureBudget, Evidence, KernelEngine, Sweep};
use nodewall_model::cases::{
    self, Case, Compile as _, Counted as _, OUTSIDER, Policy, all,
    frames::{Ip4, Ip6, TCP, UDP, transport},
};
use nodewall_testbed::skip_unless_privileged;
use rustix::thread::{CpuSet, sched_setaffinity};

const SECOND_NS: u64 = 1_000_000_000;
const BUDGET: CaptureBudget = CaptureBudget { snap_bytes: 256, per_second: 200 };
const NO_CAPTURES: CaptureBudget = CaptureBudget { snap_bytes: 0, per_second: 0 };

/// As on a real-time kernel.
const ATOMIC: Shape = Shape { atomic: true, ..Shape::EVIDENCE };

fn engine(policy: Policy) -> KernelEngine {
    KernelEngine::new(&policy.compiled().image, Shape::EVIDENCE, None).unwrap()
}

fn evidence(engine: &KernelEngine, budget: CaptureBudget) -> Evidence {
    let mut evidence = engine.maps().evidence(budget).unwrap();
    // The first grant.
    evidence.sweep(SECOND_NS).unwrap();
    evidence
}

/// To port 9042, from whatever address.
fn knock(source: [u8; 4]) -> Vec<u8> {
    let mut frame = Ip4::new(OUTSIDER, TCP, transport(TCP, 9042)).frame();
    frame[26..30].copy_from_slice(&source);
    frame
}

fn add(total: &mut Sweep, sweep: Sweep) {
    total.denied_packets += sweep.denied_packets;
    total.denied_bytes += sweep.denied_bytes;
    total.not_attributed_packets += sweep.not_attributed_packets;
    total.not_attributed_bytes += sweep.not_attributed_bytes;
    total.offered += sweep.offered;
    total.written += sweep.written;
    total.over_budget += sweep.over_budget;
    total.unread += sweep.unread;
    total.flows.extend(sweep.flows);
    total.captures.extend(sweep.captures);
}

/// What the counters say was denied: packets and bytes.
fn counted(engine: &KernelEngine) -> (u64, u64) {
    let rows = Policy::Enforce.compiled().rows;
    let cells = engine.maps().cells(rows.records()).unwrap();
    let denied = cells.iter().filter(|cell| cell.reason.verdict() == Verdict::Drop);
    denied.fold((0, 0), |(packets, bytes), cell| (packets + cell.counter.packets, bytes + cell.counter.bytes))
}

fn assert_adds_up(total: &Sweep, engine: &KernelEngine) {
    let sum = |of: fn(&FlowEntry) -> u64| total.flows.iter().map(of).sum::<u64>();
    assert_eq!((total.denied_packets, total.denied_bytes), counted(engine), "noted (left) is not what was counted");
    assert_eq!(total.denied_packets, sum(|flow| flow.sums.packets) + total.not_attributed_packets);
    assert_eq!(total.denied_bytes, sum(|flow| flow.sums.bytes) + total.not_attributed_bytes);
    assert_eq!(total.offered, total.written + total.over_budget + total.unread);
    assert_eq!(total.written, total.captures.len() as u64, "written (left) is not what arrived");
}

#[test]
fn every_denied_case_is_in_its_flow_and_nothing_else_is() {
    if skip_unless_privileged("every_denied_case_is_in_its_flow_and_nothing_else_is") {
        return;
    }
    for shape in [Shape::EVIDENCE, ATOMIC] {
        every_denied_case(shape);
    }
}

fn every_denied_case(shape: Shape) {
    // Some kernels' test runs refuse shorter frames, and longer ones than a page.
    let cases = all();
    let usable = |case: &&Case| (14..3_000).contains(&case.frame.len());
    let mut engines: BTreeMap<String, (KernelEngine, Evidence)> = BTreeMap::new();
    let mut denied = 0;
    for case in cases.iter().filter(usable) {
        let (engine, evidence) = engines.entry(format!("{:?}", case.policy)).or_insert_with(|| {
            let engine = KernelEngine::new(&case.policy.compiled().image, shape, None).unwrap();
            let evidence = evidence(&engine, BUDGET);
            (engine, evidence)
        });
        let image = case.policy.compiled().image;
        let decision = decide(case.frame.as_slice(), &image);
        engine.run(&case.frame).unwrap();
        let sweep = evidence.sweep(SECOND_NS).unwrap();
        if case.reason.verdict() == Verdict::Pass {
            assert_eq!(sweep, Sweep::default(), "{}", case.name);
            continue;
        }
        denied += 1;
        assert_eq!((sweep.flows.len(), sweep.captures.len()), (1, 1), "{}: {sweep:?}", case.name);
        let (flow, capture) = (sweep.flows[0], &sweep.captures[0]);
        assert_eq!(flow.key.reason(), Some(case.reason), "{}", case.name);
        assert_eq!(flow.key.cell(), case.cell(&case.policy.compiled()), "{}", case.name);
        assert_eq!((flow.sums.packets, flow.sums.bytes), (1, u64::from(decision.bytes)), "{}", case.name);
        let packet = walk(case.frame.as_slice(), 0);
        let source = (u128::from(packet.source.hi) | u128::from(packet.source.lo) << 64).to_le_bytes();
        let v4 = u128::from(packet.source.lo).to_le_bytes();
        assert_eq!(flow.key.is_v6(), packet.source.is_v6 == 1, "{}", case.name);
        assert_eq!(flow.key.source_be(), if flow.key.is_v6() { source } else { v4 }, "{}", case.name);
        assert_eq!(flow.key.port(), (packet.port_wire as u16).swap_bytes(), "{}", case.name);
        let rows = case.policy.compiled().rows;
        let record = rows.records().get(flow.key.row() as usize);
        let kind = flow.key.kind(record.map(|record| record.protocol));
        assert_eq!(kind, Some(packet.kind), "{}", case.name);
        assert_eq!(flow.key.dropped(), case.outcome() == Outcome::Drop, "{}", case.name);
        let first = flow.first;
        assert_eq!(u64::from(first.generation()), image.generation, "{}", case.name);
        assert_eq!(first.interface(), 1, "a test run comes by the loopback device");
        assert_eq!(first.mac(), case.frame[6..12], "{}", case.name);
        assert_eq!(first.frame_bytes() as usize, case.frame.len(), "{}", case.name);
        let destination = (packet.destination.hi, packet.destination.lo);
        assert_eq!((first.destination_hi, first.destination_lo), destination, "{}", case.name);
        assert_eq!(first.source_port(), (packet.source_port_wire as u16).swap_bytes(), "{}", case.name);
        assert_eq!(capture.entry.key, flow.key, "{}", case.name);
        assert_eq!(capture.frame, case.frame[..case.frame.len().min(256)], "{}", case.name);
    }
    assert!(denied > 100, "{denied} cases");
}

#[test]
fn a_capture_says_when_and_is_as_long_as_asked() {
    if skip_unless_privileged("a_capture_says_when_and_is_as_long_as_asked") {
        return;
    }
    let mut engine = engine(Policy::Enforce);
    let mut evidence = evidence(&engine, BUDGET);
    let frame = Ip6::new(cases::OUTSIDER6, UDP, [transport(UDP, 9042), vec![0x5a; 1_400]].concat()).frame();
    for snap_bytes in [60_u32, 256, 1_000, 1_500] {
        evidence.configure(CaptureBudget { snap_bytes, per_second: 10 });
        evidence.sweep(SECOND_NS).unwrap();
        let boot_ns = || {
            let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
            now.tv_sec.cast_unsigned() * SECOND_NS + now.tv_nsec.cast_unsigned()
        };
        let before = boot_ns();
        engine.run(&frame).unwrap();
        let after = boot_ns();
        let sweep = evidence.sweep(SECOND_NS).unwrap();
        let capture = &sweep.captures[0];
        assert!(
            (before..=after).contains(&capture.entry.first.boot_ns),
            "{before} {} {after}",
            capture.entry.first.boot_ns
        );
        assert_eq!(capture.frame, frame[..frame.len().min(snap_bytes as usize)]);
        assert_eq!(capture.entry.first.frame_bytes() as usize, frame.len());
        assert_eq!(sweep.flows[0].first.boot_ns, capture.entry.first.boot_ns);
    }
}

/// A million addresses that nobody has: more than any table. All of it adds up, and the program goes on.
#[test]
fn a_spoofed_flood_adds_up() {
    if skip_unless_privileged("a_spoofed_flood_adds_up") {
        return;
    }
    for shape in [Shape::EVIDENCE, ATOMIC] {
        a_spoofed_flood(shape);
    }
}

fn a_spoofed_flood(shape: Shape) {
    let mut engine = KernelEngine::new(&Policy::Enforce.compiled().image, shape, None).unwrap();
    let mut evidence = evidence(&engine, BUDGET);
    let mut total = Sweep::default();
    for round in 0..8_u32 {
        for n in 0..20_000_u32 {
            let [_, a, b, c] = (round * 20_000 + n).wrapping_mul(0x9e37_79b1).to_be_bytes();
            engine.run(&knock([198, a, b, c])).unwrap();
        }
        let sweep = evidence.sweep(SECOND_NS).unwrap();
        assert!(sweep.flows.len() > BANK_ENTRIES / 2, "{} flows", sweep.flows.len());
        assert!(sweep.not_attributed_packets > 0 && sweep.over_budget > 0);
        add(&mut total, sweep);
    }
    assert_adds_up(&total, &engine);
    assert!(total.written >= 8 * 200, "{} captures", total.written);
    let different: std::collections::BTreeSet<_> = total.flows.iter().map(|flow| flow.key.source_be()).collect();
    assert!(different.len() > BANK_ENTRIES, "the hash does not spread");
}

/// Swept at full speed by one thread while another has frames judged on each CPU: nothing is lost, nothing is there twice.
#[test]
fn sweeps_lose_nothing_under_a_flood() {
    if skip_unless_privileged("sweeps_lose_nothing_under_a_flood") {
        return;
    }
    let mut engine = engine(Policy::Enforce);
    let mut evidence = evidence(&engine, BUDGET);
    let done = AtomicBool::new(false);
    let mut total = Sweep::default();
    let mut sweeps = 0;
    thread::scope(|scope| {
        let done = &done;
        let flood = scope.spawn(|| {
            let cpus = thread::available_parallelism().unwrap().get();
            for n in 0..60_000_u32 {
                if n % 1_000 == 0 {
                    let mut set = CpuSet::new();
                    set.set((n / 1_000) as usize % cpus);
                    sched_setaffinity(None, &set).unwrap();
                }
                let [_, _, b, c] = (n % 700).to_be_bytes();
                engine.run(&knock([198, 18, b, c])).unwrap();
            }
            done.store(true, Relaxed);
            engine
        });
        while !done.load(Relaxed) {
            add(&mut total, evidence.sweep(SECOND_NS / 100).unwrap());
            sweeps += 1;
        }
        let engine = flood.join().unwrap();
        add(&mut total, evidence.sweep(SECOND_NS).unwrap());
        assert_adds_up(&total, &engine);
        assert_eq!(total.denied_packets, 60_000);
    });
    assert!(sweeps > 10, "only {sweeps} sweeps");
}

/// One source knocks on all it can, at full rate; of another there is one packet in each sweep.
#[test]
fn a_noisy_source_hides_nobody() {
    if skip_unless_privileged("a_noisy_source_hides_nobody") {
        return;
    }
    let mut engine = engine(Policy::Enforce);
    let mut evidence = evidence(&engine, BUDGET);
    let ports = [9042_u16, 7000, 7001, 7199, 9200, 9300, 5701, 8018, 8019, 8021, 9998, 9999];
    let noise: Vec<Vec<u8>> = [TCP, UDP]
        .into_iter()
        .flat_map(|protocol| ports.map(|port| Ip4::new(OUTSIDER, protocol, transport(protocol, port)).frame()))
        .collect();
    let mut found = 0;
    for n in 0..100_u8 {
        for flood in 0..1_000 {
            engine.run(&noise[flood % noise.len()]).unwrap();
            if flood == 500 + usize::from(n) {
                engine.run(&knock([192, 0, 2, n])).unwrap();
            }
        }
        let sweep = evidence.sweep(SECOND_NS).unwrap();
        let quiet = [192, 0, 2, n];
        let flow = sweep.flows.iter().any(|flow| flow.key.source_be().starts_with(&quiet) && flow.sums.packets == 1);
        let capture = sweep.captures.iter().any(|capture| capture.entry.key.source_be().starts_with(&quiet));
        found += u32::from(flow && capture);
    }
    assert!(found >= 99, "{found} of 100");
}

#[test]
fn captures_keep_to_the_budget() {
    if skip_unless_privileged("captures_keep_to_the_budget") {
        return;
    }
    let mut engine = engine(Policy::Audit);
    let mut evidence = evidence(&engine, CaptureBudget { snap_bytes: 64, per_second: 10 });
    let mut total = Sweep::default();
    for second in 0..5_u8 {
        for n in 0..100_u8 {
            engine.run(&knock([198, 51, second, n])).unwrap();
        }
        let sweep = evidence.sweep(SECOND_NS).unwrap();
        // A second's worth; on the second CPU that a sweep sees it may be granted twice, and is taken from the next.
        assert!(sweep.written <= 20, "{sweep:?}");
        add(&mut total, sweep);
    }
    assert_adds_up(&total, &engine);
    assert!((40..=70).contains(&total.written), "{}", total.written);
    assert!(total.flows.iter().all(|flow| !flow.key.dropped()), "audited");
    drop(evidence);
    // Nobody reads: nothing is granted, and what was denied is noted all the same.
    engine.run(&knock([198, 51, 100, 1])).unwrap();
    let sweep = engine.maps().evidence(NO_CAPTURES).unwrap().sweep(SECOND_NS).unwrap();
    assert_eq!((sweep.flows.len(), sweep.offered, sweep.over_budget, sweep.written), (1, 1, 1, 0));
}

#[test]
fn where_it_is_not_wanted_nothing_is_noted() {
    if skip_unless_privileged("where_it_is_not_wanted_nothing_is_noted") {
        return;
    }
    let mut engine = KernelEngine::new(&Policy::Enforce.compiled().image, Shape::PLAIN, None).unwrap();
    let mut evidence = evidence(&engine, BUDGET);
    engine.run(&knock([198, 51, 100, 1])).unwrap();
    assert_eq!(evidence.sweep(SECOND_NS).unwrap(), Sweep::default());
    assert_eq!(counted(&engine).0, 1, "it was denied");
}
