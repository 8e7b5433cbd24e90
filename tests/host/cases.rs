//! The host rung: the table of cases by `decide` in this process. No privilege, no kernel.

use std::collections::BTreeSet;

use node_ebpf_common::{
    Reason, decide,
    packet::{Packet, common, walk},
};
use nodewall_model::cases::{self, Compile as _, Counted as _, Policy, all, ipv4::jumbo};

#[test]
fn every_case_is_decided_rightly() {
    for policy in Policy::ALL {
        let compiled = policy.compiled();
        for case in all().into_iter().chain(jumbo()).filter(|c| c.policy == policy) {
            let decision = decide(case.frame.as_slice(), &compiled.image);
            assert_eq!(decision.reason(), Some(case.reason), "{}", case.name);
            assert_eq!(decision.verdict(), case.reason.verdict(), "{}", case.name);
            assert_eq!(decision.cell, case.cell(&compiled), "{}: counter cell", case.name);
            if case.bytes != 0 || case.frame.is_empty() {
                assert_eq!(u64::from(decision.bytes), case.bytes, "{}: bytes", case.name);
            }
        }
    }
}

#[test]
fn every_reason_has_a_case() {
    let covered: BTreeSet<u32> = all().iter().map(|c| c.reason.number()).collect();
    for reason in Reason::ALL {
        assert!(covered.contains(&reason.number()), "{reason:?} has no case");
    }
}

#[test]
fn names_of_cases_are_unique_so_that_a_failure_says_which() {
    let (mut names, table) = (BTreeSet::new(), all());
    let file = |c: &cases::Case| (c.name, c.frame.get(12..14).map(<[u8]>::to_vec));
    assert!(table.iter().all(|c| names.insert(file(c))), "a name stands twice");
}

fn shortest(frame: &[u8]) -> Packet {
    common(frame).unwrap_or_else(|| walk(frame, 0))
}

/// The shortcut for the commonest shapes says what the general walk says, for every frame of the table, cut anywhere and with any byte changed.
#[test]
fn the_shortcut_agrees_with_the_walk() {
    for case in all().iter().filter(|c| c.frame.len() < 400) {
        for length in 0..=case.frame.len() {
            let cut = &case.frame[..length];
            assert_eq!(shortest(cut), walk(cut, 0), "{} cut to {length} bytes", case.name);
        }
        for at in 12..case.frame.len().min(80) {
            for value in [0, 1, 4, 5, 6, 17, 41, 43, 44, 51, 59, 60, 0x45, 0x46, 0x60, 0x81, 0x88, 0xdd, 0xff] {
                let mut frame = case.frame.clone();
                frame[at] = value;
                assert_eq!(shortest(&frame), walk(frame.as_slice(), 0), "{} with byte {at} = {value:#x}", case.name);
            }
        }
    }
}

/// Blocks of others, by addresses and by prefixes longer and shorter than any other, change nothing: neither verdict nor reason, row, peer or bytes.
#[test]
fn a_block_changes_nothing_for_anybody_else() {
    for others in [
        &["192.0.2.9", "2001:db8:dead::9"][..],
        &["100.64.0.0/10", "233.252.0.0/24", "3fff::/20"],
        &["192.0.2.128/25", "100.64.3.0/30", "2001:db8:dead:9::/64", "240.0.0.0/7", "fc00::/8"],
    ] {
        let others: Vec<String> =
            others.iter().map(|net| if net.contains('/') { (*net).to_owned() } else { host_prefix(net) }).collect();
        let others: Vec<&str> = others.iter().map(String::as_str).collect();
        for policy in Policy::ALL {
            let (without, with) = (policy.compiled(), policy.compiled_with(&others));
            assert!(with.image.blocked > without.image.blocked);
            for case in all().iter().chain(&jumbo()) {
                let frame = case.frame.as_slice();
                let (before, after) = (decide(frame, &without.image), decide(frame, &with.image));
                assert_eq!(before, after, "{policy:?} and {others:?} blocked: {}", case.name);
            }
        }
    }
}

fn host_prefix(address: &str) -> String {
    format!("{address}/{}", if address.contains(':') { 128 } else { 32 })
}

/// Cut at any byte, a blocked source's frame does not pass as something else.
#[test]
fn truncation_never_lets_a_blocked_source_in() {
    for policy in [Policy::Blocks, Policy::AuditBlocks, Policy::Audited] {
        let compiled = policy.compiled();
        for case in all().iter().filter(|c| c.policy == policy && c.reason == Reason::BlockedSource) {
            for length in 0..case.frame.len() {
                let decision = decide(&case.frame[..length], &compiled.image);
                assert!(decision.is_denied(), "{} cut to {length} bytes: {:?}", case.name, decision.reason());
            }
        }
    }
}

/// Cut at any byte, a frame from an outsider to a cluster port is never passed as anything that could still reach the port.
#[test]
fn truncation_never_opens_a_cluster_port() {
    let compiled = Policy::Enforce.compiled();
    for case in all().iter().filter(|c| c.policy == Policy::Enforce && c.reason == Reason::Outsider) {
        for length in 0..case.frame.len() {
            let decision = decide(&case.frame[..length], &compiled.image);
            assert!(decision.is_denied(), "{} cut to {length} bytes: {:?}", case.name, decision.reason());
        }
    }
}
