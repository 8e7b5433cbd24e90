//! `doctor`: its JSON, its text, its exit codes, with and without privilege; and that it changes nothing.

use std::os::unix::fs::PermissionsExt;

use nodewall_testbed::{Lab, skip_unless_privileged};

use crate::binary::{Scratch, keys};

const SUBJECTS: [&str; 7] = ["kernel", "data_path", "interfaces", "replies", "listeners", "firewall", "files"];
const STATUSES: [&str; 6] = ["ok", "note", "unknown", "not_looked_at", "degraded", "failed"];

#[test]
fn without_privilege_it_looks_at_what_it_may_and_says_what_it_did_not() {
    let place = Scratch::new();
    let ran = place.run_unprivileged(&["doctor", "-o", "json"]).exits(4);
    let report = ran.json();
    assert_eq!(keys(&report), ["findings", "status"]);
    let findings = report["findings"].as_array().unwrap();
    for finding in findings {
        assert_eq!(keys(finding), ["advice", "check", "found", "status", "subject", "why"], "{finding}");
        assert!(SUBJECTS.contains(&finding["subject"].as_str().unwrap()), "{finding}");
        assert!(STATUSES.contains(&finding["status"].as_str().unwrap()), "{finding}");
        assert_eq!(finding["status"] == "ok", finding["why"].is_null(), "{finding}");
    }
    let of = |subject: &str, status: &str| {
        findings.iter().filter(|f| f["subject"] == subject && f["status"] == status).count()
    };
    assert_eq!((of("kernel", "not_looked_at"), of("data_path", "not_looked_at")), (1, 1), "{findings:#?}");
    // This needs no privilege.
    assert!(findings.iter().any(|f| f["check"] == "local-ports" && f["status"] != "not_looked_at"), "{findings:#?}");
    assert!(place.is_untouched());

    let lines = place.run_unprivileged(&["doctor", "-o", "jsonl"]).exits(4).jsonl();
    assert_eq!(lines.len(), findings.len());
}

#[test]
fn the_text_is_grouped_and_short_where_all_is_well() {
    let place = Scratch::new();
    let out = place.run_unprivileged(&["doctor"]).exits(4).out;
    let titles: Vec<&str> = out.lines().filter(|line| !line.starts_with(' ') && !line.is_empty()).collect();
    let wanted = [
        "kernel",
        "data path",
        "interfaces",
        "replies and fragments",
        "listening sockets",
        "the host's own packet filter",
        "files",
    ];
    // The last line counts.
    let (counts, titles) = titles.split_last().unwrap();
    assert!(titles.iter().all(|title| wanted.contains(title)), "{titles:?}");
    assert!(titles.contains(&"kernel") && titles.contains(&"files"), "{titles:?}");
    assert!(counts.contains("not looked at"), "{counts}");
    let mut lines = out.lines().peekable();
    while let Some(line) = lines.next() {
        if line.starts_with("  ok ") {
            let next = lines.peek().copied().unwrap_or_default();
            assert!(!next.trim_start().starts_with("why") && !next.trim_start().starts_with("do"), "{line}\n{next}");
        }
    }
}

#[test]
fn a_broken_configuration_is_a_finding_and_the_rest_is_looked_at() {
    if skip_unless_privileged("a_broken_configuration_is_a_finding_and_the_rest_is_looked_at") {
        return;
    }
    let place = Scratch::new();
    let lab = Lab::builder().direct_pair().build().unwrap();
    let config = place.file("nodewall.toml", "mode = \"enforced\"\n");
    let report = place.run_in(lab.node().netns(), &["doctor", "--config", &config, "-o", "json"]).exits(3).json();
    assert_eq!(report["status"], "failed");
    let findings = report["findings"].as_array().unwrap();
    let broken = findings.iter().find(|finding| finding["check"] == "configuration").unwrap();
    assert!(broken["found"].as_str().unwrap().contains("nodewall.toml:1:8"), "{broken}");
    assert!(findings.iter().any(|f| f["check"] == "features" && f["status"] == "ok"), "{findings:#?}");
    let compared = findings.iter().find(|f| f["subject"] == "listeners").unwrap();
    assert_eq!(compared["status"], "unknown");
}

#[test]
fn a_configuration_that_others_can_write_is_degraded() {
    if skip_unless_privileged("a_configuration_that_others_can_write_is_degraded") {
        return;
    }
    let place = Scratch::new();
    let lab = Lab::builder().direct_pair().build().unwrap();
    let netns = lab.node().netns();
    let config = place.file("nodewall.toml", "interfaces = [\"eth0\"]\n[peers]\nstatic = [\"10.77.0.11\"]\n");
    let doctor = || place.run_in(netns, &["doctor", "--config", &config, "-o", "json"]);
    place.run_in(netns, &["apply", "--config", &config]).exits(0);
    let well = doctor().exits(0).json();
    assert!(["ok", "note", "unknown"].contains(&well["status"].as_str().unwrap()), "{well}");
    std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o666)).unwrap();
    let report = doctor().exits(3).json();
    let findings = report["findings"].as_array().unwrap();
    let worst: Vec<_> = findings.iter().filter(|f| f["status"] == "degraded").collect();
    assert!(worst.len() == 1 && worst[0]["found"].as_str().unwrap().contains("mode 0666"), "{worst:#?}");

    // Another policy than the one in force.
    std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o644)).unwrap();
    place.file("nodewall.toml", "interfaces = [\"eth0\"]\n[peers]\nstatic = [\"10.77.0.12\"]\n");
    let report = doctor().exits(0).json();
    let drift = report["findings"].as_array().unwrap().iter().find(|f| f["check"] == "drift").cloned();
    assert_eq!(drift.unwrap()["status"], "note");
}
