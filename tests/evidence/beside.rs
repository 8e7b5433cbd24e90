//! What must not cost evidence: a clock that is set back, and a reader that holds its view while the oldest leaves.

use nodewall::evidence::{
    record::{Batch, Flow},
    store::{Filter, Limits, Reader, Writer},
};
use rusqlite::Connection;
use tempfile::tempdir;

use crate::samples::{BEGAN_NS, MINUTE_NS, ROOMY, flow};

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
}

/// While somebody reads, the log can not be cut: that is no reason to take away more and more.
#[test]
fn a_reader_does_not_make_retention_take_everything() {
    let place = tempdir().unwrap();
    let limits = Limits { max_bytes: 8 << 20, max_age_ns: u64::MAX };
    let mut writer = Writer::open(place.path(), limits).unwrap().writer;
    let mut append = |writer: &mut Writer, n: u64| {
        let flows = (0..500).map(|k| flow(n * 500 + k)).collect();
        writer.append(&Batch { unix_ns: BEGAN_NS + n * MINUTE_NS, flows, ..Batch::default() }).unwrap();
    };
    let mut n = 0;
    while writer.bytes().unwrap() < 7 << 20 {
        append(&mut writer, n);
        n += 1;
    }
    let reader = Connection::open(place.path().join("evidence.db")).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM flows;").unwrap();
    while writer.bytes().unwrap() <= (8 << 20) / 100 * 90 {
        append(&mut writer, n);
        n += 1;
    }
    let taken = writer.retain(BEGAN_NS + n * MINUTE_NS).unwrap();
    assert!(taken < n / 2, "{taken} of {n} batches were taken away beside a reader");
    drop(reader);
}
