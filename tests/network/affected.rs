//! Who would be cut off: what `plan` and `enforce` say before, by the sockets and by the audit's own evidence, and who is while a trial goes on.

use std::{
    io::Write as _,
    net::{TcpStream, UdpSocket},
};

use nodewall_testbed::{Listener, Process, skip_unless_privileged};
use serde_json::{Value, json};

use super::node::{Node, PATIENCE, eventually};
use super::settings::Settings;
use super::traffic::{answered, probes, silent};
use super::trials::audited;

/// The exit code, and what `plan --mode enforce` says of this port of the outsider's.
fn foreseen(node: &Node, port: u16, protocol: &str) -> (Option<i32>, Option<Value>) {
    let plan = node.nodewall("plan", &["--mode", "enforce", "-o", "json"]);
    let said: Value = serde_json::from_str(&plan.stdout).unwrap_or_else(|error| panic!("{error}: {plan:?}"));
    let outsider = node.outsider().ipv4().to_string();
    let is_it = |a: &&Value| a["source"] == outsider.as_str() && a["port"] == port && a["protocol"] == protocol;
    (plan.status.code(), said["affected"].as_array().unwrap().iter().find(is_it).cloned())
}

#[test]
fn an_audit_names_who_would_be_cut_off_and_a_knock_vetoes_nothing() {
    if skip_unless_privileged("an_audit_names_who_would_be_cut_off_and_a_knock_vetoes_nothing") {
        return;
    }
    let node = Node::with(&Settings::audit());
    let target = node.host().ipv4();
    let _served = Listener::both(node.netns(), &[9042]).unwrap();
    answered(node.peers()[0], &probes(node.host(), &[9042]));

    // A scanner: a SYN to a port where nobody listens, a datagram that nobody answers.
    node.outsider().netns().run(|| TcpStream::connect((target, 7000)).unwrap_err()).unwrap();
    let datagram = || UdpSocket::bind("0.0.0.0:0").unwrap().send_to(b"?", (target, 5701)).unwrap();
    node.outsider().netns().run(datagram).unwrap();
    for (port, protocol) in [(7000, "tcp"), (5701, "udp")] {
        let knock = eventually("the audit has the knock", || {
            let (code, knock) = foreseen(&node, port, protocol);
            assert_eq!(code, Some(3), "a knock vetoes nothing: {knock:?}");
            knock
        });
        assert_eq!((&knock["conversation"], &knock["current"]), (&json!(false), &json!(false)), "{knock}");
        assert_eq!((&knock["packets"], &knock["to"]), (&json!(1), &json!("drop")), "{knock}");
        assert!(knock["last_unix_ns"].as_u64().is_some(), "{knock}");
    }

    // A client that comes and goes between two looks.
    let client = || TcpStream::connect((target, 9042)).unwrap().write_all(b"hello").unwrap();
    node.outsider().netns().run(client).unwrap();
    let cut = eventually("the conversation is known, though it has ended", || {
        foreseen(&node, 9042, "tcp").1.filter(|cut| cut["conversation"] == true && cut["packets"].is_u64())
    });
    assert_eq!((&cut["current"], &cut["connected"]), (&json!(true), &json!(false)), "{cut}");
    assert!(cut["packets"].as_u64() > Some(2), "{cut}");
    assert_eq!(node.nodewall("plan", &["--mode", "enforce"]).status.code(), Some(5));

    // Refused, and named.
    let generation = node.generation();
    let refused = node.nodewall("enforce", &["--confirm-within", "1h"]);
    assert_eq!(refused.status.code(), Some(5), "{refused:?}");
    let source = node.outsider().ipv4().to_string();
    let said = [
        format!("! {source} was in conversation with port 9042/tcp"),
        format!("? {source} knocked on port 7000/tcp"),
        "--allow-affected".to_owned(),
    ];
    assert!(said.iter().all(|said| refused.stderr.contains(said)), "{refused:?}");
    assert_eq!((node.generation(), node.json("status")["mode"].clone()), (generation, json!("audit")));

    // Allowed: the list comes before the countdown, and who is cut off while it goes on.
    let held = node.command("enforce", &["--allow-affected", "--confirm-within", "1h"]);
    let held = Process::spawn("enforce", held).unwrap();
    held.wait_for_line(PATIENCE, |line| line.contains("on trial")).unwrap();
    assert!(held.output().contains(&said[0]), "{}", held.output());
    silent(node.outsider(), &probes(node.host(), &[9042]));
    let live = format!("dropped: {source} to port 9042/tcp (outsider)");
    held.wait_for_line(PATIENCE, |line| line.contains(&live)).unwrap();
    assert_eq!(node.nodewall("rollback", &[]).status.code(), Some(3));
    held.wait(PATIENCE).unwrap();
    // The trial is no end of the audit.
    let (code, cut) = foreseen(&node, 9042, "tcp");
    assert!(code == Some(5) && cut.as_ref().is_some_and(|cut| cut["packets"].as_u64() > Some(2)), "{cut:?}");
}

#[test]
fn a_peers_list_of_which_nobody_ever_talked_is_not_enforced_unasked() {
    if skip_unless_privileged("a_peers_list_of_which_nobody_ever_talked_is_not_enforced_unasked") {
        return;
    }
    let node = audited();
    let refused = node.nodewall("enforce", &[]);
    assert_eq!(refused.status.code(), Some(5), "{refused:?}");
    assert!(refused.stderr.contains("not one of the peers has ever talked"), "{refused:?}");
    assert_eq!(node.nodewall("plan", &["--mode", "enforce"]).status.code(), Some(5));
    assert_eq!(node.json("status")["mode"], "audit");
    let _served = Listener::both(node.netns(), &[9042]).unwrap();
    answered(node.peers()[0], &probes(node.host(), &[9042]));
    assert_eq!(node.nodewall("plan", &["--mode", "enforce"]).status.code(), Some(3));
    let enforced = node.nodewall("enforce", &[]);
    assert!(enforced.status.success(), "{enforced:?}");
}
