//! `nodewall peers`: what it prints, with what exit codes, and what it leaves on disk.

use nodewall_testbed::skip_unless_privileged;

use super::world::{SOURCES, World, dns, file, net, who};
use crate::binary::{Scratch, keys};

/// A place whose state directory holds this registry.
fn recorded(world: &mut World) -> Scratch {
    let place = Scratch::new();
    let state = nodewall_host::state::StateDir::create(&place.state()).unwrap();
    // As if it all had just happened.
    world.registry.save(&state).unwrap();
    place
}

fn all_states() -> World {
    let mut world = World::new(SOURCES);
    world.now = nodewall_host::state::Clock::now();
    world.configure(SOURCES);
    world.says(&dns("a"), &["10.0.0.1", "10.0.0.2", "10.0.0.3", "192.0.2.7"]);
    world.says(&dns("a"), &["10.0.0.1", "10.0.0.3", "192.0.2.7"]);
    world.says(&file(), &["10.0.0.1", "10.0.0.3"]);
    world.fails(&dns("b"), "NXDOMAIN");
    world.registry.operator_remove(net("10.0.0.3"), &who(), &world.now).unwrap();
    world
        .registry
        .operator_add(net("10.0.0.9"), Some(std::time::Duration::from_secs(86_400)), &who(), &world.now)
        .unwrap();
    world
}

#[test]
fn list_shows_state_sources_and_age() {
    let place = recorded(&mut all_states());
    let ran = place.run(&["peers", "list"]).exits(0);
    for row in [
        "10.0.0.1   active",
        "10.0.0.2   leaving until 20",
        "10.0.0.3   tombstone",
        "10.0.0.9   active for 23h 59m",
        "192.0.2.7  held: outside of [peers] within",
    ] {
        assert!(ran.out.lines().any(|line| line.starts_with(row)), "{row}:\n{}", ran.out);
    }
    assert!(ran.out.contains("dns:a.example file:/etc/peers static"), "{}", ran.out);
    assert!(ran.out.contains("never") && ran.out.contains("NXDOMAIN"), "{}", ran.out);
    assert!(ran.err.contains("1 peer is held") && ran.err.contains("the source dns:b.example: "), "{}", ran.err);

    let json = place.run(&["peers", "list", "-o", "json"]).exits(0).json();
    assert_eq!(keys(&json), ["peers", "sources"]);
    let lines = place.run(&["peers", "list", "-o", "jsonl"]).exits(0).jsonl();
    assert_eq!(lines.len(), 5);
    let peer = |address: &str| lines.iter().find(|line| line["address"] == address).unwrap();
    assert_eq!(
        keys(peer("10.0.0.2")),
        ["address", "by", "seconds_left", "since_unix_ns", "sources", "state", "until_unix_ns"]
    );
    assert_eq!((&peer("10.0.0.2")["state"], &peer("10.0.0.2")["sources"]), (&"leaving".into(), &serde_json::json!([])));
    assert_eq!(peer("192.0.2.7")["why"], "outside of [peers] within");
    assert_eq!((&peer("10.0.0.3")["state"], &peer("10.0.0.3")["by"]), (&"tombstone".into(), &"test (uid 0)".into()));
    assert_eq!(peer("10.0.0.9")["sources"], serde_json::json!(["operator"]));
    let left_s = peer("10.0.0.2")["seconds_left"].as_u64().unwrap();
    assert!((72 * 3_600 - 60..=72 * 3_600).contains(&left_s), "{left_s}");
}

#[test]
fn diff_marks_what_one_source_knows_alone_and_exits_3() {
    let place = recorded(&mut all_states());
    let ran = place.run(&["peers", "diff"]).exits(3);
    let marked: Vec<&str> =
        ran.out.lines().filter_map(|l| l.strip_prefix("!  ")).filter_map(|l| l.split_whitespace().next()).collect();
    assert_eq!(marked, ["10.0.0.9", "192.0.2.7"], "{}", ran.out);
    assert!(ran.out.contains("2 known to one source alone"), "{}", ran.out);
    let lines = place.run(&["peers", "diff", "-o", "jsonl"]).exits(3).jsonl();
    let alone = lines.iter().find(|line| line["address"] == "192.0.2.7").unwrap();
    assert_eq!(alone["known_by"], serde_json::json!(["dns:a.example"]));
    assert_eq!(alone["unknown_to"], serde_json::json!(["file:/etc/peers", "static"]));
    assert_eq!(alone["one_witness"], true);
    let mut agreed = World::new(SOURCES);
    agreed.says(&dns("a"), &["10.0.0.1"]);
    recorded(&mut agreed).run(&["peers", "diff"]).exits(0);
}

#[test]
fn where_nothing_is_recorded_the_configuration_is_shown_and_nothing_made() {
    let place = Scratch::new();
    let config = place.file("nodewall.toml", "[peers]\nstatic = [\"10.0.0.11\"]\nvendor_firewall = true\n");
    let ran = place.run(&["peers", "list", "--config", &config]).exits(0);
    assert!(ran.out.contains("10.0.0.11") && ran.out.contains("vendor_firewall"), "{}", ran.out);
    assert!(ran.err.contains("nothing is recorded yet"), "{}", ran.err);
    assert!(place.is_untouched());
}

#[test]
fn add_and_remove_are_on_disk_and_in_the_journal_also_without_a_policy() {
    if skip_unless_privileged("add_and_remove_are_on_disk_and_in_the_journal_also_without_a_policy") {
        return;
    }
    let place = Scratch::new();
    let config = place.file("nodewall.toml", "[peers]\nstatic = [\"10.0.0.11\"]\n");
    let state = |address: &str| {
        let lines = place.run(&["peers", "list", "--config", &config, "-o", "jsonl"]).exits(0).jsonl();
        lines.iter().find(|line| line["address"] == address).map(|line| line["state"].as_str().unwrap().to_owned())
    };
    // Exit 3: nothing is in force that it could come into.
    let ran = place.run(&["peers", "add", "10.0.0.12", "--ttl", "24h", "--config", &config]).exits(3);
    assert!(
        ran.out.contains("10.0.0.12 is a peer for 1day") && ran.out.contains("no policy is in force"),
        "{}",
        ran.out
    );
    assert_eq!(state("10.0.0.12").as_deref(), Some("active"));
    assert_eq!(state("10.0.0.11").as_deref(), Some("active"), "the configuration's own is recorded, too");
    let removed = place.run(&["peers", "remove", "10.0.0.11", "--config", &config, "-o", "json"]).exits(3).json();
    assert_eq!(keys(&removed), ["added", "address", "covered_by", "generation", "removed"]);
    assert_eq!(state("10.0.0.11").as_deref(), Some("tombstone"));
    let again = place.run(&["peers", "remove", "10.0.0.99", "--config", &config]).exits(1);
    assert!(again.err.contains("10.0.0.99 is not in the list of peers"), "{}", again.err);
    let journal = std::fs::read_to_string(place.state().join("journal.jsonl")).unwrap();
    let last: serde_json::Value = serde_json::from_str(journal.lines().next_back().unwrap()).unwrap();
    assert_eq!((&last["action"], &last["detail"]), (&"peers".into(), &"10.0.0.11: tombstone (removed)".into()));
    assert_eq!(last["who"]["command"], "nodewall peers remove");
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    let place = Scratch::new();
    for (arguments, told) in [
        (&["peers"][..], "Usage: nodewall peers"),
        (&["peers", "add"], "<ADDR>"),
        (&["peers", "add", "10.0.0"], "is not an address or prefix"),
        (&["peers", "add", "0.0.0.0/0"], "would make every address a peer"),
        (&["peers", "add", "10.0.0.1", "--ttl", "0s"], "between 1s and 366d"),
        (&["peers", "remove", "127.0.0.1"], "loopback"),
        (&["peers", "frobnicate"], "unrecognized subcommand"),
    ] {
        let ran = place.run(arguments).exits(2);
        assert!(ran.err.contains(told), "{arguments:?}: {}", ran.err);
    }
    assert!(place.is_untouched());
    for command in ["add", "remove"] {
        assert!(place.run_unprivileged(&["peers", command, "10.0.0.1"]).exits(4).err.contains("CAP_BPF"));
    }
}
