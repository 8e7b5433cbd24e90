//! Which devices are ways in while they come, go and change, where this needs devices that only guests have.

use std::process::Stdio;

use nodewall_testbed::{Lab, Process, Signal, until};

use crate::counters::Cells;
use crate::guest::{lacks, skip_outside, version};
use crate::node::{Node, PATIENCE, eventually};
use crate::settings::Settings;
use crate::traffic::assert_filtered;

/// One of each kind that takes no native XDP.
const OVERLAYS: &str = "link add vx0 type vxlan id 7 dstport 4789 dev eth0 local 10.77.0.1\n\
                        link add gnv0 type geneve id 7 remote 10.77.0.11\nlink add dum0 type dummy\n";

fn mode(node: &Node) -> String {
    node.json("status")["mode"].as_str().unwrap().to_owned()
}

fn problems(node: &Node) -> String {
    node.json("status")["problems"].to_string()
}

#[test]
fn an_overlay_that_gets_an_address_while_a_trial_runs_stops_nothing() {
    let test = "ways_in::an_overlay_that_gets_an_address_while_a_trial_runs_stops_nothing";
    if skip_outside(test) {
        return;
    }
    let mut node = Node::on(Lab::new().unwrap(), &Settings::audit().interfaces(&[]));
    let mut trial = node.command("enforce", &["--allow-affected", "--confirm-within", "5s"]);
    trial.stdin(Stdio::null());
    let trial = Process::spawn("enforce", trial).unwrap();
    until("it is on trial", || mode(&node) == "enforce");
    node.netns().ip_batch(OVERLAYS).unwrap();
    for (n, device) in ["vx0", "gnv0", "dum0"].iter().enumerate() {
        node.netns().ip_batch(&format!("addr add 10.9{n}.0.1/24 dev {device}\nlink set {device} up\n")).unwrap();
    }
    trial.wait(PATIENCE).unwrap();
    until("the trial has ended", || mode(&node) == "audit");
    for (verb, arguments) in [
        ("block", &["192.0.2.7", "--ttl", "1h"][..]),
        ("unblock", &["192.0.2.7"]),
        ("peers", &["add", "10.77.0.200", "--ttl", "1h"]),
        ("apply", &[]),
    ] {
        let done = node.nodewall(verb, arguments);
        assert!(done.status.success(), "{verb}: {done:?}");
    }
    assert_eq!(problems(&node), "[]");
    assert!(node.end_agent(Signal::TERM).success());
    node.start_agent();
    assert_eq!(problems(&node), "[]");
    // What `init` writes here can be applied.
    let written = node.nodewall("init", &["--yes", "--stdout", "--peer", "10.77.0.11"]);
    assert!(written.status.success(), "{written:?}");
    node.configure_text(&written.stdout);
    let applied = node.nodewall("apply", &[]);
    assert!(applied.status.success(), "{applied:?}");
}

/// The card is filtered when it joins; the bond is, once it has it.
fn join_a_bond(node: &Node) {
    let mac: Vec<String> = node.host().mac().iter().map(|byte| format!("{byte:02x}")).collect();
    node.netns()
        .ip_batch(&format!(
            "link add bond0 address {} type bond mode active-backup miimon 100\nlink set bond0 up\naddr flush dev eth0\nlink set eth0 down\n\
             link set eth0 master bond0\naddr add 10.77.0.1/24 dev bond0\naddr add fd77::1/64 dev bond0 nodad\n",
            mac.join(":")
        ))
        .unwrap();
    eventually("the bond carries frames", || node.link_words("bond0").contains(&"UP".to_owned()).then_some(()));
}

#[test]
fn a_card_that_joins_a_bond_is_covered_by_it() {
    const NATIVE: (u32, u32) = (5, 15);
    let test = "ways_in::a_card_that_joins_a_bond_is_covered_by_it";
    if skip_outside(test) {
        return;
    }
    if version() < NATIVE {
        lacks(test, "native XDP on a bond", NATIVE);
        return;
    }
    for with_agent in [true, false] {
        let mut node = Node::on(Lab::new().unwrap(), &Settings::default().interfaces(&[]));
        if !with_agent {
            assert!(node.end_agent(Signal::TERM).success());
        }
        join_a_bond(&node);
        if !with_agent {
            // As over a boot: what is remembered is the card's name.
            let applied = node.nodewall("apply", &[]);
            assert!(applied.status.success(), "{applied:?}");
        }
        eventually("the bond is covered", || node.attachment("bond0"));
        assert_eq!(node.attachment("eth0"), None);
        assert_filtered(&node);
        assert_ne!(node.counters().drops(), Cells::new());
        let problems = problems(&node);
        assert!(if with_agent { problems == "[]" } else { problems.starts_with("[\"no agent runs") }, "{problems}");
    }
}
