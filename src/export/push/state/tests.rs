//! The differences by made-up counters.

#![allow(clippy::unwrap_used)]

use super::*;

fn row(class: &str, port: u16, packets: u64) -> Row {
    Row {
        class: Some(class.into()),
        port: Some(port),
        ports: None,
        protocol: Some("tcp"),
        direction: "in",
        outcome: "drop",
        reason: "outsider",
        packets,
        bytes: packets * 60,
    }
}

fn snapshot(counters: &str, rows: &[Row]) -> Snapshot {
    Snapshot { counters: counters.into(), rows: rows.to_vec() }
}

const fn amount(packets: u64) -> Amount {
    Amount { packets, bytes: packets * 60 }
}

#[test]
fn only_what_is_new_is_owed_and_a_class_that_is_renamed_owes_nothing_twice() {
    let mut state = PushState::default();
    assert!(state.add(&snapshot("a", &[row("cassandra", 9042, 5)])));
    assert!(!state.add(&snapshot("a", &[row("cassandra", 9042, 5)])));
    assert!(!state.add(&snapshot("a", &[row("storage", 9042, 5)])));
    assert!(state.add(&snapshot("a", &[row("storage", 9042, 7), row("storage", 7000, 1)])));
    assert_eq!(state.unsent.len(), 6, "two classes of 9042, and 7000");
    state.settle(6, &Delivery::AllBut(BTreeMap::new()));
    assert_eq!((state.unsent.len(), state.totals.acknowledged), (0, amount(8)));
}

#[test]
fn other_counters_begin_at_zero_even_if_they_are_ahead_of_the_old_ones() {
    let mut state = PushState::default();
    state.add(&snapshot("a", &[row("c", 1, 5)]));
    state.add(&snapshot("b", &[row("c", 1, 9)]));
    assert!(!state.add(&snapshot("b", &[row("c", 1, 9)])));
    // One that went back was set to zero.
    state.add(&snapshot("b", &[row("c", 1, 2)]));
    assert_eq!(state.unsent.values().copied().collect::<Vec<_>>(), [16 * 60, 16]);
}

#[test]
fn what_is_refused_waits_and_grows_and_what_is_in_doubt_is_lost() {
    let mut state = PushState::default();
    state.add(&snapshot("a", &[row("c", 1, 5), row("c", 2, 7)]));
    state.settle(4, &Delivery::Refused("busy".into()));
    state.add(&snapshot("a", &[row("c", 1, 6), row("c", 2, 7)]));
    // Bytes of both ports, then packets.
    assert_eq!(state.unsent.values().copied().collect::<Vec<_>>(), [360, 420, 6, 7]);
    state.settle(3, &Delivery::AllBut(BTreeMap::from([(1, "too long".into())])));
    assert_eq!(state.totals.acknowledged, Amount { packets: 6, bytes: 360 });
    assert_eq!(state.totals.lost, Amount { packets: 0, bytes: 420 });
    assert_eq!(state.totals.last_loss.as_deref(), Some("too long"));
    state.settle(1, &Delivery::Unknown("cut".into()));
    assert_eq!(state.totals.lost, Amount { packets: 7, bytes: 420 });
    assert_eq!((state.totals.last_loss.as_deref(), state.unsent.len()), (Some("cut"), 0));
    state.settle(1, &Delivery::Unknown("nothing".into()));
    assert_eq!(state.totals.last_loss.as_deref(), Some("cut"));
}

#[test]
fn a_state_that_is_lost_begins_at_what_is_there_and_one_that_is_kept_goes_on() {
    let mut state = PushState::starting_at(&[snapshot("a", &[row("c", 1, 5)])]);
    assert!(state.unsent.is_empty());
    let text = serde_json::to_string(&state).unwrap();
    assert_eq!(serde_json::from_str::<PushState>(&text).unwrap(), state);
    state.add(&snapshot("a", &[row("c", 1, 6)]));
    state.settle(2, &Delivery::AllBut(BTreeMap::new()));
    assert_eq!(state.totals.acknowledged, amount(1));
}
