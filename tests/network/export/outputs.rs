//! An output of evidence that takes nothing: told by metrics, `status` and its JSON, and a problem once it lasts.

use std::fs;

use nodewall_testbed::skip_unless_privileged;
use serde_json::Value;

use super::client::{get, wait_until_served};
use crate::{
    node::{Node, eventually},
    settings::Settings,
    traffic::{probes, silent},
};

const MINUTE_NS: u64 = 60_000_000_000;

fn metric(text: &str, name: &str) -> f64 {
    let line = text.lines().find(|line| line.starts_with(&format!("nodewall_evidence_output_{name}{{")));
    let line = line.unwrap_or_else(|| panic!("no {name}: {text}"));
    assert!(line.contains("{output=\"syslog tcp 127.0.0.1:9\"}"), "{line}");
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn one_that_is_dead_is_told_everywhere_and_a_problem_after_minutes() {
    if skip_unless_privileged("one_that_is_dead_is_told_everywhere_and_a_problem_after_minutes") {
        return;
    }
    // Nobody listens on the port of `discard`.
    let output = "[[evidence.output]]\nkind = \"syslog\"\naddress = \"127.0.0.1:9\"\ntransport = \"tcp\"\n";
    let node = Node::with(&Settings::default().rules(output));
    wait_until_served(&node);
    silent(node.outsider(), &probes(node.host(), &[9042]));
    let text = eventually("metrics to tell", || {
        let text = get(&node, "/metrics").body;
        (metric(&text, "waiting_lines") >= 4.0 && metric(&text, "failing_since_timestamp_seconds") > 0.0)
            .then_some(text)
    });
    assert_eq!([metric(&text, "sent_lines_total"), metric(&text, "lost_lines_total")], [0.0; 2]);
    let status = node.json("status");
    let told = &status["evidence"]["outputs"][0];
    let since_ns = told["failing_since"]["boot_ns"].as_u64().unwrap();
    assert_eq!((told["sent"].as_u64(), told["lost"].as_u64()), (Some(0), Some(0)), "{told}");
    assert!(
        told["waiting"].as_u64().unwrap() >= 4 && told["error"].as_str().unwrap().contains("127.0.0.1:9"),
        "{told}"
    );
    assert_eq!(status["healthy"], true, "for two minutes it may be starting anew: {status}");
    let shown = node.nodewall("status", &[]).stdout;
    assert!(shown.contains("evidence: syslog tcp 127.0.0.1:9: takes nothing: "), "{shown}");

    // What the agent noted, three minutes older.
    node.agent().freeze().unwrap();
    let note = node.directories.state_dir().join("evidence.json");
    let mut noted: Value = serde_json::from_str(&fs::read_to_string(&note).unwrap()).unwrap();
    noted["outputs"][0]["failing_since"]["boot_ns"] = (since_ns - 3 * MINUTE_NS).into();
    fs::write(&note, noted.to_string()).unwrap();
    let later = node.nodewall("status", &["-o", "json"]);
    let status: Value = serde_json::from_str(&later.stdout).unwrap();
    assert_eq!((later.status.code(), &status["healthy"]), (Some(3), &Value::Bool(false)), "{status}");
    let problem = status["problems"][0].as_str().unwrap();
    assert!(
        problem.contains("syslog tcp 127.0.0.1:9 takes nothing for 3m") && problem.contains("lines wait"),
        "{problem}"
    );
}
