//! Rollouts that go well: to audit, to enforcement, again, and with a change.

use std::fs;

use nodewall_testbed::skip_unless_privileged;
use serde_json::{Value, json};

use super::fleet::{CLUSTER, Fleet, NAMES, PUBLIC, Ran};
use crate::node::eventually;

/// Each node's turn in the first play is over before the next one's begins.
fn assert_one_after_the_other(ran: &Ran) {
    let first_play = ran.output.split("PLAY [See that all nodes agree]").next().unwrap();
    // Lines of results end with the node, and where another one asks for it, with both: `[n1 -> n3]`.
    let lines = |node: &str| {
        let (alone, for_it) = (format!("[{node}]"), format!("[{node} -> "));
        let of_it = move |line: &&str| line.contains(&alone) || line.contains(&for_it);
        let numbers: Vec<usize> =
            first_play.lines().enumerate().filter(|(_, line)| of_it(line)).map(|(number, _)| number).collect();
        (numbers[0], numbers[numbers.len() - 1])
    };
    for pair in NAMES.windows(2) {
        assert!(lines(pair[0]).1 < lines(pair[1]).0, "{}", ran.output);
    }
}

fn hashes(statuses: &[Value]) -> Vec<&str> {
    let mut found: Vec<&str> = statuses.iter().map(|status| status["policy_sha256"].as_str().unwrap()).collect();
    found.dedup();
    found
}

#[test]
fn three_nodes_go_to_enforcement_one_by_one_and_a_second_run_changes_nothing() {
    if skip_unless_privileged("three_nodes_go_to_enforcement_one_by_one_and_a_second_run_changes_nothing") {
        return;
    }
    let mut fleet = Fleet::new();

    let first = fleet.roll_out(true).succeeds();
    assert_one_after_the_other(&first);
    let statuses: Vec<Value> = (0..3).map(|number| fleet.status(number)).collect();
    for (number, status) in statuses.iter().enumerate() {
        assert_eq!(
            (&status["mode"], &status["healthy"], &status["trial"], &status["peers"]),
            (&json!("enforce"), &json!(true), &Value::Null, &json!(6)),
            "{status}"
        );
        assert_eq!(first.count(NAMES[number], "failed"), Some(0));
        assert_eq!(
            (fleet.outsider_reaches(number, PUBLIC), fleet.outsider_reaches(number, CLUSTER)),
            (true, false),
            "{}",
            NAMES[number]
        );
        assert!(fleet.reaches(fleet.host((number + 1) % 3), number, CLUSTER));
        // In audit first, then on trial, then kept.
        let done = fleet.journal(number);
        let place = |action: &str| done.iter().position(|done| done == action).unwrap_or_else(|| panic!("{done:?}"));
        assert!(fleet.agent(number).output().contains("policy audited"), "{}", fleet.agent(number).output());
        assert!(place("enforce") < place("confirm"), "{done:?}");
    }
    assert_eq!(hashes(&statuses).len(), 1, "{statuses:?}");

    let second = fleet.roll_out(true).succeeds();
    for (number, name) in NAMES.into_iter().enumerate() {
        assert_eq!(
            (second.count(name, "changed"), second.count(name, "failed")),
            (Some(0), Some(0)),
            "{}",
            second.output
        );
        let status = fleet.status(number);
        assert_eq!(status["generation"], statuses[number]["generation"], "{status}");
    }

    // A changed inventory: n1 gets a peer more, by the file alone. n2 gets so many that nodewall refuses, which ends the run: its file is the one before.
    let files: Vec<Vec<u8>> = (0..3).map(|number| fs::read(fleet.config(number)).unwrap()).collect();
    let many: Vec<String> = (100..120).map(|number| format!("10.77.0.{number}")).collect();
    fleet.own[0].insert("nodewall_more_peers".into(), json!(["10.77.0.40"]));
    fleet.own[1].insert("nodewall_more_peers".into(), json!(many));
    let third = fleet.roll_out(true).fails_saying(&["n2 did not pass its gate", "the one before again"]);
    assert_eq!((third.count("n1", "changed"), third.count("n3", "ok")), (Some(1), None), "{}", third.output);
    let changed = fleet.status(0);
    assert_eq!(
        (&changed["mode"], &changed["peers"], &changed["healthy"]),
        (&json!("enforce"), &json!(7), &json!(true))
    );
    assert_eq!(fleet.journal(0).iter().filter(|action| *action == "enforce").count(), 1, "nothing is enforced anew");
    assert_ne!(fs::read(fleet.config(0)).unwrap(), files[0]);
    assert_eq!(fs::read(fleet.config(1)).unwrap(), files[1]);
    assert_eq!(fs::read(fleet.config(2)).unwrap(), files[2]);
    let back =
        eventually("health with the file before", || Some(fleet.status(1)).filter(|status| status["healthy"] == true));
    assert_eq!((&back["mode"], &back["policy_sha256"]), (&json!("enforce"), &statuses[1]["policy_sha256"]), "{back}");
    assert!(!fleet.outsider_reaches(1, CLUSTER));
}
