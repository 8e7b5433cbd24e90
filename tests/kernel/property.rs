//! The property rung: frames by a grammar, judged by an independent model, by `decide` in this process and by the kernel program. All must give the same
//! verdict, reason, class, peer and bytes. 100,000 frames by default; `cargo xtask soak` runs the same test for as long as wanted.

use node_ebpf_common::Reason;
use nodewall_model::cases;
use nodewall_model::{
    answer::verdict_of,
    grammar::{Frames, seeded},
    harness, judge, policies,
};
use nodewall_testbed::skip_unless_privileged;
use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::{Config, TestCaseError, TestError, TestRunner},
};

#[test]
fn model_host_and_kernel_agree() {
    let plan = harness::Plan::from_env();
    let with_kernel = !skip_unless_privileged("model_host_and_kernel_agree (its kernel part)");
    let tally = harness::run(plan, with_kernel).unwrap_or_else(|report| panic!("{report}"));
    for (name, count, least) in tally.lines() {
        println!("{count:>12}  {name} (at least {least})");
    }
    assert!(tally.shortfalls().is_empty(), "the generator no longer covers: {:#?}", tally.shortfalls());
    if with_kernel {
        assert_eq!(tally.in_kernel, tally.frames);
    }
}

/// Right verdicts written by hand: the model must know them, too.
#[test]
fn the_model_agrees_with_the_table_of_cases() {
    let policies = policies::all();
    for case in cases::all().into_iter().chain(cases::ipv4::jumbo()) {
        let name = match case.policy {
            cases::Policy::Enforce => "enforce",
            cases::Policy::Audit => "audit",
            cases::Policy::Rules => "rules",
            cases::Policy::Blocks => "blocks",
            cases::Policy::AuditBlocks => "audit-blocks",
            cases::Policy::Unpacking => "unpacking",
            cases::Policy::Audited => "some-audited-blocks",
        };
        let policy = policies.iter().find(|policy| policy.name == name).unwrap();
        let answer = judge(&case.frame, policy);
        assert_eq!((answer.reason, answer.outcome), (case.reason, case.outcome()), "{}", case.name);
        if case.bytes != 0 {
            assert_eq!(answer.bytes.map(u64::from), Some(case.bytes), "{}: bytes", case.name);
        }
    }
}

#[test]
fn the_bit_in_a_reasons_number_is_its_verdict() {
    for reason in Reason::ALL {
        assert_eq!(reason.verdict(), verdict_of(*reason), "{reason:?}");
    }
}

/// What a disagreement is printed as depends on this: nothing is left of a frame but what makes the test fail.
#[test]
fn shrinking_leaves_only_what_the_failure_needs() {
    let (policies, wanted) = (policies::all(), 9042_u16.to_be_bytes());
    let mut runner = TestRunner::new_with_rng(Config { failure_persistence: None, ..Config::default() }, seeded(1));
    let outcome = runner.run(&Frames { about: &policies[0] }, |generated| {
        let found = generated.frame.windows(2).any(|pair| pair == wanted);
        if found { Err(TestCaseError::fail("it is there")) } else { Ok(()) }
    });
    let Err(TestError::Fail(_, least)) = outcome else { panic!("no frame to port 9042: {outcome:?}") };
    assert_eq!(least.frame, wanted);
}

#[test]
fn the_same_seed_gives_the_same_frames() {
    let policies = policies::all();
    let frames = |seed| {
        let mut runner = TestRunner::new_with_rng(Config::default(), seeded(seed));
        let grammar = Frames { about: &policies[0] };
        let frames: Vec<Vec<u8>> = (0..20).map(|_| grammar.new_tree(&mut runner).unwrap().current().frame).collect();
        frames
    };
    assert_eq!(frames(7), frames(7));
    assert_ne!(frames(7), frames(8));
}
