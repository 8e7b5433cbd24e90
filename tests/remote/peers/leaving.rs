//! A learnt peer leaves late, and by a clock that nobody can set.

use std::time::Duration;

use nodewall::peers::PeerState;

use super::world::{HOUR, SOURCES, World, dns, file, net};

const SECOND: Duration = Duration::from_secs(1);

fn leaves_after(world: &mut World, peer: &str, delay: Duration) {
    assert!(matches!(world.state(peer), Some(PeerState::Leaving { .. })), "{:?}", world.state(peer));
    world.wait(delay.checked_sub(SECOND).unwrap());
    assert!(world.active().contains(&peer.to_owned()), "one second before its time");
    world.wait(SECOND);
    // It does not count even where nobody has taken it out yet.
    assert!(!world.active().contains(&peer.to_owned()), "at its time");
    assert_eq!(world.state(peer), None);
}

#[test]
fn a_learnt_peer_leaves_72_hours_after_the_last_source_dropped_it() {
    let mut world = World::new(SOURCES);
    world.says(&dns("a"), &["10.0.0.2"]);
    world.says(&dns("b"), &["10.0.0.2"]);
    world.says(&dns("a"), &[]);
    assert_eq!(world.state("10.0.0.2"), Some(PeerState::Active), "another source knows it");
    world.wait(48 * HOUR);
    world.says(&dns("b"), &["10.0.0.3"]);
    let entries = world.registry.entries(&world.now);
    let leaving = entries.iter().find(|entry| entry.prefix == net("10.0.0.2")).unwrap();
    assert_eq!((leaving.left, leaving.sources.len()), (Some(72 * HOUR), 0));
    assert_eq!(leaving.state, PeerState::Leaving { until_unix_ns: world.now.unix_ns + 72 * 3_600 * 1_000_000_000 });
    leaves_after(&mut world, "10.0.0.2", 72 * HOUR);
    assert_eq!(world.active(), ["10.0.0.1", "10.0.0.3"]);
}

#[test]
fn the_delay_is_the_configurations() {
    let mut world = World::new(&format!("{SOURCES}removal_delay = \"10m\"\n"));
    world.says(&dns("a"), &["10.0.0.2"]);
    world.says(&dns("a"), &[]);
    leaves_after(&mut world, "10.0.0.2", Duration::from_secs(600));
}

#[test]
fn a_peer_that_comes_back_stays() {
    let mut world = World::new(SOURCES);
    world.says(&dns("a"), &["10.0.0.2"]);
    world.says(&dns("a"), &[]);
    world.wait(71 * HOUR);
    world.says(&dns("b"), &["10.0.0.2"]);
    world.wait(1_000 * HOUR);
    world.registry.expire(&world.now);
    assert_eq!(world.state("10.0.0.2"), Some(PeerState::Active));
    world.says(&dns("b"), &[]);
    leaves_after(&mut world, "10.0.0.2", 72 * HOUR);
}

#[test]
fn a_file_that_knows_it_too_keeps_it_and_its_own_removal_does_not_shorten_the_delay() {
    let mut world = World::new(SOURCES);
    world.says(&file(), &["10.0.0.2", "10.0.0.3"]);
    world.says(&dns("a"), &["10.0.0.2"]);
    world.says(&dns("a"), &[]);
    assert_eq!(world.state("10.0.0.2"), Some(PeerState::Active));
    world.wait(HOUR);
    world.says(&file(), &["10.0.0.3"]);
    leaves_after(&mut world, "10.0.0.2", 71 * HOUR);
}

#[test]
fn a_source_that_is_taken_out_of_the_configuration_cuts_nobody_off() {
    let mut world = World::new(SOURCES);
    world.says(&dns("a"), &["10.0.0.2"]);
    world.configure(&SOURCES.replace("\"a.example\", ", ""));
    leaves_after(&mut world, "10.0.0.2", 72 * HOUR);
}

#[test]
fn a_clock_step_moves_nothing_and_after_a_boot_the_wall_clock_tells() {
    for (step, left) in [(-i64::from(10 * 366 * 24 * 3_600), 72 * HOUR), (10 * 366 * 24 * 3_600, 72 * HOUR)] {
        let mut world = World::new(SOURCES);
        world.says(&dns("a"), &["10.0.0.2"]);
        world.says(&dns("a"), &[]);
        world.now.unix_ns = world.now.unix_ns.checked_add_signed(step * 1_000_000_000).unwrap();
        let entry = world.registry.entries(&world.now).into_iter().find(|e| e.prefix == net("10.0.0.2")).unwrap();
        assert_eq!(entry.left, Some(left), "{step}");
        leaves_after(&mut world, "10.0.0.2", 72 * HOUR);
    }
    let mut world = World::new(SOURCES);
    world.says(&dns("a"), &["10.0.0.2"]);
    world.says(&dns("a"), &[]);
    world.wait(70 * HOUR);
    world.now.boot_id = "second".into();
    world.now.boot_ns = 0;
    world.restart();
    assert_eq!(world.active(), ["10.0.0.1", "10.0.0.2"]);
    leaves_after(&mut world, "10.0.0.2", 2 * HOUR);
}

#[test]
fn a_failing_source_never_makes_a_peer_leave() {
    let mut world = World::new(SOURCES);
    world.says(&dns("a"), &["10.0.0.2"]);
    for _ in 0..200 {
        world.wait(HOUR);
        world.fails(&dns("a"), "timeout");
        world.registry.expire(&world.now);
    }
    assert_eq!(world.state("10.0.0.2"), Some(PeerState::Active));
}

#[test]
fn what_a_source_cannot_find_out_about_one_family_makes_nobody_leave() {
    let mut world = World::new(SOURCES);
    let failing = |world: &World| {
        let status = world.registry.sources(&world.now).into_iter().find(|status| status.name == dns("a"));
        status.unwrap().failing.map(|(since, _)| since)
    };
    world.says_without(&dns("a"), true, &["10.0.0.2"]);
    assert_eq!(failing(&world), None, "it never had one: many servers know one family");
    world.says(&dns("a"), &["10.0.0.2", "fd00::2"]);
    world.changes();
    // One node joins, one leaves, as far as is known.
    let since = world.now.unix_ns;
    world.says_without(&dns("a"), true, &["10.0.0.3"]);
    world.restart();
    assert_eq!(world.active(), ["10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::2"]);
    assert!(matches!(world.state("10.0.0.2"), Some(PeerState::Leaving { .. })));
    assert_eq!(world.state("fd00::2"), Some(PeerState::Active));
    // That is said once, and lasts from the first time.
    world.wait(HOUR);
    world.says_without(&dns("a"), true, &["10.0.0.3"]);
    assert_eq!(failing(&world), Some(since));
    assert_eq!(world.changes(), [""; 0]);
    assert!(world.registry.alarms(&world.now)[0].contains("no answer for this family"));
    world.wait(100 * HOUR);
    assert_eq!(world.active(), ["10.0.0.1", "10.0.0.3", "fd00::2"]);
    // Both again: the family that was not known has one less.
    world.says(&dns("a"), &["10.0.0.3"]);
    assert_eq!(failing(&world), None);
    assert!(matches!(world.state("fd00::2"), Some(PeerState::Leaving { .. })));
    // And the other way round.
    world.says_without(&dns("a"), false, &["fd00::3"]);
    assert_eq!(world.active(), ["10.0.0.1", "10.0.0.3", "fd00::2", "fd00::3"]);
}
