//! Audit, of everything and of one class: nothing of it is dropped, and what would be is counted.

use std::net::TcpStream;

use nodewall_testbed::{Lab, Listener, Protocol, Signal, skip_unless_privileged};
use serde_json::json;

use super::counters::{Cells, Counters};
use super::export::client::{get, samples, wait_until_served};
use super::node::Node;
use super::settings::Settings;
use super::traffic::{add, answered, probes, silent};

#[test]
fn audit_drops_nothing_and_counts_what_it_would() {
    if skip_unless_privileged("audit_drops_nothing_and_counts_what_it_would") {
        return;
    }
    let node = Node::with(&Settings::audit());
    let sockets = Listener::both(node.netns(), &[9042, 443]).unwrap();
    let probes = probes(node.host(), &[9042]);
    let mut expected = Cells::new();
    for peer in node.peers() {
        add(&mut expected, "cassandra", ("pass", "peer"), &probes, &answered(peer, &probes));
    }
    let knocks = answered(node.outsider(), &probes);
    add(&mut expected, "cassandra", ("would_drop", "outsider"), &probes, &knocks);
    node.assert_counted(Counters::named_and_drops, &expected);
    assert_eq!(sockets.arrived(Protocol::Tcp, 9042).count, 6);
}

/// Footnote 1 of the vendor's page: who still uses 8443 is seen while 9042 is enforced, and then 8443 is enforced as well.
#[test]
fn one_class_audits_while_the_rest_is_enforced() {
    if skip_unless_privileged("one_class_audits_while_the_rest_is_enforced") {
        return;
    }
    let mut node = Node::with(&Settings::profile("audit = [\"agent\"]"));
    let _sockets = Listener::both(node.netns(), &[8443, 9042]).unwrap();
    let [agent, cassandra] = [8443, 9042].map(|port| probes(node.host(), &[port]));
    let mut expected = Cells::new();
    for peer in node.peers() {
        add(&mut expected, "agent", ("pass", "peer"), &agent, &answered(peer, &agent));
    }
    add(&mut expected, "agent", ("would_drop", "outsider"), &agent, &answered(node.outsider(), &agent));
    add(&mut expected, "cassandra", ("drop", "outsider"), &cassandra, &silent(node.outsider(), &cassandra));
    node.assert_counted(Counters::named_and_drops, &expected);
    told(&node);

    // A block outranks the class.
    let sources = [node.outsider().ipv4().to_string(), node.outsider().ipv6().to_string()];
    for source in &sources {
        assert!(node.nodewall("block", &[source]).status.success());
    }
    silent(node.outsider(), &agent);
    for source in &sources {
        assert!(node.nodewall("unblock", &[source]).status.success());
    }

    let target = (node.host().ipv4(), 8443);
    let user = node.outsider().netns().run(|| TcpStream::connect(target).unwrap()).unwrap();
    // It would take the file by itself before a slow machine has made a plan.
    assert!(node.end_agent(Signal::TERM).success());
    node.configure(&Settings::default());
    let plan = node.json("plan");
    let change = |protocol| json!({"ports": "8443", "protocol": protocol, "from": "cluster (agent, audited)", "to": "cluster (agent)"});
    assert_eq!((&plan["settings"], &plan["ports"]), (&json!([]), &json!([change("tcp"), change("udp")])), "{plan}");
    let cut = json!({"source": sources[0], "port": 8443, "protocol": "tcp", "from": "pass", "to": "drop", "reason": "outsider", "conversation": true, "current": true, "connected": true});
    let all = plan["affected"].as_array().unwrap();
    assert!(cut.as_object().unwrap().iter().all(|(key, value)| all[0][key] == *value), "{plan}");
    assert!(all[1..].iter().all(|other| other["port"] == 8443 && other["connected"] == false), "{plan}");
    assert!(node.nodewall("apply", &[]).status.success());
    silent(node.outsider(), &agent);
    drop(user);
    assert_eq!(node.json("status")["audited"], json!([]));
}

/// Everybody tells it: commands, metrics, the account that is for people.
fn told(node: &Node) {
    let status = node.json("status");
    assert_eq!((&status["mode"], &status["audited"]), (&json!("enforce"), &json!(["agent"])));
    let status = node.nodewall("status", &[]).stdout;
    assert!(status.starts_with("mode        enforce; audited: agent\n"), "{status}");
    let checked = node.json("check");
    let audited = |class: &&serde_json::Value| class["audited"] == true;
    let names: Vec<_> =
        checked["classes"].as_array().unwrap().iter().filter(audited).map(|class| &class["name"]).collect();
    assert_eq!(names, ["agent"]);
    let source = node.outsider().ipv4().to_string();
    for (port, outcome, note) in [("8443", "would_drop", true), ("9042", "drop", false), ("22", "pass", false)] {
        let arguments = ["--source", &source, "--port", port];
        let answer = node.nodewall("explain", &[&arguments[..], &["-o", "json"]].concat()).stdout;
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert_eq!((&answer["outcome"], &answer["mode"]), (&json!(outcome), &json!("enforce")), "{answer}");
        assert_eq!(answer["verdict"], if outcome == "pass" { "pass" } else { "drop" }, "the policy's verdict");
        assert_eq!(node.nodewall("explain", &arguments).stdout.contains("this class is audited"), note, "{port}");
    }
    wait_until_served(node);
    let metrics = samples(&get(node, "/metrics").body);
    assert_eq!((metrics["nodewall_enforcing"], metrics["nodewall_class_audited{class=\"agent\"}"]), (1.0, 1.0));
    assert_eq!(metrics.keys().filter(|name| name.starts_with("nodewall_class_audited")).count(), 1);
    let doctor = node.nodewall("doctor", &[]).stdout;
    assert!(doctor.contains("audited while the rest is enforced: agent"), "{doctor}");
}

/// From an audit of everything to an audit of one class: only the others' users would be cut off.
#[test]
fn a_plan_counts_nobody_who_is_only_audited() {
    if skip_unless_privileged("a_plan_counts_nobody_who_is_only_audited") {
        return;
    }
    let node = Node::idle(Lab::new().unwrap(), &Settings::profile("audit = [\"agent\"]"));
    assert!(node.nodewall("apply", &["--mode", "audit"]).status.success());
    assert_eq!(node.json("status")["audited"], json!([]), "everything is");
    let _sockets = Listener::both(node.netns(), &[8443, 9042]).unwrap();
    let connect = |port| TcpStream::connect((node.host().ipv4(), port)).unwrap();
    let _users = node.outsider().netns().run(|| [8443, 9042].map(connect)).unwrap();
    let plan = node.json("plan");
    let affected: Vec<_> = plan["affected"].as_array().unwrap().iter().map(|user| &user["port"]).collect();
    assert_eq!(affected, [9042], "{plan}");
    assert_eq!(node.nodewall("plan", &[]).status.code(), Some(5));
}
