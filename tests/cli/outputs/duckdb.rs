//! Records as a database reads them: the exports of three nodes, and the question that the document asks.

use std::{fs, path::Path, process::Command, time::SystemTime};

use super::made::{HOSTILE, MAC, SECOND_NS, START_NS, WrittenStore, batch, capture, key, loss, syn};
use nodewall_evidence::{
    ecs::Lines,
    node::Node,
    record::{Batch, Event, EventKind, Flow, LossKind, Outcome},
};
use serde_json::Value;

fn now_ns() -> u64 {
    u64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos()).unwrap()
}

fn flow(source: &str, last_unix_ns: u64, packets: u64) -> Flow {
    let mut key = key("eth0", Outcome::Drop);
    key.source = Some(source.parse().unwrap());
    Flow {
        key,
        class: Some("cassandra".to_owned()),
        mac: MAC,
        generation: 7,
        first_unix_ns: last_unix_ns - SECOND_NS,
        last_unix_ns,
        packets,
        bytes: 60 * packets,
    }
}

/// The document's own words.
fn question() -> String {
    let document = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/EVIDENCE-EXPORT.md")).unwrap();
    document.split("```sql\n").nth(1).unwrap().split("```").next().unwrap().to_owned()
}

#[test]
fn the_document_s_question_is_answered_over_three_nodes() {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python/bin/python");
    assert!(python.exists(), "no DuckDB in target/python; `cargo xtask setup` installs it");
    let dir = tempfile::tempdir().unwrap();
    let (now, hour) = (now_ns(), 3600 * SECOND_NS);
    // Two nodes within the hour; one node twice; two nodes, but one of them too long ago; IPv6 on all three.
    let nodes = [
        vec![
            flow("203.0.113.7", now - hour / 2, 10),
            flow("198.51.100.1", now - hour / 3, 1),
            flow("192.0.2.9", now, 4),
        ],
        vec![
            flow("203.0.113.7", now - SECOND_NS, 5),
            flow("192.0.2.9", now - 2 * hour, 4),
            flow("2001:db8::1", now, 1),
        ],
        vec![flow("198.51.100.2", now, 9), flow("198.51.100.2", now, 9), flow("2001:db8::1", now, 1)],
    ];
    for (n, mut flows) in nodes.into_iter().enumerate() {
        if n != 1 {
            flows.push(flow("2001:db8::1", now - 5 * SECOND_NS, 1));
        }
        // Lines of every kind, as an export has them.
        let mut made =
            batch(vec![capture("eth0", Outcome::Drop, now, syn())], vec![loss(LossKind::CaptureBudget, now, 1)]);
        made.flows = flows;
        made.events.push(Event {
            unix_ns: now,
            kind: EventKind::Policy,
            detail: "generation 7".into(),
            who: None,
            text: None,
        });
        let lines = Lines::new(Node { name: format!("node-{n}"), id: format!("{n:032}") }).of_batch(1, &made);
        fs::write(dir.path().join(format!("{n}.jsonl")), lines.join("\n") + "\n").unwrap();
    }
    let script = "import duckdb, json, sys\nprint(json.dumps(duckdb.sql(sys.argv[1]).fetchall(), default=str))";
    // Far from UTC: a time that lost its zone on the way would show.
    let output = Command::new(python)
        .env("TZ", "Asia/Tokyo")
        .arg("-c")
        .arg(script)
        .arg(question())
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rows: Value = serde_json::from_slice(&output.stdout).unwrap();
    let short: Vec<(&str, u64, u64)> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row[0].as_str().unwrap(), row[1].as_u64().unwrap(), row[2].as_u64().unwrap()))
        .collect();
    assert_eq!(short, [("2001:db8::1", 3, 4), ("203.0.113.7", 2, 15)]);
}

fn exported(place: &WrittenStore, more: &[&str]) -> Vec<Value> {
    let text = place.said(&[&["events", "export", "--format", "ecs"], more].concat());
    let text = String::from_utf8(text).unwrap();
    assert!(!text.contains(['\u{1b}', '\u{202e}', '\0']), "a screen would obey");
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[test]
fn an_export_has_every_record_with_its_fields() {
    let mut place = WrittenStore::new();
    let mut cut = capture(HOSTILE, Outcome::WouldDrop, START_NS, syn());
    cut.class = None;
    let mut made: Batch = batch(vec![cut], vec![loss(LossKind::NotAttributed, START_NS, 12)]);
    made.flows.push(flow("203.0.113.7", START_NS, 3));
    let who = "{\"uid\":1000,\"command\":\"nodewall block\"}".to_owned();
    let operator = |action: &str, who| Event {
        unix_ns: START_NS,
        kind: EventKind::Operator(action.into()),
        detail: HOSTILE.into(),
        who,
        text: None,
    };
    made.events = vec![operator("block", Some(who)), operator("detach", Some("no JSON".into()))];
    place.writer.append(&made).unwrap();
    let lines = exported(&place, &[]);
    assert_eq!(lines.len(), 5);
    let node = lines[0]["host"]["id"].as_str().unwrap().to_owned();
    let ids: Vec<&str> = lines.iter().map(|line| line["event"]["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["f0", "c0", "l0", "e0", "e1"].map(|end| format!("{node}-1-{end}")));
    for line in &lines {
        assert_eq!((&line["ecs"]["version"], &line["observer"]["product"]), (&"8.17.0".into(), &"nodewall".into()));
        assert_eq!(line["@timestamp"], "2026-03-01T00:00:00.123456789Z");
        assert_eq!((&line["nodewall"]["node"], &line["observer"]["type"]), (&node.as_str().into(), &"firewall".into()));
    }
    let [flow, capture, loss, block, detach] = lines.try_into().unwrap();
    for (path, value) in [
        ("/event/kind", "event".into()),
        ("/event/category", serde_json::json!(["network"])),
        ("/event/type", serde_json::json!(["connection", "denied"])),
        ("/event/action", "drop".into()),
        ("/event/outcome", "failure".into()),
        ("/event/start", "2026-02-28T23:59:59.123456789Z".into()),
        ("/event/duration", SECOND_NS.into()),
        ("/source/ip", "203.0.113.7".into()),
        ("/source/mac", "02-00-00-AA-BB-CC".into()),
        ("/source/packets", 3.into()),
        ("/source/bytes", 180.into()),
        ("/destination/port", 9042.into()),
        ("/network/transport", "tcp".into()),
        ("/network/type", "ipv4".into()),
        ("/network/direction", "ingress".into()),
        ("/rule/name", "cassandra".into()),
        ("/observer/ingress/interface/name", "eth0".into()),
        ("/nodewall/reason", "outsider".into()),
        ("/nodewall/generation", 7.into()),
        ("/nodewall/source_verified", false.into()),
    ] {
        let value: Value = value;
        assert_eq!(flow.pointer(path), Some(&value), "{path} in {flow}");
    }
    assert_eq!(capture["event"]["type"], serde_json::json!(["connection", "allowed"]));
    assert_eq!(capture["observer"]["ingress"]["interface"]["name"], HOSTILE, "whole, and harmless on a terminal");
    assert_eq!((&capture["rule"]["name"], &capture["source"]["packets"]), (&Value::Null, &Value::Null));
    let frame: String = syn().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(capture["nodewall"]["frame"], frame);
    assert_eq!(
        (&loss["nodewall"]["loss"], &loss["nodewall"]["lost"]["packets"]),
        (&"not_attributed".into(), &12.into())
    );
    assert_eq!(block["event"]["category"], serde_json::json!(["configuration"]));
    assert_eq!((&block["event"]["action"], &block["user"]["id"]), (&"block".into(), &"1000".into()));
    assert_eq!((&detach["nodewall"]["who"], &detach["user"]), (&"\"no JSON\"".into(), &Value::Null));

    // Asked for less, the ids stay.
    let some = exported(&place, &["--outcome", "would_drop"]);
    assert_eq!(some[0]["event"]["id"], format!("{node}-1-c0"));
    assert_eq!(exported(&place, &["--since", "2026-03-02"]).len(), 0);
}
