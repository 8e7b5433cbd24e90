//! The host rung: the table of cases by `decide` in this process. No privilege, no kernel.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs, unreachable_pub)]

mod cases;

use std::collections::BTreeSet;

use cases::{Policy, all, ipv4::jumbo};
use node_ebpf_common::{Reason, decide};

#[test]
fn every_case_is_decided_rightly() {
    for policy in Policy::ALL {
        let compiled = policy.compiled();
        for case in all().into_iter().chain(jumbo()).filter(|c| c.policy == policy) {
            let decision = decide(case.frame.as_slice(), &compiled.image);
            assert_eq!(decision.reason(), Some(case.reason), "{}", case.name);
            assert_eq!(decision.verdict(), case.reason.verdict(), "{}", case.name);
            assert_eq!(decision.cell(&compiled.image), case.cell(&compiled), "{}: counter cell", case.name);
            if case.bytes != 0 || case.frame.is_empty() {
                assert_eq!(u64::from(decision.bytes), case.bytes, "{}: bytes", case.name);
            }
        }
    }
}

#[test]
fn every_reason_but_the_operators_block_has_a_case() {
    let covered: BTreeSet<u32> = all().iter().map(|c| c.reason.number()).collect();
    for reason in Reason::ALL.iter().filter(|r| **r != Reason::BlockedSource) {
        assert!(covered.contains(&reason.number()), "{reason:?} has no case");
    }
}

#[test]
fn names_of_cases_are_unique_so_that_a_failure_says_which() {
    let (mut names, table) = (BTreeSet::new(), all());
    let file = |c: &cases::Case| (c.name, c.frame.get(12..14).map(<[u8]>::to_vec));
    assert!(table.iter().all(|c| names.insert(file(c))), "a name stands twice");
}

/// Cut at any byte, a frame from an outsider to a cluster port is never passed as anything that could still reach the port.
#[test]
fn truncation_never_opens_a_cluster_port() {
    let compiled = Policy::Enforce.compiled();
    for case in all().iter().filter(|c| c.policy == Policy::Enforce && c.reason == Reason::Outsider) {
        for length in 0..case.frame.len() {
            let decision = decide(&case.frame[..length], &compiled.image);
            assert!(decision.drop_bit() == 1, "{} cut to {length} bytes: {:?}", case.name, decision.reason());
        }
    }
}
