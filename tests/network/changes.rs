//! What changes by itself is said before and after; and commands that are asked the same never contradict each other.

use std::{fs, io::Write as _, net::TcpStream, os::unix::fs::PermissionsExt as _};

use nodewall_testbed::{Listener, Signal, skip_unless_privileged};
use serde_json::{Value, json};

use super::export::client::{get, samples, wait_until_served};
use super::node::{Node, eventually};
use super::trials::audited;

fn explained(node: &Node, source: &str, by_the_file: bool) -> Value {
    let arguments = ["--source", source, "--port", "9042", "-o", "json"];
    let state = node.directories.state_dir();
    let ran = if by_the_file {
        node.nodewall("explain", &arguments)
    } else {
        node.nodewall_live("explain", &[&["--state-dir", state.to_str().unwrap()], &arguments[..]].concat())
    };
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

#[test]
fn commands_never_contradict_each_other() {
    if skip_unless_privileged("commands_never_contradict_each_other") {
        return;
    }
    let node = audited();
    assert_eq!(node.nodewall("plan", &[]).status.code(), Some(0));
    // A peer that the file does not name: whoever answers by the file knows him, too.
    assert!(node.nodewall("peers", &["add", "10.77.0.40"]).status.success());
    let (live, file) = (explained(&node, "10.77.0.40", false), explained(&node, "10.77.0.40", true));
    assert_eq!((&live["verdict"], &live["basis"]), (&json!("pass"), &json!("in_force")));
    assert_eq!((&file["verdict"], &file["basis"]), (&json!("pass"), &json!("by_the_file")));
    let checked = node.json("check");
    assert_eq!(
        (&checked["basis"], &checked["policy_sha256"]),
        (&json!("by_the_file"), &node.json("status")["policy_sha256"])
    );
    assert_eq!(node.nodewall("plan", &[]).status.code(), Some(0));
    // The mode that an operator's word has made, beside the file's.
    assert!(node.nodewall("enforce", &["--allow-affected"]).status.success());
    assert_eq!(node.json("status")["file_mode"], "audit");
    let status = node.nodewall("status", &[]).stdout;
    assert!(status.starts_with("mode        enforce (by the file: audit)\n"), "{status}");
    assert_eq!(node.nodewall("plan", &[]).status.code(), Some(0));
    // What a reload refuses is no good configuration.
    let mode = |bits| fs::set_permissions(node.directories.config(), fs::Permissions::from_mode(bits)).unwrap();
    mode(0o666);
    let refused = node.nodewall("check", &[]);
    assert!(refused.status.code() == Some(1) && !refused.stderr.is_empty(), "{refused:?}");
    assert_eq!(node.nodewall("plan", &[]).status.code(), Some(1));
    mode(0o640);

    // Nothing in force: its pins are gone, or an operator opened it.
    let nothing = |node: &Node| {
        let plan = node.nodewall("plan", &[]);
        assert_eq!(plan.status.code(), Some(3), "{plan:?}");
        assert!(
            plan.stdout.contains("nothing is in force") && !plan.stdout.contains("nothing would change"),
            "{plan:?}"
        );
        assert_eq!(node.json("plan")["nothing_in_force"], true);
        let status = node.json("status");
        assert_eq!((&status["mode"], &status["healthy"]), (&Value::Null, &json!(false)), "{status}");
        let doctor = node.nodewall("doctor", &[]);
        assert!(doctor.status.code() == Some(3) && doctor.stdout.contains("no policy is in force"), "{doctor:?}");
        assert!(node.nodewall_live("explain", &["--source", "10.77.0.40", "--port", "9042"]).stdout.is_empty());
    };
    fs::remove_dir_all(node.directories.pins()).unwrap();
    nothing(&node);
    assert!(node.nodewall("apply", &[]).status.success());
    assert_eq!(node.nodewall("plan", &[]).status.code(), Some(0));
    assert!(node.nodewall("detach", &[]).status.success());
    nothing(&node);
}

#[test]
fn what_will_change_by_itself_is_said_before_and_after() {
    if skip_unless_privileged("what_will_change_by_itself_is_said_before_and_after") {
        return;
    }
    let mut node = Node::enforcing();
    wait_until_served(&node);
    let _served = Listener::both(node.netns(), &[9042]).unwrap();
    let guest = node.outsider().ipv4().to_string();
    let target = (node.host().ipv4(), 9042);
    let add = |ttl: &str| assert!(node.nodewall("peers", &["add", &guest, "--ttl", ttl]).status.success());
    let metrics = || samples(&get(&node, "/metrics").body);
    add("1h");
    assert!(node.nodewall("block", &["192.0.2.7", "--ttl", "2h"]).status.success());
    let talk = || TcpStream::connect(target).unwrap().write_all(b"hello").unwrap();
    node.outsider().netns().run(talk).unwrap();
    // Before.
    let change = eventually("the guest is known to talk", || {
        node.json("status")["will_change"].as_array().unwrap().iter().find(|change| change["talks"] == true).cloned()
    });
    assert_eq!((&change["what"], &change["then"]), (&json!("peer"), &json!(format!("peer {guest} is none any more"))));
    let left = metrics()["nodewall_next_change_seconds{what=\"peer\",talks=\"true\"}"];
    assert!(left > 0.0 && left <= 3_600.0, "{left}");
    assert!(metrics()["nodewall_next_change_seconds{what=\"block\",talks=\"false\"}"] > 3_600.0);
    assert!(metrics()["nodewall_cut_peers"] < 1.0);
    // After.
    add("1s");
    eventually("the guest is cut off", || (metrics()["nodewall_cut_peers"] >= 1.0).then_some(()));
    let logged = node.wait_for_log(|line| line.contains("peers changed") && line.contains(&guest));
    assert!(logged.contains("went"), "{logged}");
    let status = node.json("status");
    let said = status["left_peers"][0].as_str().unwrap();
    assert!(said.contains(&format!("{guest} was a peer: its time is over")) && said.contains("had talked"), "{said}");
    let why = explained(&node, &guest, false);
    assert!(why["verdict"] == "drop" && why["left"].as_str().unwrap().contains("its time is over"), "{why}");
    // An operator's word is told by name.
    add("1h");
    assert_eq!(explained(&node, &guest, false)["left"], Value::Null, "it is one again");
    assert!(node.nodewall("peers", &["remove", &guest]).status.success());
    let why = explained(&node, &guest, false);
    assert!(why["left"].as_str().unwrap().contains("removed by root"), "{why}");
    // An own address that comes is named in the log.
    node.netns().ip(&["addr", "add", "10.77.0.2/24", "dev", "eth0"]).unwrap();
    node.wait_for_log(|line| line.contains("own addresses changed") && line.contains("10.77.0.2"));

    // Without an agent all of that stands still, and that is said.
    assert!(node.end_agent(Signal::TERM).success());
    let status = node.nodewall("status", &[]);
    assert_eq!(status.status.code(), Some(3), "{status:?}");
    for frozen in ["no agent runs", "own addresses", "learnt peers"] {
        assert!(status.stdout.contains(frozen), "{frozen}: {status:?}");
    }
}
