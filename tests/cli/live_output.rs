//! The shapes that scripts read from a live node, key by key and type by type.

use nodewall_testbed::skip_unless_privileged;
use serde_json::json;

use crate::{binary::keys, frames, live::Live};

#[test]
fn a_node_without_a_policy_says_so() {
    if skip_unless_privileged("a_node_without_a_policy_says_so") {
        return;
    }
    let live = Live::new();
    let status = live.node(&["status", "-o", "json"]).exits(3);
    assert!(status.err.is_empty(), "{}", status.err);
    let report = status.json();
    assert_eq!(
        keys(&report),
        [
            "agent",
            "audited",
            "blocks",
            "cut_peers",
            "evidence",
            "file_mode",
            "generation",
            "healthy",
            "interfaces",
            "left_peers",
            "mission_control",
            "mode",
            "open_tunnels",
            "peers",
            "policy_sha256",
            "problems",
            "push",
            "refused",
            "repairs",
            "trial",
            "will_change"
        ]
    );
    assert_eq!(
        [
            &report["mode"],
            &report["generation"],
            &report["policy_sha256"],
            &report["interfaces"],
            &report["peers"],
            &report["healthy"]
        ],
        [&json!(null), &json!(null), &json!(null), &json!([]), &json!(0), &json!(false)]
    );
    assert!(report["problems"][0].as_str().unwrap().contains("`nodewall apply`"), "{report}");
    for command in [&["counters"][..], &["explain", "--source", "10.77.0.11", "--port", "443"]] {
        let ran = live.node(&[command, &["-o", "json"]].concat()).exits(1);
        assert!(
            ran.out.is_empty() && ran.err.contains("no policy is in force") && ran.err.contains("nodewall apply"),
            "{}",
            ran.err
        );
    }
    assert!(live.place.is_untouched());
    assert_eq!(live.node(&["detach", "-o", "json"]).exits(0).json(), json!({"removed": []}));
}

#[test]
fn status_and_counters_are_as_the_contract_says() {
    if skip_unless_privileged("status_and_counters_are_as_the_contract_says") {
        return;
    }
    let live = Live::new();
    let applied = live.apply(&["--peer", "10.77.0.12", "--peer", "fd77::/64", "-o", "json"]).exits(0).json();
    assert_eq!(
        keys(&applied),
        ["audited", "generation", "interfaces", "mode", "policy_sha256", "released", "warnings"]
    );
    live.send(9042, 2);
    live.send(443, 1);
    live.send(12_345, 4);

    let status = live.node(&["status", "-o", "json"]).exits(3);
    assert!(status.err.is_empty(), "{}", status.err);
    let report = status.json();
    assert_eq!(report["mode"], "enforce");
    assert_eq!(report["generation"], 1);
    assert_eq!(report["policy_sha256"], applied["policy_sha256"]);
    assert_eq!(report["peers"], 2);
    // Nobody looks after it.
    assert_eq!((&report["healthy"], report["problems"].as_array().unwrap().len()), (&json!(false), 1));
    assert!(report["problems"][0].as_str().unwrap().starts_with("no agent runs"), "{report}");
    let eth0 = &report["interfaces"][0];
    assert_eq!(
        keys(eth0),
        ["attach_mode", "egress", "name", "next_try_unix_ns", "program_id", "reason", "since_unix_ns", "state"]
    );
    assert_eq!([&eth0["name"], &eth0["attach_mode"], &eth0["state"]], ["eth0", "native", "covered"]);
    assert!(eth0["reason"].is_null() && eth0["since_unix_ns"].is_u64(), "{eth0}");
    let shown = live.lab.node().netns().ip(&["-d", "link", "show", "dev", "eth0"]).unwrap();
    assert!(shown.contains(&format!("prog/xdp id {} ", report["interfaces"][0]["program_id"])), "{shown}");

    let counters = live.node(&["counters", "-o", "json"]).exits(0);
    assert!(counters.err.is_empty(), "{}", counters.err);
    let report = counters.json();
    assert_eq!(keys(&report), ["generation", "rows"]);
    assert_eq!(report["generation"], 1);
    let rows = report["rows"].as_array().unwrap();
    for row in rows {
        assert_eq!(keys(row), ["bytes", "class", "direction", "outcome", "packets", "port", "protocol", "reason"]);
        assert!(row["packets"].as_u64().unwrap() > 0 && row["bytes"].is_u64(), "{row}");
        assert!(row["direction"] == "in" || (row["direction"] == "out" && row["outcome"] == "pass"), "{row}");
    }
    let row = |class: Option<&str>, port: Option<u16>, outcome: &str, reason: &str, packets: u64| {
        let wanted = json!([class, port, "udp", outcome, reason, packets]);
        let inbound = rows.iter().filter(|r| r["direction"] == "in");
        let found =
            inbound.map(|r| json!([r["class"], r["port"], r["protocol"], r["outcome"], r["reason"], r["packets"]]));
        assert_eq!(found.filter(|r| *r == wanted).count(), 1, "{wanted}\n{report:#}");
    };
    row(Some("cassandra"), Some(9042), "drop", "outsider", 2);
    row(Some("https"), Some(443), "pass", "public", 1);
    row(None, None, "pass", "unmanaged", 4);

    let lines = live.node(&["counters", "-o", "jsonl"]).exits(0).jsonl();
    assert!(lines.iter().any(|line| line["port"] == 9042 && line["packets"] == 2), "{lines:?}");
    let table = live.node(&["counters"]).exits(0).out;
    let cells: Vec<&str> = table.lines().find(|l| l.starts_with("cassandra")).unwrap().split_whitespace().collect();
    assert_eq!(cells, ["cassandra", "9042", "udp", "in", "drop", "outsider", "2", "104"], "{table}");
}

#[test]
fn explain_and_replay_judge_by_what_is_in_force() {
    if skip_unless_privileged("explain_and_replay_judge_by_what_is_in_force") {
        return;
    }
    let live = Live::new();
    live.apply(&["--peer", "10.77.0.11", "--peer", "192.0.2.0/24"]).exits(0);
    live.apply(&["--peer", "10.77.0.11", "--peer", "192.0.2.0/24"]).exits(0);
    let mut packets = Vec::new();
    let mut explained = Vec::new();
    for (source, reason, peer) in [
        ("10.77.0.11", "peer", Some("10.77.0.11")),
        ("192.0.2.200", "peer", Some("192.0.2.0/24")),
        ("198.51.100.1", "outsider", None),
        // The node's own addresses come from no wire.
        ("10.77.0.1", "spoofed_source", None),
        ("fd77::1", "spoofed_source", None),
        ("fd77::11", "outsider", None),
    ] {
        let report = live.node(&["explain", "--source", source, "--port", "9042", "-o", "json"]).exits(0).json();
        assert_eq!(json!([report["reason"], report["peer"]]), json!([reason, peer]), "{source}");
        assert_eq!(json!([report["class"], report["generation"], report["mode"]]), json!(["cassandra", 2, "enforce"]));
        packets.push(frames::tcp(source, 9042));
        explained.push(json!([report["verdict"], report["reason"], report["class"]]));
    }
    let capture = live.place.file("a.pcap", frames::pcap(&packets));
    for engine in ["host", "kernel"] {
        let ran = live.node(&["replay", &capture, "-o", "jsonl", "--engine", engine]).exits(0);
        let lines: Vec<_> = ran.jsonl().iter().map(|l| json!([l["verdict"], l["reason"], l["class"]])).collect();
        assert_eq!(lines, explained, "{engine}");
        assert!(ran.err.contains("the live policy, generation 2"), "{}", ran.err);
    }
    // What the flags describe is judged by, not what is in force.
    let report =
        live.node(&["explain", "--peer", "198.51.100.1", "--source", "198.51.100.1", "--port", "9042", "-o", "json"]);
    assert_eq!(report.exits(0).json()["reason"], "peer");
}

#[test]
fn degraded_is_told_by_the_exit_code() {
    if skip_unless_privileged("degraded_is_told_by_the_exit_code") {
        return;
    }
    let live = Live::new();
    let ran = live.apply(&["--interface", "eth9", "--peer", "10.77.0.11", "-o", "json"]).exits(3);
    let states = ran.json()["interfaces"].as_array().unwrap().clone();
    let eth9 = states.iter().find(|interface| interface["name"] == "eth9").unwrap();
    assert_eq!(eth9["state"], "missing");
    assert!(ran.err.contains("eth9") && ran.err.contains("it is attached when it appears"), "{}", ran.err);
    // An addressed Ethernet interface that nothing covers.
    live.lab
        .node()
        .netns()
        .ip_batch(
            "link add extra type veth peer name extra-far\naddr add 198.51.100.1/24 dev extra\nlink set extra up\n",
        )
        .unwrap();
    let report = live.node(&["status", "-o", "json"]).exits(3).json();
    assert_eq!(report["healthy"], false);
    assert!(
        report["problems"].as_array().unwrap().iter().any(|p| p.as_str().unwrap().starts_with("extra ")),
        "{report:#}"
    );
}

#[test]
fn detach_removes_everything_and_may_be_repeated() {
    if skip_unless_privileged("detach_removes_everything_and_may_be_repeated") {
        return;
    }
    let live = Live::new();
    live.apply(&["--peer", "10.77.0.11"]).exits(0);
    let first = live.node(&["detach", "-o", "json"]).exits(0);
    assert_eq!(first.json()["removed"].as_array().unwrap().len(), 1);
    assert!(first.err.contains("the node is open"), "{}", first.err);
    assert!(!live.place.bpffs().exists());
    let shown = live.lab.node().netns().ip(&["-d", "link", "show", "dev", "eth0"]).unwrap();
    assert!(!shown.contains("xdp"), "{shown}");
    assert_eq!(live.node(&["detach"]).exits(0).out, "nothing was attached\n");
    live.node(&["status"]).exits(3);
    // A detach forgets: counting begins anew.
    live.apply(&["--peer", "10.77.0.12"]).exits(0);
    assert_eq!(live.generation(), 1);
    assert_eq!(live.udp_rows(9042), Vec::<serde_json::Value>::new());
}
