//! Rollouts that end early: at a gate, at a plan, and by a trial that is not confirmed.

use std::net::TcpStream;

use nodewall_testbed::skip_unless_privileged;
use serde_json::{Value, json};

use super::fleet::{CLUSTER, Fleet, PUBLIC};
use crate::node::eventually;

#[test]
fn a_node_that_fails_its_gate_stays_in_audit_and_the_next_ones_are_not_touched() {
    if skip_unless_privileged("a_node_that_fails_its_gate_stays_in_audit_and_the_next_ones_are_not_touched") {
        return;
    }
    let mut fleet = Fleet::small();
    // An interface with an address of the node's that nothing filters: nodewall says that the node is not well.
    let first = fleet.host(0).netns();
    first.ip_batch("link add spare type veth peer name spare-far\naddr add 192.0.2.2/24 dev spare\n").unwrap();
    first.ip_batch("link set spare up\nlink set spare-far up\n").unwrap();

    let stopped = fleet.roll_out(true).fails_saying(&["n1 did not pass its gate", "spare is not filtered"]);
    assert_eq!((stopped.count("n2", "ok"), stopped.count("n3", "ok")), (None, None), "{}", stopped.output);
    assert!(!stopped.output.contains("PLAY [See that all nodes agree]"), "{}", stopped.output);
    let status = fleet.status(0);
    assert_eq!(
        (&status["mode"], &status["trial"], &status["healthy"]),
        (&json!("audit"), &Value::Null, &json!(false)),
        "{status}"
    );
    assert!(!fleet.journal(0).contains(&"enforce".to_owned()), "{:?}", fleet.journal(0));
    assert!(fleet.outsider_reaches(0, CLUSTER));
    fleet.assert_untouched(1);
    fleet.assert_untouched(2);
}

#[test]
fn a_node_that_would_cut_somebody_off_stays_in_audit_and_names_them() {
    if skip_unless_privileged("a_node_that_would_cut_somebody_off_stays_in_audit_and_names_them") {
        return;
    }
    let mut fleet = Fleet::small();
    let (outsider, target) = (fleet.lab.outsider().unwrap(), (fleet.host(0).ipv4(), CLUSTER));
    let connected = outsider.netns().run(|| TcpStream::connect(target)).unwrap().unwrap();

    let address = outsider.ipv4().to_string();
    let stopped = fleet.roll_out(true).fails_saying(&["n1 stays in audit", &address]);
    assert!(!stopped.output.contains("TASK [nodewall : Begin the trial]"), "{}", stopped.output);
    assert_eq!(fleet.status(0)["mode"], "audit");
    fleet.assert_untouched(1);
    drop(connected);
}

#[test]
fn a_node_that_its_neighbour_does_not_reach_is_in_audit_again_by_itself() {
    if skip_unless_privileged("a_node_that_its_neighbour_does_not_reach_is_in_audit_again_by_itself") {
        return;
    }
    let mut fleet = Fleet::small();
    // The inventory is wrong about n3, which asks n1: only enforcement shows it.
    fleet.own[2].insert("nodewall_addresses".into(), json!(["10.77.0.99"]));
    // Whoever was seen connected would end it at the plan; here it is the trial's turn.
    fleet.common.insert("nodewall_allow_affected".into(), json!(true));
    // Longer than a loaded machine takes to see that the check fails.
    fleet.common.insert("nodewall_confirm_within".into(), json!(60));

    let stopped = fleet.roll_out(true).fails_saying(&[
        "n3 does not reach 10.77.0.1 port 9042",
        "n1 is in mode audit",
        "not confirmed",
    ]);
    assert!(!stopped.output.contains("TASK [nodewall : Confirm]"), "{}", stopped.output);
    let status = fleet.status(0);
    assert_eq!((&status["mode"], &status["trial"]), (&json!("audit"), &Value::Null), "{status}");
    let done = fleet.journal(0);
    assert!(done.contains(&"enforce".to_owned()) && !done.contains(&"confirm".to_owned()), "{done:?}");
    assert!(fleet.reaches(fleet.host(2), 0, CLUSTER) && fleet.outsider_reaches(0, CLUSTER));
    fleet.assert_untouched(1);
    fleet.assert_untouched(2);
}

#[test]
fn a_trial_ends_by_itself_when_ansible_is_killed() {
    if skip_unless_privileged("a_trial_ends_by_itself_when_ansible_is_killed") {
        return;
    }
    let mut fleet = Fleet::small();
    // Time for a look before it is over.
    fleet.common.insert("nodewall_confirm_within".into(), json!(30));
    let on_trial = |fleet: &Fleet| fleet.journal(0).contains(&"enforce".to_owned());

    let killed = fleet.roll_out_unless(true, on_trial);
    assert!(!killed.succeeded && !killed.output.contains("PLAY RECAP"), "{}", killed.output);
    assert_eq!(fleet.status(0)["mode"], "enforce", "the trial goes on without Ansible");
    eventually("the trial's end", || Some(fleet.status(0)).filter(|status| status["trial"].is_null()));
    assert_eq!(fleet.status(0)["mode"], "audit");
    assert!(!fleet.journal(0).contains(&"confirm".to_owned()), "{:?}", fleet.journal(0));
    assert!(fleet.outsider_reaches(0, CLUSTER));
    fleet.assert_untouched(1);
}

#[test]
fn audit_alone_enforces_nothing_and_a_node_that_differs_ends_it() {
    if skip_unless_privileged("audit_alone_enforces_nothing_and_a_node_that_differs_ends_it") {
        return;
    }
    let mut fleet = Fleet::small();
    fleet.own[1].insert("nodewall_profile".into(), json!({"web_port_8022": "public"}));

    let stopped = fleet.roll_out(false).fails_saying(&["n2 did not pass its gate", "not that of the nodes before it"]);
    assert_eq!(stopped.count("n3", "ok"), None, "{}", stopped.output);
    for number in 0..2 {
        let status = fleet.status(number);
        assert_eq!((&status["mode"], &status["healthy"]), (&json!("audit"), &json!(true)), "{status}");
        assert!(fleet.outsider_reaches(number, CLUSTER) && fleet.outsider_reaches(number, PUBLIC));
    }
    fleet.assert_untouched(2);
}
