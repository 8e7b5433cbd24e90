//! The peers are the union of what the sources say, each with its sources; a source that fails keeps what it said.

use std::time::Duration;

use super::world::{HOUR, SOURCES, World, dns, file, names, net};
use nodewall::peers::{Answer, PeerState, Registry, SourceName};

#[test]
fn the_peers_are_the_union_of_all_sources_and_an_addition_counts_at_once() {
    let mut world = World::new(SOURCES);
    assert_eq!(world.active(), ["10.0.0.1"]);
    world.says(&file(), &["10.0.0.2", "192.0.2.0/24"]);
    world.says(&dns("a"), &["10.0.0.2", "10.0.0.3"]);
    world.says(&dns("b"), &["10.0.0.3", "fd00::5"]);
    // The file's prefix is outside of `within`, which binds only what is learnt.
    assert_eq!(world.active(), ["10.0.0.1", "10.0.0.2", "10.0.0.3", "192.0.2.0/24", "fd00::5"]);
    let sources = |peer: &str| {
        let entries = world.registry.entries(&world.now);
        let entry = entries.into_iter().find(|entry| entry.prefix == net(peer)).unwrap();
        names(&entry.sources).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(sources("10.0.0.1"), ["static"]);
    assert_eq!(sources("10.0.0.2"), ["dns:a.example", "file:/etc/peers"]);
    assert_eq!(sources("10.0.0.3"), ["dns:a.example", "dns:b.example"]);
}

#[test]
fn what_static_or_the_file_drops_is_gone_at_once() {
    let mut world = World::new(SOURCES);
    world.says(&file(), &["10.0.0.2", "10.0.0.3"]);
    world.says(&file(), &["10.0.0.3"]);
    assert_eq!(world.active(), ["10.0.0.1", "10.0.0.3"]);
    world.configure(&SOURCES.replace("10.0.0.1\"", "10.0.0.9\""));
    assert_eq!(world.active(), ["10.0.0.3", "10.0.0.9"]);
    // The file is no source any more.
    world.configure("[peers]\nstatic = [\"10.0.0.9\"]\n");
    assert_eq!(world.active(), ["10.0.0.9"]);
    // Nor is it heard, had it been asked before.
    world.says(&file(), &["10.0.0.3"]);
    assert_eq!(world.active(), ["10.0.0.9"]);
}

#[test]
fn a_source_that_fails_keeps_its_last_answer_with_its_age() {
    let mut world = World::new(SOURCES);
    world.fails(&dns("b"), "SERVFAIL");
    world.says(&dns("a"), &["10.0.0.2"]);
    world.wait(20 * 24 * HOUR);
    world.fails(&dns("a"), "timeout");
    let since = world.now.unix_ns;
    world.wait(HOUR);
    world.fails(&dns("a"), "SERVFAIL");
    assert_eq!(world.active(), ["10.0.0.1", "10.0.0.2"]);
    let status = |world: &World, name: &SourceName| {
        world.registry.sources(&world.now).into_iter().find(|source| source.name == *name).unwrap()
    };
    let a = status(&world, &dns("a"));
    assert_eq!((a.peers, a.age), (1, Some(20 * 24 * HOUR + HOUR)));
    let (failing_since, error) = a.failing.unwrap();
    assert!(failing_since == since && error.contains("SERVFAIL"), "{error}");
    assert_eq!(status(&world, &dns("b")).age, None);
    let alarms = world.registry.alarms(&world.now);
    assert_eq!(alarms.len(), 2, "{alarms:?}");
    assert!(alarms[0].contains("dns:a.example") && alarms[0].contains("20days 1h ago) stays"), "{alarms:?}");
    assert!(alarms[1].contains("dns:b.example") && alarms[1].contains("never answered"), "{alarms:?}");
    world.says(&dns("a"), &["10.0.0.2"]);
    assert_eq!((status(&world, &dns("a")).failing, status(&world, &dns("a")).age), (None, Some(Duration::ZERO)));
}

#[test]
fn every_change_is_told_once_and_with_its_source() {
    let mut world = World::new(SOURCES);
    assert_eq!(world.changes(), ["10.0.0.1: active (configuration)"]);
    world.says(&dns("a"), &["10.0.0.2", "10.0.0.3", "192.0.2.1"]);
    assert_eq!(
        world.changes(),
        ["10.0.0.2 10.0.0.3: active (dns:a.example)", "192.0.2.1: held, outside of [peers] within (dns:a.example)"]
    );
    world.says(&dns("a"), &["10.0.0.2", "10.0.0.3", "192.0.2.1"]);
    world.says(&dns("b"), &["10.0.0.2"]);
    assert_eq!(world.changes(), [""; 0]);
    // It is asked again and again, and each time another of its servers may be the last to fail.
    for _ in 0..3 {
        world.fails(&dns("a"), "timeout");
        world.fails(&dns("a"), "refused");
    }
    let told = [
        "dns:a.example: x: timeout; see the server; what it said last stays",
        "dns:a.example: x: refused; see the server; what it said last stays",
    ];
    assert_eq!(world.changes(), told);
    // Nor are there reasons without end.
    (0..100).for_each(|query| world.fails(&dns("a"), &format!("query {query}")));
    assert_eq!(world.changes().len(), 6);
    world.says(&dns("a"), &["10.0.0.2", "192.0.2.1"]);
    let left = ["10.0.0.3: leaving until 2027-01-18T08:00:00Z (dns:a.example)", "dns:a.example answers again"];
    assert_eq!(world.changes(), left);
    world.fails(&dns("a"), "timeout");
    assert_eq!(world.changes(), told[..1]);
    world.wait(72 * HOUR);
    world.registry.expire(&world.now);
    assert_eq!(world.changes(), ["10.0.0.3: gone (its time is over)"]);
    // Of a flood the number and the first: `peers list` has them all.
    let many: Vec<String> = (0..1_000).map(|n| format!("10.1.{}.{}", n / 250, n % 250)).collect();
    world.says(&dns("b"), &many.iter().map(String::as_str).collect::<Vec<_>>());
    let told = world.changes();
    assert!(told[0].ends_with("10.1.0.19 and 980 more: active (dns:b.example)"), "{told:?}");
    assert_eq!(told.len(), 1);
}

#[test]
fn only_what_differs_is_worth_a_write() {
    let mut world = World::new(SOURCES);
    world.says(&dns("a"), &["10.0.0.2"]);
    assert!(world.registry.is_unsaved());
    world.restart();
    for _ in 0..11 {
        world.wait(Duration::from_secs(5));
        world.says(&dns("a"), &["10.0.0.2"]);
        assert!(!world.registry.is_unsaved());
        // Each answer reads the disk anew, as a command beside the agent may have written it.
        world.read_anew();
    }
    world.wait(Duration::from_secs(5));
    world.says(&dns("a"), &["10.0.0.2"]);
    assert!(world.registry.is_unsaved(), "its age on disk would be more than a minute behind");
    world.restart();
    world.fails(&dns("a"), "timeout");
    assert!(world.registry.is_unsaved());
    world.restart();
    world.fails(&dns("a"), "timeout");
    assert!(!world.registry.is_unsaved());
    world.says(&dns("a"), &["10.0.0.3"]);
    assert!(world.registry.is_unsaved());
    world.restart();
    assert_eq!(world.state("10.0.0.3"), Some(PeerState::Active));
}

#[test]
fn the_registry_is_as_it_was_after_a_restart_and_a_damaged_one_is_found() {
    let mut world = World::new(SOURCES);
    world.says(&dns("a"), &["10.0.0.2", "192.0.2.1"]);
    world.says(&dns("a"), &["192.0.2.1"]);
    let before = (world.registry.entries(&world.now), world.registry.sources(&world.now));
    world.restart();
    assert_eq!((world.registry.entries(&world.now), world.registry.sources(&world.now)), before);
    assert_eq!(world.active(), ["10.0.0.1", "10.0.0.2"]);

    let parent = tempfile::tempdir().unwrap();
    let state = nodewall_host::state::StateDir::create(&parent.path().join("state")).unwrap();
    assert!(Registry::load(&state).unwrap().is_new());
    world.registry.save(&state).unwrap();
    let file = parent.path().join("state/peers.state");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("192.0.2.1", "10.66.6.6")).unwrap();
    let error = Registry::load(&state).unwrap_err().to_string();
    assert!(error.contains("peers.state") && error.contains("checksum"), "{error}");
}

#[test]
fn a_peer_that_one_of_several_sources_knows_alone_is_marked() {
    let mut world = World::new(SOURCES);
    let alone = |world: &World| -> Vec<String> {
        let differences = world.registry.differences(&world.now);
        differences.iter().filter(|d| d.has_one_witness()).map(|d| nodewall_policy::config::show(&d.prefix)).collect()
    };
    // One source alone has nobody to differ from.
    assert_eq!(alone(&world), [""; 0]);
    world.says(&dns("a"), &["10.0.0.1", "10.0.0.2"]);
    assert_eq!(alone(&world), ["10.0.0.2"]);
    // A prefix knows what it holds.
    world.says(&file(), &["10.0.0.0/24"]);
    assert_eq!(alone(&world), ["10.0.0.0/24"]);
    world.says(&dns("b"), &["10.6.6.6"]);
    assert_eq!(alone(&world), ["10.0.0.0/24", "10.6.6.6"]);
    let difference = world.registry.differences(&world.now).into_iter().find(|d| d.prefix == net("10.6.6.6")).unwrap();
    assert_eq!(names(&difference.known_by).into_iter().collect::<Vec<_>>(), ["dns:b.example"]);
    let unknown: Vec<&str> = names(&difference.unknown_to).into_iter().collect();
    assert_eq!(unknown, ["dns:a.example", "file:/etc/peers", "static"]);
}

#[test]
fn host_bits_make_no_second_peer() {
    let mut world = World::new(SOURCES);
    let peers = ["10.0.0.77/24".parse().unwrap(), "10.0.0.0/24".parse().unwrap()].into();
    world.registry.answer(&dns("a"), Answer { peers, valid_for: None, unanswered: None }, &world.now);
    assert_eq!(world.active(), ["10.0.0.0/24", "10.0.0.1"]);
    assert!(Registry::default().active(&world.now).is_empty());
}
