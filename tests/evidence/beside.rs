//! What must not cost evidence: a clock that is set back.

use nodewall::evidence::{
    record::{Batch, Flow},
    store::{Filter, Reader, Writer},
};
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
