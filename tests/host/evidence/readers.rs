//! What must not cost evidence: a clock that is set back, a reader that comes while the store is made.

use std::sync::atomic::{AtomicBool, Ordering};

use super::samples::{BEGAN_NS, MINUTE_NS, ROOMY, flow};
use nodewall_evidence::{
    record::{Batch, Flow},
    store::{Filter, Reader, Writer},
};
use tempfile::tempdir;

fn at(minute: u64, n: u64) -> Batch {
    let unix_ns = BEGAN_NS + minute * MINUTE_NS;
    let flows = vec![Flow { first_unix_ns: unix_ns, last_unix_ns: unix_ns, ..flow(n) }];
    Batch { unix_ns, flows, ..Batch::default() }
}

/// The clock went from minute 100 to minute 50 and on: what is asked from minute 60 on was written before and after.
#[test]
fn a_clock_that_is_set_back_hides_nothing() {
    let place = tempdir().unwrap();
    let mut writer = Writer::open(place.path(), ROOMY).unwrap().writer;
    for (n, minute) in [90, 100, 50, 70].into_iter().enumerate() {
        writer.append(&at(minute, n as u64)).unwrap();
    }
    let reader = Reader::open(place.path()).unwrap().unwrap();
    let filter = Filter { since_unix_ns: Some(BEGAN_NS + 60 * MINUTE_NS), ..Filter::default() };
    let found: Vec<i64> = reader.flows(&filter).unwrap().into_iter().map(|flow| flow.id).collect();
    assert_eq!(found, [4, 2, 1]);
    for (until_minute, expected) in [(49, &[][..]), (60, &[3]), (80, &[4, 3]), (95, &[4, 3, 1])] {
        let filter = Filter { until_unix_ns: Some(BEGAN_NS + until_minute * MINUTE_NS), ..Filter::default() };
        let found: Vec<i64> = reader.flows(&filter).unwrap().into_iter().map(|flow| flow.id).collect();
        assert_eq!(found, expected, "until {until_minute}");
    }
}

/// Whoever reads while it is made finds nothing yet, or a store; never a damaged one.
#[test]
fn a_reader_at_its_making_finds_nothing_or_a_store() {
    for _ in 0..30 {
        let place = tempdir().unwrap();
        let made = AtomicBool::new(false);
        let wrong = std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                while !made.load(Ordering::Relaxed) {
                    if let Err(error) = Reader::open(place.path()) {
                        return Some(error.to_string());
                    }
                }
                None
            });
            let opened = Writer::open(place.path(), ROOMY).unwrap();
            made.store(true, Ordering::Relaxed);
            assert_eq!(opened.set_aside, None);
            reader.join().unwrap()
        });
        assert_eq!(wrong, None);
        assert!(Reader::open(place.path()).unwrap().is_some());
    }
}

/// Its maker was killed after the first page and before the first table: it is made anew, and free pages can be given back as in any other.
#[test]
fn a_making_that_was_cut_off_is_done_again() {
    let place = tempdir().unwrap();
    let path = place.path().join("evidence.db");
    let db = rusqlite::Connection::open(&path).unwrap();
    db.pragma_update(None, "auto_vacuum", 2).unwrap();
    drop(db);
    assert!(std::fs::metadata(&path).unwrap().len() > 0, "the first page is there");
    assert!(Reader::open(place.path()).unwrap().is_none());
    let opened = Writer::open(place.path(), ROOMY).unwrap();
    assert_eq!(opened.set_aside, None);
    drop(opened);
    let fresh = tempdir().unwrap();
    drop(Writer::open(fresh.path(), ROOMY).unwrap());
    for path in [path, fresh.path().join("evidence.db")] {
        let mode: i64 = rusqlite::Connection::open(path)
            .unwrap()
            .pragma_query_value(None, "auto_vacuum", |row| row.get(0))
            .unwrap();
        assert_eq!(mode, 2, "incremental");
    }
}
