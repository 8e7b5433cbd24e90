//! What is written down against what is exported: docs/METRICS.md, docs/API.md, the alert rules and the dashboard. The rules are judged by the real promtool.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use nodewall::export::METRICS;
use nodewall_testbed::{skip_unless_privileged, until};
use serde_json::Value;

use super::{
    client::{PORT, api, request, served},
    exact::{Mix, by_cpu},
    prometheus::promtool,
};

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(file(path)).unwrap()
}

/// Every word that names one of our metrics.
fn metrics_in(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    words.filter(|word| word.starts_with("nodewall_")).collect()
}

fn exported() -> BTreeSet<&'static str> {
    METRICS.iter().map(|metric| metric.name).collect()
}

#[test]
fn the_document_names_every_metric_with_its_labels_and_no_other() {
    let text = read("docs/METRICS.md");
    // Rows of the tables: | `name` | kind | `label`, `label` | meaning |
    let rows = text.lines().filter(|line| line.starts_with("| `nodewall_"));
    let told: BTreeMap<&str, (&str, Vec<&str>)> = rows
        .map(|row| {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let labels = cells[3].split(", ").map(|label| label.trim_matches('`')).filter(|label| !label.is_empty());
            (cells[1].trim_matches('`'), (cells[2], labels.collect()))
        })
        .collect();
    for metric in METRICS {
        let (kind, labels) =
            told.get(metric.name).unwrap_or_else(|| panic!("{} is not in docs/METRICS.md", metric.name));
        assert_eq!(*kind, format!("{:?}", metric.kind).to_lowercase(), "{}", metric.name);
        assert_eq!(labels, metric.labels, "{}", metric.name);
    }
    assert_eq!(told.keys().copied().collect::<BTreeSet<_>>(), exported());
}

#[test]
fn every_alert_fires_when_it_should_and_only_then() {
    let (content, said) =
        promtool(&["test", "rules", file("packaging/prometheus/rules_test.yml").to_str().unwrap()], "");
    assert!(content, "{said}");
    let (content, said) =
        promtool(&["check", "rules", "--lint-fatal", file("packaging/prometheus/rules.yml").to_str().unwrap()], "");
    assert!(content, "{said}");
    let rules = read("packaging/prometheus/rules.yml");
    let tests = read("packaging/prometheus/rules_test.yml");
    for alert in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        let fired =
            tests.split("alertname: ").filter(|case| case.starts_with(alert) && case.contains("exp_labels:")).count();
        let silent = tests
            .split("alertname: ")
            .filter(|case| case.starts_with(alert) && case.contains("exp_alerts: []"))
            .count();
        assert!(fired > 0 && silent > 1, "{alert} is not tested both ways");
    }
    assert!(metrics_in(&rules).is_subset(&exported()), "{:?}", metrics_in(&rules));
    assert!(metrics_in(&tests).is_subset(&exported()), "{:?}", metrics_in(&tests));
}

/// Every expression anywhere in a dashboard.
fn expressions<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(text) if key == "expr" => found.push(text),
                    other => expressions(other, found),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| expressions(value, found)),
        _ => {}
    }
}

#[test]
fn the_dashboard_asks_only_for_what_is_exported_and_prometheus_understands_it() {
    let text = read("packaging/grafana/nodewall.json");
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 36 && dashboard["uid"] == "nodewall");
    let variables: Vec<_> =
        dashboard["templating"]["list"].as_array().unwrap().iter().map(|v| v["name"].as_str().unwrap()).collect();
    assert_eq!(variables, ["datasource", "job", "instance"]);
    let mut ids = BTreeSet::new();
    // A row holds its panels.
    let (rows, mut panels): (Vec<&Value>, Vec<&Value>) =
        dashboard["panels"].as_array().unwrap().iter().partition(|panel| panel["type"] == "row");
    for row in rows {
        assert!(ids.insert(row["id"].as_u64().unwrap()) && row["collapsed"] == true, "{row}");
        panels.extend(row["panels"].as_array().unwrap());
    }
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{panel}");
        assert!(!panel["targets"].as_array().unwrap().is_empty() && panel["gridPos"]["w"].as_u64().unwrap() <= 24);
    }
    let mut found = Vec::new();
    expressions(&dashboard, &mut found);
    assert!(found.len() > ids.len());
    let mut rules = String::from("groups:\n  - name: dashboard\n    rules:\n");
    for (n, expression) in found.iter().enumerate() {
        let plain = expression
            .replace("$__rate_interval", "5m")
            .replace("$__interval", "1m")
            .replace("$job", ".*")
            .replace("$instance", ".*");
        assert!(!plain.contains('$'), "{expression}");
        rules.push_str(&format!("      - record: dashboard:{n}\n        expr: {}\n", Value::from(plain)));
    }
    let generated = tempfile::NamedTempFile::new().unwrap();
    fs::write(generated.path(), rules).unwrap();
    let (content, said) = promtool(&["check", "rules", generated.path().to_str().unwrap()], "");
    assert!(content && said.contains(&format!("{} rules found", found.len())), "{said}");
    let asked: BTreeSet<_> = found.iter().flat_map(|expression| metrics_in(expression)).collect();
    assert!(asked.is_subset(&exported()), "{asked:?}");
}

/// The API is what the commands print, and each of its addresses is in the document.
#[test]
fn the_api_says_what_the_commands_print() {
    if skip_unless_privileged("the_api_says_what_the_commands_print") {
        return;
    }
    let node = served();
    // Rows have a shape once there are some; whatever comes later has the same.
    by_cpu(&node, &Mix::of(&node).peer_9042, 1);
    until("the recorder has told of itself", || node.json("status")["evidence"].is_object());
    let document = read("docs/API.md");
    for (path, command) in [("status", node.json("status")), ("counters", node.json("counters"))] {
        assert!(document.contains(&format!("## GET /api/v1/{path}\n")), "{path}");
        assert_eq!(keys(&api(&node, &format!("/api/v1/{path}")).json()), keys(&command), "{path}");
    }
    let traffic = node.nodewall("counters", &["--per-peer", "-o", "json"]);
    let traffic: Value = serde_json::from_str(&traffic.stdout).unwrap_or_else(|error| panic!("{error}: {traffic:?}"));
    assert_eq!(api(&node, "/api/v1/peer-traffic").json(), traffic);
    assert!(document.contains("## GET /api/v1/peer-traffic\n"));
    let denied = api(&node, "/api/v1/denied-sources").json();
    assert!(denied["sources"].is_array() && document.contains("## GET /api/v1/denied-sources\n"), "{denied}");
    let listed = node.nodewall("peers", &["list", "-o", "json"]);
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap_or_else(|error| panic!("{error}: {listed:?}"));
    let mut told = api(&node, "/api/v1/peers").json();
    let mut listed = listed;
    for peers in [&mut told, &mut listed] {
        // Time goes on between the two.
        peers["sources"].as_array_mut().unwrap().iter_mut().for_each(|source| drop(source["age_seconds"].take()));
    }
    assert_eq!(told, listed);
    assert!(document.contains("## GET /api/v1/peers\n") && document.contains("## GET /api/v1/stream\n"));
    let status = api(&node, "/api/v1/status");
    for key in status.json().as_object().unwrap().keys() {
        assert!(document.contains(&format!("`{key}`")), "`{key}` of the status is not in docs/API.md");
    }
    assert_eq!(status.headers["content-type"], "application/json");
    let head = request(node.netns(), PORT, "HEAD", "/api/v1/status", &[]);
    assert_eq!(head.status, 401);
}

/// The shape of a value: its keys, at every depth.
fn keys(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Object(map) => map
            .iter()
            .flat_map(|(key, value)| {
                let below = keys(value).into_iter().map(|path| format!("{key}.{path}")).collect::<Vec<_>>();
                [key.clone()].into_iter().chain(below)
            })
            .collect(),
        Value::Array(list) => list.iter().flat_map(keys).collect(),
        _ => BTreeSet::new(),
    }
}
