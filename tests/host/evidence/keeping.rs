//! What goes in comes out, by every filter; what must leave leaves, oldest first; the totals remember.

use super::samples::{BEGAN_NS, MINUTE_NS, ROOMY, at, batch, filled, flow};
use node_ebpf_common::Reason;
use nodewall_evidence::{
    record::{Batch, LossKind, Outcome},
    store::{Filter, Limits, Reader, Totals, Writer},
};
use nodewall_host::state::Clock;
use tempfile::tempdir;

#[test]
fn what_goes_in_comes_out_and_survives_the_writer() {
    let place = tempdir().unwrap();
    drop(filled(place.path(), 30));
    let mut writer = Writer::open(place.path(), ROOMY).unwrap().writer;
    assert_eq!(writer.last_seq(), 30);
    assert_eq!(writer.append(&Batch::default()).unwrap().seq, 30, "nothing is no batch");
    assert_eq!(writer.append(&batch(30)).unwrap().seq, 31);
    let reader = Reader::open(place.path()).unwrap().unwrap();
    let mut seen = Vec::new();
    let mut seq = 0;
    loop {
        let more = reader.after(seq).unwrap();
        let Some((last, _)) = more.last() else { break };
        seq = *last;
        seen.extend(more.into_iter().map(|(_, batch)| batch));
    }
    assert_eq!(seen, (0..31).map(batch).collect::<Vec<_>>());
    let verdict = reader.verify(Some(writer.head())).unwrap();
    assert_eq!((verdict.fault, verdict.batches, verdict.records, verdict.head), (None, 31, 31 * 8, writer.head()));
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&place.path().join("evidence.db").metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_filter_gives_what_a_scan_by_hand_gives() {
    let place = tempdir().unwrap();
    let _writer = filled(place.path(), 60);
    let reader = Reader::open(place.path()).unwrap().unwrap();
    let all = reader.flows(&Filter::default()).unwrap();
    assert_eq!(all.len(), 180);
    assert!(all.windows(2).all(|pair| pair[0].id > pair[1].id), "newest first");
    let at = |minute: u64| Some(BEGAN_NS + minute * MINUTE_NS);
    let filters = [
        Filter { since_unix_ns: at(20), ..Filter::default() },
        Filter { until_unix_ns: at(20), ..Filter::default() },
        Filter { since_unix_ns: at(20), until_unix_ns: at(30), ports: vec![9042, 65_535], ..Filter::default() },
        Filter { sources: vec!["198.51.100.0/25".parse().unwrap()], ..Filter::default() },
        Filter { sources: vec!["2001:db8::/32".parse().unwrap()], ports: vec![7000], ..Filter::default() },
        Filter { reasons: vec![Reason::Closed, Reason::NoPorts], ..Filter::default() },
        Filter { outcome: Some(Outcome::WouldDrop), ..Filter::default() },
        Filter { ids: vec![3, 99, 100_000], ..Filter::default() },
        Filter { since_unix_ns: at(1_000), ..Filter::default() },
    ];
    let mut found = 0;
    for filter in filters {
        let by_hand: Vec<_> = all
            .iter()
            .filter(|flow| {
                let (record, key) = (&flow.record, &flow.record.key);
                filter.since_unix_ns.is_none_or(|since| record.last_unix_ns >= since)
                    && filter.until_unix_ns.is_none_or(|until| record.first_unix_ns <= until)
                    && (filter.ports.is_empty() || key.port.is_some_and(|port| filter.ports.contains(&port)))
                    && (filter.sources.is_empty()
                        || key.source.is_some_and(|source| filter.sources.iter().any(|net| net.contains(&source))))
                    && (filter.reasons.is_empty() || filter.reasons.contains(&key.reason))
                    && filter.outcome.is_none_or(|outcome| outcome == key.outcome)
                    && (filter.ids.is_empty() || filter.ids.contains(&flow.id))
            })
            .cloned()
            .collect();
        assert_eq!(reader.flows(&filter).unwrap(), by_hand, "{filter:?}");
        let two = Filter { limit: Some(2), ..filter.clone() };
        assert_eq!(reader.flows(&two).unwrap(), by_hand[..by_hand.len().min(2)]);
        found += by_hand.len();
    }
    assert!(found > 100);
}

#[test]
fn the_oldest_leave_by_age_and_the_chain_goes_on() {
    let place = tempdir().unwrap();
    let mut writer = filled(place.path(), 300);
    let before = writer.totals();
    writer.limit(Limits { max_age_ns: 100 * MINUTE_NS, ..ROOMY });
    let taken = writer.retain(&at(BEGAN_NS + 300 * MINUTE_NS)).unwrap();
    assert_eq!(taken, 199);
    let reader = Reader::open(place.path()).unwrap().unwrap();
    let verdict = reader.verify(None).unwrap();
    assert_eq!((verdict.fault, verdict.first_seq, verdict.batches), (None, 200, 101));
    assert_eq!(writer.totals(), before, "totals remember what left");
    drop(writer);
    // All of it: numbers and chain go on from the anchor.
    let old = Limits { max_age_ns: 1, ..ROOMY };
    let mut writer = Writer::open(place.path(), old).unwrap().writer;
    writer.retain(&at(BEGAN_NS + 10_000 * MINUTE_NS)).unwrap();
    assert_eq!(reader.after(0).unwrap().len(), 1, "the last one stays: the chain hangs on it");
    assert_eq!(writer.append(&batch(300)).unwrap().seq, 301);
    assert_eq!(reader.verify(Some(writer.head())).unwrap().fault, None);
}

#[test]
fn a_clock_that_is_set_takes_nothing_away_and_keeps_nothing_for_ever() {
    const TEN_YEARS_NS: u64 = 3_652 * 1_440 * MINUTE_NS;
    let place = tempdir().unwrap();
    let old = Limits { max_age_ns: 100 * MINUTE_NS, ..ROOMY };
    let mut writer = Writer::open(place.path(), old).unwrap().writer;
    // Sixty batches each: under a right clock, under one that is ahead, right again, behind, right again.
    let mut minute = 0;
    let mut taken = 0;
    for ahead in [0, TEN_YEARS_NS.cast_signed(), 0, -TEN_YEARS_NS.cast_signed(), 0] {
        for _ in 0..60 {
            let right = at(BEGAN_NS + minute * MINUTE_NS);
            let now = Clock { unix_ns: right.unix_ns.strict_add_signed(ahead), ..right };
            writer.append(&Batch { unix_ns: now.unix_ns, ..batch(minute) }).unwrap();
            taken += writer.retain(&now).unwrap();
            minute += 1;
            assert_eq!(taken, minute.saturating_sub(101), "after {minute} minutes, {ahead} ahead");
        }
        // The store is written by an agent that starts anew, too.
        drop(writer);
        writer = Writer::open(place.path(), old).unwrap().writer;
    }
    // A boot under a wrong clock makes nothing older than a day.
    let days = Limits { max_age_ns: 2 * 1_440 * MINUTE_NS, ..ROOMY };
    writer.limit(days);
    let boot = Clock { boot_id: "next".into(), boot_ns: 1, unix_ns: BEGAN_NS + TEN_YEARS_NS };
    assert_eq!(writer.retain(&boot).unwrap(), 0);
}

#[test]
fn the_size_is_kept_and_pages_are_given_back() {
    let place = tempdir().unwrap();
    let limits = Limits { max_bytes: 4 << 20, max_age_ns: u64::MAX };
    let mut writer = Writer::open(place.path(), limits).unwrap().writer;
    let mut taken = 0;
    for n in 0..150_u64 {
        let flows = (0..1_000).map(|k| flow(n * 1_000 + k)).collect();
        writer.append(&Batch { unix_ns: BEGAN_NS + n * MINUTE_NS, flows, ..Batch::default() }).unwrap();
        taken += writer.retain(&at(BEGAN_NS + n * MINUTE_NS)).unwrap();
        let on_disk: u64 =
            std::fs::read_dir(place.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
        assert!(on_disk < 5 << 20, "{on_disk} bytes after batch {n}");
    }
    assert!(taken > 50, "{taken}");
    let reader = Reader::open(place.path()).unwrap().unwrap();
    assert_eq!(reader.verify(None).unwrap().fault, None);
    let newest = reader.after(148).unwrap();
    assert_eq!(newest.last().unwrap().0, 150);
}

#[test]
fn totals_are_the_sums() {
    let place = tempdir().unwrap();
    let writer = filled(place.path(), 12);
    let mut expected = Totals::default();
    for n in 0..12 {
        let batch = batch(n);
        expected.flow_packets += batch.flows.iter().map(|flow| flow.packets).sum::<u64>();
        expected.flow_bytes += batch.flows.iter().map(|flow| flow.bytes).sum::<u64>();
        expected.captures += 2;
        let at = LossKind::ALL.iter().position(|kind| *kind == batch.losses[0].kind).unwrap();
        expected.losses[at][0] += batch.losses[0].packets;
        expected.losses[at][1] += batch.losses[0].bytes;
    }
    assert_eq!(writer.totals(), expected);
    drop(writer);
    assert_eq!(Writer::open(place.path(), ROOMY).unwrap().writer.totals(), expected);
    let denied: u64 = (0..3).map(|at| expected.losses[at][0]).sum();
    assert_eq!(expected.denied()[0], expected.flow_packets + denied);
}
