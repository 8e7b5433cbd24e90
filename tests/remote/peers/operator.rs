//! An operator's word: a node admitted before it joins, a peer removed at once.

use nodewall::peers::{OperatorError, PeerState};

use super::world::{HOUR, SOURCES, World, dns, file, names, net, who};

#[test]
fn a_node_is_admitted_for_a_time_before_any_source_knows_it() {
    let mut world = World::new(SOURCES);
    world.changes();
    // Not within: an operator's word is not learnt.
    world.registry.operator_add(net("192.0.2.9"), Some(24 * HOUR), &who(), &world.now).unwrap();
    assert_eq!(world.active(), ["10.0.0.1", "192.0.2.9"]);
    let entry = world.registry.entries(&world.now).into_iter().find(|e| e.prefix == net("192.0.2.9")).unwrap();
    assert_eq!(
        (names(&entry.sources).into_iter().collect::<Vec<_>>(), entry.left),
        (vec!["operator"], Some(24 * HOUR))
    );
    let change = world.registry.changes();
    assert_eq!((change[0].detail.as_deref().unwrap(), &change[0].who), ("192.0.2.9: active (added)", &Some(who())));
    world.restart();
    world.wait(24 * HOUR);
    assert_eq!(world.active(), ["10.0.0.1"]);
    world.registry.expire(&world.now);
    assert_eq!(world.changes(), ["192.0.2.9: gone (its time is over)"]);
    // Without a time it stays.
    world.registry.operator_add(net("10.0.0.9"), None, &who(), &world.now).unwrap();
    world.wait(10_000 * HOUR);
    world.registry.expire(&world.now);
    assert_eq!(world.active(), ["10.0.0.1", "10.0.0.9"]);
}

#[test]
fn an_admitted_node_that_a_source_learns_stays_when_its_time_is_over() {
    let mut world = World::new(SOURCES);
    world.registry.operator_add(net("10.0.0.9"), Some(HOUR), &who(), &world.now).unwrap();
    world.says(&dns("a"), &["10.0.0.9"]);
    world.wait(2 * HOUR);
    world.registry.expire(&world.now);
    assert_eq!(world.state("10.0.0.9"), Some(PeerState::Active));
}

#[test]
fn a_removed_peer_stays_out_until_every_source_has_dropped_it() {
    let mut world = World::new(SOURCES);
    world.says(&file(), &["10.0.0.2"]);
    world.says(&dns("a"), &["10.0.0.2"]);
    world.registry.operator_remove(net("10.0.0.2"), &who(), &world.now).unwrap();
    assert_eq!((world.active(), world.state("10.0.0.2")), (vec!["10.0.0.1".to_owned()], Some(PeerState::Tombstone)));
    world.restart();
    // Sources that go on saying it, or fail, bring nothing back.
    world.says(&dns("a"), &["10.0.0.2"]);
    world.says(&dns("b"), &["10.0.0.2"]);
    world.fails(&file(), "gone");
    world.wait(1_000 * HOUR);
    assert_eq!(world.state("10.0.0.2"), Some(PeerState::Tombstone));
    world.says(&dns("a"), &["10.0.0.3"]);
    world.says(&dns("b"), &["10.0.0.3"]);
    assert_eq!(world.state("10.0.0.2"), Some(PeerState::Tombstone), "the file still says it");
    world.says(&file(), &["10.0.0.4"]);
    // Forgotten, and not left for 72 hours more.
    assert_eq!((world.state("10.0.0.2"), world.active().contains(&"10.0.0.2".to_owned())), (None, false));
    // The address is used again: it is a new peer.
    world.says(&dns("a"), &["10.0.0.2"]);
    assert_eq!(world.state("10.0.0.2"), Some(PeerState::Active));
}

#[test]
fn a_leaving_or_admitted_peer_is_removed_for_good() {
    let mut world = World::new(SOURCES);
    world.says(&dns("a"), &["10.0.0.2"]);
    world.says(&dns("a"), &[]);
    world.registry.operator_remove(net("10.0.0.2"), &who(), &world.now).unwrap();
    assert_eq!(world.state("10.0.0.2"), None);
    world.registry.operator_add(net("10.0.0.5"), None, &who(), &world.now).unwrap();
    world.registry.operator_remove(net("10.0.0.5"), &who(), &world.now).unwrap();
    assert_eq!((world.state("10.0.0.5"), world.active()), (None, vec!["10.0.0.1".to_owned()]));
}

#[test]
fn an_addition_lifts_a_tombstone() {
    let mut world = World::new(SOURCES);
    world.registry.operator_remove(net("10.0.0.1"), &who(), &world.now).unwrap();
    world.configure(SOURCES);
    assert_eq!(world.state("10.0.0.1"), Some(PeerState::Tombstone), "a reload does not lift it");
    world.registry.operator_add(net("10.0.0.1"), Some(HOUR), &who(), &world.now).unwrap();
    world.wait(2 * HOUR);
    world.registry.expire(&world.now);
    assert_eq!(world.state("10.0.0.1"), Some(PeerState::Active), "static names it");
}

#[test]
fn what_is_not_listed_is_not_removed() {
    let mut world = World::new(SOURCES);
    world.says(&file(), &["10.7.0.0/16"]);
    let error = world.registry.operator_remove(net("10.7.0.5"), &who(), &world.now).unwrap_err();
    assert_eq!(error, OperatorError::NotListed { prefix: "10.7.0.5".into(), covered_by: Some("10.7.0.0/16".into()) });
    assert!(error.to_string().contains("nodewall block 10.7.0.5"), "{error}");
    assert!(world.registry.operator_remove(net("10.8.0.5"), &who(), &world.now).is_err());
    // Twice is once too often.
    world.registry.operator_remove(net("10.7.0.0/16"), &who(), &world.now).unwrap();
    assert!(world.registry.operator_remove(net("10.7.0.0/16"), &who(), &world.now).is_err());
}

#[test]
fn what_can_be_nobodys_peer_is_not_added_and_nothing_changes() {
    let mut world = World::new(SOURCES);
    world.restart();
    let before = world.registry.entries(&world.now);
    for never in ["0.0.0.0/0", "10.0.0.0/7", "127.0.0.1", "::/0"] {
        assert!(world.registry.operator_add(net(never), None, &who(), &world.now).is_err(), "{never}");
    }
    let many: Vec<String> = (0..16_384_u32).map(|n| format!("10.1.{}.{}", n >> 8, n & 255)).collect();
    let mut full = World::new(SOURCES);
    full.says(&file(), &many.iter().map(String::as_str).collect::<Vec<_>>());
    full.restart();
    let error = full.registry.operator_add(net("10.250.0.1"), None, &who(), &full.now).unwrap_err().to_string();
    assert!(error.contains("more than 16384 addresses"), "{error}");
    assert!(full.state("10.250.0.1").is_none() && !full.registry.is_unsaved());
    assert_eq!((world.registry.entries(&world.now), world.registry.is_unsaved()), (before, false));
}

#[test]
fn a_word_that_could_not_be_put_into_force_is_taken_back() {
    let mut world = World::new(SOURCES);
    world.says(&dns("a"), &["10.0.0.2"]);
    world.says(&dns("a"), &[]);
    let before = world.registry.entries(&world.now);
    let undo = world.registry.operator_add(net("10.0.0.9"), Some(HOUR), &who(), &world.now).unwrap();
    world.registry.undo(undo, &world.now);
    let undo = world.registry.operator_remove(net("10.0.0.2"), &who(), &world.now).unwrap();
    assert_ne!(world.registry.entries(&world.now), before);
    world.registry.undo(undo, &world.now);
    assert_eq!(world.registry.entries(&world.now), before);
}
