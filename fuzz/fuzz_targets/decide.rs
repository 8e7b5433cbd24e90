//! Any bytes as a frame, under every policy of a fixed set. What must hold stands at each assertion; a panic anywhere is a finding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use node_ebpf_common::counter::{Outcome, ROW_FIRST, meaning};
use node_ebpf_common::packet::{common, walk};
use node_ebpf_common::{Decision, Reason, Verdict, decide};
use nodewall_fuzz::{
    model::answer::Answer,
    policies::{Judge, judges},
};
use nodewall_policy::{Compiled, class_name};

fuzz_target!(
    init: {
        judges();
    },
    |frame: &[u8]| {
        if let Some(packet) = common(frame) {
            assert_eq!(packet, walk(frame, 0), "the shortcut says something else than the walk");
        }
        for judge in judges() {
            let decision = decide(frame, &judge.compiled.image);
            is_sound(frame, judge, &decision);
            is_right(judge, &decision, &judge.right_answer(frame));
        }
        // The relations do not depend on the policy: those that have every kind of row are enough.
        for name in ["rules", "current with blocks"] {
            let Some(judge) = judges().iter().find(|judge| judge.name == name) else { unreachable!("it is in the set") };
            a_tag_changes_nothing(frame, judge);
            padding_changes_nothing(frame, judge);
        }
    }
);

/// The decision is one that can be counted and shown.
fn is_sound(frame: &[u8], judge: &Judge, decision: &Decision) {
    let Compiled { image, rows, .. } = &judge.compiled;
    let reason = decision.reason().expect("a reason that this build knows");
    assert!(decision.bytes as usize <= frame.len(), "{decision:?} counts more than {} bytes", frame.len());
    let cell = decision.cell;
    let outcome = decision.outcome().expect("an outcome of every reason");
    assert_eq!(meaning(cell), Some((decision.row(), reason, outcome)), "{decision:?} moves cell {cell}");
    assert_eq!(decision.dropped(), u32::from(outcome == Outcome::Drop), "{decision:?} is {}", outcome.name());
    assert!(decision.peer() <= u32::from(image.peers), "{decision:?} names a peer of {}", image.peers);
    if reason == Reason::Peer {
        assert_ne!(decision.peer(), 0, "a peer without a number");
    }
    if reason == Reason::BlockedSource {
        assert!(
            !judge.blocked.is_empty() && decision.peer() == 0,
            "{decision:?} where nobody is blocked, or of a peer"
        );
    }
    if !reason.has_row() {
        assert_eq!((decision.row(), decision.peer()), (0, 0), "{decision:?} has no port, so no row and no peer");
    } else if decision.row() >= ROW_FIRST {
        let record = rows.records().get(decision.row() as usize).expect("a row that exists");
        assert_eq!(record.active, 1, "{decision:?} is counted on a row that no port has");
    }
    let unpacked = Decision::unpack(decision.pack());
    assert_eq!((unpacked.cell, unpacked.peer()), (decision.cell, decision.peer()), "packing loses something");
}

/// The decision is the model's, which knows no image, hash or row.
fn is_right(judge: &Judge, decision: &Decision, right: &Answer) {
    let said = (decision.verdict(), decision.reason(), decision.outcome(), Some(decision.bytes));
    assert_eq!(
        said,
        (right.verdict, Some(right.reason), Some(right.outcome), right.bytes),
        "{}: {decision:?}, the model: {right}",
        judge.name
    );
    let number = (decision.peer() as usize).checked_sub(1);
    let peer = number.map(|at| judge.policy.peers.get(at).expect("a peer that exists"));
    assert_eq!(peer, right.peer.as_ref(), "{}: the peer of {decision:?}, the model: {right}", judge.name);
    if decision.row() >= ROW_FIRST {
        let record = judge.compiled.rows.records().get(decision.row() as usize).expect("a row that exists");
        let class = Some(class_name(record));
        assert_eq!(class, right.class, "{}: the class of {decision:?}, the model: {right}", judge.name);
    }
}

/// One more 802.1Q tag, which an offloading card may have kept or stripped, gives the same answer with four bytes more.
fn a_tag_changes_nothing(frame: &[u8], judge: &Judge) {
    let Some((addresses, rest)) = frame.split_at_checked(12) else { return };
    let tagged = [addresses, &[0x81, 0x00, 0x00, 0x07], rest].concat();
    let (without, with) = (decide(frame, &judge.compiled.image), decide(tagged.as_slice(), &judge.compiled.image));
    let right = judge.right_answer(&tagged);
    // What looks like the node's own multicast is that for its bytes from the first to the last.
    if [without, with].iter().any(|decision| decision.reason() == Some(Reason::OwnMulticast)) {
        assert_eq!((without.verdict(), without.dropped()), (Verdict::Pass, 0), "{without:?}, tagged {with:?}");
    } else if right.reason == Reason::TooManyVlanTags {
        assert_eq!(with.verdict(), Verdict::Drop, "{with:?} with more tags than are read");
    } else {
        assert_eq!(with, Decision { bytes: without.bytes + 4, ..without }, "a tag changes the answer");
    }
}

/// Bytes behind the IP packet, as switches add them to short frames, decide nothing and are not counted: neither more of them nor fewer.
fn padding_changes_nothing(frame: &[u8], judge: &Judge) {
    let decision = decide(frame, &judge.compiled.image);
    if decision.reason().is_some_and(Reason::has_row) {
        let padded = [frame, &[0xa5; 46]].concat();
        assert_eq!(decide(padded.as_slice(), &judge.compiled.image), decision, "padding changes the answer");
    }
    if let Some(packet) = frame.get(..decision.bytes as usize) {
        assert_eq!(decide(packet, &judge.compiled.image), decision, "what lies behind the packet was read");
    }
}
