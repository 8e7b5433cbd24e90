//! The ledger by a made-up clock and made-up counters.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{super::way::record, *};

const MINUTE_MS: u64 = 60_000;
const NOW: u64 = 1_700_000_000_000;

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

/// Sends all that waits; what was taken, by time.
fn drain(ledger: &mut Ledger, now: u64) -> Vec<(u64, u64)> {
    let mut all = Vec::new();
    while let Some((lines, unix_ms)) = ledger.oldest(now) {
        let packets = lines.iter().filter(|line| line.metric == Metric::Packets).map(|line| line.delta).sum();
        let sent = lines.len();
        all.push((unix_ms, packets));
        ledger.begin(sent, "boot");
        ledger.settle(&Taken::All);
    }
    all
}

#[test]
fn only_what_is_new_is_owed_and_a_class_that_is_renamed_owes_nothing_twice() {
    let mut ledger = Ledger::default();
    assert!(ledger.note(&snapshot("a", &[row("cassandra", 9042, 5)]), NOW));
    assert!(!ledger.note(&snapshot("a", &[row("cassandra", 9042, 5)]), NOW + 1));
    assert!(!ledger.note(&snapshot("a", &[row("storage", 9042, 5)]), NOW + 2));
    assert!(ledger.note(&snapshot("a", &[row("storage", 9042, 7), row("storage", 7000, 1)]), NOW + 3));
    assert_eq!(drain(&mut ledger, NOW + 4), [(NOW, 5), (NOW + 3, 3)]);
    assert_eq!(ledger.totals.acknowledged, Amount { packets: 8, bytes: 480 });
}

#[test]
fn other_counters_begin_at_zero_even_if_they_are_ahead_of_the_old_ones() {
    let mut ledger = Ledger::default();
    ledger.note(&snapshot("a", &[row("c", 1, 5)]), NOW);
    ledger.note(&snapshot("b", &[row("c", 1, 9)]), NOW + 1);
    ledger.note(&snapshot("b", &[row("c", 1, 2)]), NOW + 2);
    assert_eq!(drain(&mut ledger, NOW), [(NOW, 5), (NOW + 1, 9), (NOW + 2, 2)]);
}

#[test]
fn what_waits_too_long_gets_a_time_that_is_taken_and_no_count_is_lost() {
    let mut ledger = Ledger::default();
    for minute in 0..200 {
        ledger.note(&snapshot("a", &[row("c", 1, minute + 1)]), NOW + minute * MINUTE_MS);
    }
    assert_eq!(ledger.points.len(), MAX_POINTS);
    let now = NOW + 199 * MINUTE_MS;
    let sent = drain(&mut ledger, now);
    assert_eq!(sent.iter().map(|(_, packets)| packets).sum::<u64>(), 200);
    assert!(sent.iter().all(|(at, _)| (now - MAX_AGE_MS..=now).contains(at)), "{sent:?}");
    assert_eq!(sent.len(), 51, "within the last fifty minutes each has its own time");

    ledger.note(&snapshot("a", &[row("c", 1, 201)]), NOW);
    assert_eq!(drain(&mut ledger, NOW + 120 * MINUTE_MS), [(NOW + 120 * MINUTE_MS, 1)], "alone, and too old");
    for packets in 202..205 {
        ledger.note(&snapshot("a", &[row("c", 1, packets)]), NOW + 60 * MINUTE_MS);
    }
    assert_eq!(drain(&mut ledger, NOW), [(NOW, 3)], "the clock went back by an hour");
}

#[test]
fn many_lines_that_wait_become_fewer_and_no_count_is_lost() {
    let mut ledger = Ledger::default();
    for round in 1..=10 {
        let rows: Vec<Row> = (1..=4_000).map(|port| row("c", port, round)).collect();
        ledger.note(&snapshot("a", &rows), NOW + round);
        assert!(ledger.waiting() <= MAX_LINES_WAITING);
    }
    assert_eq!(drain(&mut ledger, NOW).iter().map(|(_, packets)| packets).sum::<u64>(), 40_000);
}

#[test]
fn a_line_that_is_refused_is_not_sent_again_and_one_in_doubt_neither() {
    let mut ledger = Ledger::default();
    ledger.note(&snapshot("a", &[row("c", 1, 5), row("c", 2, 7)]), NOW);
    ledger.begin(4, "boot");
    ledger.settle(&Taken::None("busy".into()));
    assert_eq!(ledger.waiting(), 4);
    ledger.begin(3, "boot");
    ledger.settle(&Taken::AllBut(BTreeMap::from([(2, "too long".into())])));
    assert_eq!(ledger.totals.acknowledged, Amount { packets: 5, bytes: 300 });
    assert_eq!(ledger.totals.refused, Amount { packets: 7, bytes: 0 });
    assert_eq!(ledger.totals.last_refusal.as_deref(), Some("too long"));
    assert_eq!(ledger.recover(None, "boot"), None);
    ledger.begin(1, "boot");
    let text = serde_json::to_string(&ledger).unwrap();
    let mut after: Ledger = serde_json::from_str(&text).unwrap();
    assert!(matches!(after.recover(None, "another boot"), Some(Taken::Unknown(_))));
    assert_eq!(after.recover(None, "boot"), None);
    assert_eq!(after.totals.in_doubt, Amount { packets: 0, bytes: 420 });
    assert_eq!((after.waiting(), after.oldest(NOW)), (0, None));
}

#[test]
fn a_ledger_that_was_lost_begins_at_what_is_there() {
    let mut ledger = Ledger::beginning_at(&[snapshot("a", &[row("c", 1, 5)])]);
    assert_eq!(ledger.waiting(), 0);
    ledger.note(&snapshot("a", &[row("c", 1, 6)]), NOW);
    assert_eq!(drain(&mut ledger, NOW), [(NOW, 1)]);
}

/// A step of a ledger's life.
#[derive(Clone, Debug)]
enum Step {
    Count(u8, u16),
    Note,
    Rename,
    Detach,
    /// So many lines, with this end.
    Send(u8, u8),
    /// The process ends; what is on disk carries on. 1: before a send, 2: within it, 3: after the answer. `true`: the host, too.
    Crash(u8, bool),
    Wait(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4_u8, 1..500_u16).prop_map(|(port, packets)| Step::Count(port, packets)),
        4 => Just(Step::Note),
        1 => Just(Step::Rename),
        1 => Just(Step::Detach),
        4 => (1..6_u8, 0..4_u8).prop_map(|(lines, end)| Step::Send(lines, end)),
        1 => (0..4_u8, any::<bool>()).prop_map(|(when, host)| Step::Crash(when, host)),
        1 => any::<u8>().prop_map(Step::Wait),
    ]
}

proptest! {
    /// Whatever happens in whatever order: acknowledged + in doubt + refused + waiting = all that was ever counted and read.
    #[test]
    fn no_packet_is_owed_twice_or_forgotten(steps in prop::collection::vec(step(), 0..120)) {
        let (mut ledger, mut disk) = (Ledger::default(), Ledger::default());
        let (mut counted, mut epoch, mut class, mut now) = ([0_u64; 4], 0, "c", NOW);
        let mut past = 0;
        for step in steps {
            now += 1;
            let rows = |class: &str, counted: &[u64; 4]| {
                (1..).zip(counted).map(|(port, packets)| row(class, port, *packets)).collect::<Vec<_>>()
            };
            match step {
                Step::Count(port, packets) => counted[usize::from(port)] += u64::from(packets),
                Step::Note => { ledger.note(&snapshot(&epoch.to_string(), &rows(class, &counted)), now); disk = ledger.clone(); }
                Step::Rename => class = if class == "c" { "d" } else { "c" },
                Step::Detach => {
                    // The maps are held until they have been read for the last time.
                    ledger.note(&snapshot(&epoch.to_string(), &rows(class, &counted)), now);
                    past += counted.iter().sum::<u64>();
                    (counted, epoch) = ([0; 4], epoch + 1);
                    ledger.note(&snapshot(&epoch.to_string(), &rows(class, &counted)), now);
                    disk = ledger.clone();
                }
                Step::Send(lines, end) => if let Some((waiting, _)) = ledger.oldest(now) {
                    let sent = waiting.len().min(lines.into());
                    ledger.begin(sent, "boot");
                    ledger.settle(&match end {
                        0 => Taken::All,
                        1 => Taken::None("busy".into()),
                        2 => Taken::AllBut(BTreeMap::from([(sent - 1, "why".into())])),
                        _ => Taken::Unknown("cut".into()),
                    });
                    disk = ledger.clone();
                },
                Step::Crash(when, host) => {
                    let (mut way, boot) = (None, if host { "next" } else { "boot" });
                    if when > 0 && let Some((waiting, _)) = ledger.oldest(now) {
                        let sent = waiting.len();
                        let number = ledger.begin(sent, "boot");
                        disk = ledger.clone();
                        way = match when {
                            1 => None,
                            2 => Some(record("boot", number, None)),
                            _ => Some(record("boot", number, Some(&Taken::All))),
                        };
                    }
                    ledger = serde_json::from_str(&serde_json::to_string(&disk).unwrap()).unwrap();
                    ledger.recover(way.as_deref(), boot);
                }
                Step::Wait(minutes) => now += u64::from(minutes) * MINUTE_MS,
            }
        }
        let rows: Vec<Row> = (1..).zip(&counted).map(|(port, packets)| row(class, port, *packets)).collect();
        ledger.note(&snapshot(&epoch.to_string(), &rows), now);
        let waiting: u64 = ledger.points.iter().flat_map(|point| &point.lines)
            .filter(|line| line.metric == Metric::Packets).map(|line| line.delta).sum();
        let Totals { acknowledged, in_doubt, refused, .. } = &ledger.totals;
        prop_assert_eq!(
            acknowledged.packets + in_doubt.packets + refused.packets + waiting,
            past + counted.iter().sum::<u64>()
        );
    }
}
