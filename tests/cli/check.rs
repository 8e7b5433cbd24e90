//! `check`: the compiled policy as people and as scripts read it.

use std::path::Path;

use crate::binary::{Scratch, keys};

/// The vendor's table, class by class, as `check` prints it.
const VENDOR: [(&str, &str, &str); 9] = [
    ("agent", "cluster", "8443"),
    ("cassandra", "cluster", "7000-7001 7199 9042"),
    ("elasticsearch", "cluster", "9200 9300"),
    ("hazelcast", "cluster", "5701-5711"),
    ("https", "public", "443"),
    ("nodekeeper", "cluster", "8018"),
    ("upgrade-ui", "cluster", "8019"),
    ("web-api", "cluster", "8020-8021"),
    ("web-nginx", "cluster", "8022"),
];

#[test]
fn the_embedded_default_is_the_vendors_table() {
    if Path::new("/etc/nodewall/nodewall.toml").exists() {
        println!("SKIPPED the_embedded_default_is_the_vendors_table: this machine has a configuration of its own");
        return;
    }
    let place = Scratch::new();
    let ran = place.run(&["check", "--peer", "10.0.0.11", "--peer", "2001:db8:1::/64"]).exits(0);
    assert!(ran.err.is_empty(), "{}", ran.err);
    for (class, access, ports) in VENDOR {
        let row = ran
            .out
            .lines()
            .find(|line| line.split_whitespace().next() == Some(class))
            .unwrap_or_else(|| panic!("{}", ran.out));
        assert_eq!(row.split_whitespace().nth(1), Some(access), "{row}");
        assert!(row.contains(&format!(" {ports} ")), "{row}");
    }
    for line in ["config      embedded default", "mode        enforce", "peers       10.0.0.11 2001:db8:1::/64"] {
        assert!(ran.out.lines().any(|l| l == line), "{line:?}:\n{}", ran.out);
    }
    assert!(ran.out.lines().all(|line| line == line.trim_end()), "trailing blanks:\n{}", ran.out);
    assert!(place.is_untouched());
}

#[test]
fn json_has_the_whole_policy() {
    let place = Scratch::new();
    let config = place.file(
        "nodewall.toml",
        "mode = \"audit\"\ninterfaces = [\"eth0\", \"bond*\"]\n[peers]\nstatic = [\"10.0.0.11\"]\n\
         [[rule]]\nname = \"jmx\"\nports = [\"7199\", \"7210-7219\"]\nprotocols = [\"tcp\"]\naccess = \"closed\"\nalso_allow = [\"192.0.2.0/24\"]\n",
    );
    let report = place.run(&["check", "--config", &config, "--peer", "10.0.0.12", "-o", "json"]).exits(0).json();
    assert_eq!(
        keys(&report),
        [
            "attach_mode",
            "basis",
            "classes",
            "config",
            "interfaces",
            "later_fragments",
            "mode",
            "peers",
            "policy_sha256",
            "profile",
            "single_node",
            "tunnels",
            "warnings"
        ]
    );
    assert_eq!(report["config"], config.as_str());
    assert_eq!(report["mode"], "audit");
    assert_eq!(report["interfaces"], serde_json::json!(["eth0", "bond*"]));
    assert_eq!(report["peers"], serde_json::json!(["10.0.0.11", "10.0.0.12"]));
    let sha256 = report["policy_sha256"].as_str().unwrap();
    assert!(sha256.len() == 64 && sha256.bytes().all(|b| b.is_ascii_hexdigit()), "{sha256}");
    let classes = report["classes"].as_array().unwrap();
    let class = |name: &str| classes.iter().find(|class| class["name"] == name).unwrap_or_else(|| panic!("{report:#}"));
    assert_eq!(keys(class("jmx")), ["access", "also_allow", "audited", "from", "name", "note", "ports"]);
    assert_eq!(class("jmx")["ports"], serde_json::json!(["tcp/7199", "tcp/7210-7219"]));
    assert_eq!(class("jmx")["access"], "closed");
    assert_eq!(class("jmx")["also_allow"], serde_json::json!(["192.0.2.0/24"]));
    assert_eq!(class("jmx")["from"], "own rule");
    // The rule took the port for TCP, the profile's class keeps it for UDP.
    let cassandra = class("cassandra")["ports"].as_array().unwrap();
    assert!(!cassandra.contains(&"tcp/7199".into()) && cassandra.contains(&"udp/7199".into()), "{cassandra:?}");

    let one_line = place.run(&["check", "--config", &config, "--peer", "10.0.0.12", "-o", "jsonl"]).exits(0).jsonl();
    assert_eq!(one_line, [report]);
}

#[test]
fn the_hash_is_of_the_meaning() {
    let place = Scratch::new();
    let sha256 = |text: &str| {
        let config = place.file("nodewall.toml", text);
        place.run(&["check", "--config", &config, "-o", "json"]).exits(0).json()["policy_sha256"].clone()
    };
    let written = sha256("[peers]\nstatic = [\"10.0.0.11\", \"10.0.0.12\"]\n");
    assert_eq!(written, sha256("# the same\n[peers]\nstatic = [\"10.0.0.12\", \"10.0.0.11\"]\n"));
    assert_ne!(written, sha256("[peers]\nstatic = [\"10.0.0.11\", \"10.0.0.13\"]\n"));
}

#[test]
fn enforcing_without_peers_is_refused_with_three_ways_out() {
    let place = Scratch::new();
    let empty = place.file("nodewall.toml", "");
    for command in ["check", "apply", "run"] {
        let ran = place.run(&[command, "--config", &empty]).exits(1);
        for way in ["--peer", "single_node = true", "audit"] {
            assert!(ran.err.contains(way), "{command}: {way} is not named\n{}", ran.err);
        }
    }
    assert!(place.is_untouched());
    // What was compiled is printed all the same, and each way out is one.
    assert!(place.run(&["check", "--config", &empty, "-o", "json"]).exits(1).json()["classes"].is_array());
    place.run(&["check", "--config", &empty, "--peer", "10.0.0.11"]).exits(0);
    place.run(&["check", "--config", &empty, "--mode", "audit"]).exits(0);
    let single = place.file("single.toml", "single_node = true\n");
    place.run(&["check", "--config", &single]).exits(0);
}
