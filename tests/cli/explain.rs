//! `explain`: one packet's verdict and why, under a configuration; and that `replay` says the same of the same packet.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::{
    binary::{Scratch, keys},
    frames,
};

const CONFIG: &str = "[peers]\nstatic = [\"10.0.0.11\", \"10.1.0.0/16\", \"2001:db8:1::/64\", \"2001:db8:2::7\"]\n\
    [[rule]]\nname = \"jmx\"\nports = [\"7199\"]\naccess = \"cluster\"\nalso_allow = [\"192.0.2.0/24\", \"2001:db8:9::/48\"]\n\
    [[rule]]\nname = \"shut\"\nports = [\"7777\"]\naccess = \"closed\"\nalso_allow = [\"192.0.2.9\"]\n";

/// Source, port, verdict, reason, class, peer.
type Case = (&'static str, u16, &'static str, &'static str, Option<&'static str>, Option<&'static str>);

const CASES: &[Case] = &[
    ("10.0.0.11", 9042, "pass", "peer", Some("cassandra"), Some("10.0.0.11")),
    ("10.1.200.3", 9042, "pass", "peer", Some("cassandra"), Some("10.1.0.0/16")),
    ("10.2.0.1", 9042, "drop", "outsider", Some("cassandra"), None),
    ("192.0.2.66", 5701, "drop", "outsider", Some("hazelcast"), None),
    ("192.0.2.66", 443, "pass", "public", Some("https"), None),
    ("192.0.2.66", 22, "pass", "unmanaged", None, None),
    ("192.0.2.66", 7199, "pass", "allowed_source", Some("jmx"), None),
    ("198.51.100.1", 7199, "drop", "outsider", Some("jmx"), None),
    ("192.0.2.9", 7777, "pass", "allowed_source", Some("shut"), None),
    ("10.0.0.11", 7777, "drop", "closed", Some("shut"), None),
    ("127.0.0.1", 9042, "drop", "spoofed_source", Some("cassandra"), None),
    ("0.0.0.0", 9042, "drop", "spoofed_source", Some("cassandra"), None),
    ("127.0.0.1", 443, "pass", "public", Some("https"), None),
    ("2001:db8:1::5", 9300, "pass", "peer", Some("elasticsearch"), Some("2001:db8:1::/64")),
    ("2001:db8:2::7", 9300, "pass", "peer", Some("elasticsearch"), Some("2001:db8:2::7")),
    ("2001:db8:2::8", 9300, "drop", "outsider", Some("elasticsearch"), None),
    ("2001:db8:9:1::1", 7199, "pass", "allowed_source", Some("jmx"), None),
    ("::ffff:10.0.0.11", 9042, "drop", "spoofed_source", Some("cassandra"), None),
    ("::1", 8443, "drop", "spoofed_source", Some("agent"), None),
    ("2001:db8::66", 443, "pass", "public", Some("https"), None),
    ("2001:db8::66", 65535, "pass", "unmanaged", None, None),
    ("2001:db8::66", 0, "pass", "unmanaged", None, None),
];

#[test]
fn every_kind_of_source_and_replay_agrees() {
    let place = Scratch::new();
    let config = place.file("nodewall.toml", CONFIG);
    let mut packets = Vec::new();
    let mut explained = Vec::new();
    for (source, port, verdict, reason, class, peer) in CASES {
        for (protocol, number) in [("tcp", frames::TCP), ("udp", frames::UDP)] {
            let port_text = port.to_string();
            let arguments =
                ["explain", "--config", &config, "--source", source, "--port", &port_text, "--protocol", protocol];
            let ran = place.run(&[&arguments[..], &["-o", "json"]].concat()).exits(0);
            assert!(ran.err.is_empty(), "{}", ran.err);
            let report = ran.json();
            assert_eq!(
                keys(&report),
                ["basis", "class", "generation", "left", "mode", "outcome", "peer", "reason", "verdict", "why"]
            );
            let got = json!([report["verdict"], report["reason"], report["class"], report["peer"]]);
            assert_eq!(got, json!([verdict, reason, class, peer]), "{source} {protocol}/{port}");
            assert!(report["generation"].is_u64() && report["why"].as_str().unwrap().ends_with('.'), "{report}");
            packets.push(frames::plain(source.parse::<IpAddr>().unwrap(), number, *port));
            explained.push(json!([report["verdict"], report["reason"], report["class"]]));
        }
    }
    let capture = place.file("a.pcap", frames::pcap(&packets));
    let replayed = place.run(&["replay", &capture, "--config", &config, "-o", "jsonl"]).exits(0).jsonl();
    let replayed: Vec<Value> =
        replayed.iter().map(|line| json!([line["verdict"], line["reason"], line["class"]])).collect();
    assert_eq!(explained, replayed);
    assert!(place.is_untouched());
}

#[test]
fn for_people_it_is_a_sentence_that_answers() {
    let place = Scratch::new();
    let config = place.file("nodewall.toml", CONFIG);
    let text = |flags: &[&str]| {
        let arguments = ["explain", "--config", &config, "--source", "10.1.200.3", "--port", "9042"];
        place.run(&[&arguments, flags].concat()).exits(0).out
    };
    let enforced = text(&[]);
    assert!(
        enforced.starts_with("10.1.200.3 -> tcp/9042 (cassandra): pass, reason peer, peer 10.1.0.0/16\n"),
        "{enforced}"
    );
    assert!(!enforced.contains("audit"), "{enforced}");
    assert!(text(&["--mode", "audit"]).contains("audit mode: nothing is dropped"));
}

#[test]
fn flags_describe_a_policy_too() {
    let place = Scratch::new();
    let of = |source| {
        place
            .run(&["explain", "--peer", "10.7.0.0/16", "--source", source, "--port", "9042", "-o", "json"])
            .exits(0)
            .json()["reason"]
            .clone()
    };
    assert_eq!(of("10.7.1.2"), "peer");
    assert_eq!(of("10.8.1.2"), "outsider");
}

#[test]
fn a_peer_prefix_is_named_as_it_was_written_also_where_the_table_has_it_in_pieces() {
    let place = Scratch::new();
    // More lengths than the table keeps, each inside the one before; /30 is itself surrounded.
    let prefixes = [
        "10.0.0.0/8",
        "10.32.0.0/11",
        "10.32.0.0/14",
        "10.32.0.0/17",
        "10.32.0.0/20",
        "10.32.0.0/23",
        "10.32.0.0/26",
        "10.32.0.4/30",
    ];
    let quoted: Vec<String> = prefixes.iter().map(|p| format!("{p:?}")).collect();
    let config = place.file("nodewall.toml", format!("[peers]\nstatic = [{}]\n", quoted.join(", ")));
    for (source, prefix) in [
        ("10.32.0.5", "10.32.0.4/30"),
        ("10.32.0.9", "10.32.0.0/26"),
        ("10.32.1.1", "10.32.0.0/23"),
        ("10.32.3.1", "10.32.0.0/20"),
        ("10.32.127.1", "10.32.0.0/17"),
        ("10.33.0.1", "10.32.0.0/14"),
        ("10.40.0.1", "10.32.0.0/11"),
        ("10.200.0.1", "10.0.0.0/8"),
    ] {
        let arguments = ["explain", "--config", &config, "--source", source, "--port", "9042", "-o", "json"];
        assert_eq!(place.run(&arguments).exits(0).json()["peer"], prefix, "{source}");
    }
}
