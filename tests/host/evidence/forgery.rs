//! Edits by SQL, as root could make them: each is found, and what it did is told. The same edits against a verifier that believes stored hashes are not
//! found: it is the chain that finds them.

use std::path::Path;

use super::samples::filled;
use nodewall_evidence::{chain::Verdict, store::Reader};
use rusqlite::Connection;
use tempfile::{TempDir, tempdir};

fn store(batches: u64) -> (TempDir, [u8; 32]) {
    let place = tempdir().unwrap();
    let writer = filled(place.path(), batches);
    let head = writer.head();
    drop(writer);
    (place, head)
}

fn edit(place: &Path, sql: &str) -> usize {
    let db = Connection::open(place.join("evidence.db")).unwrap();
    // An edit must not be stopped by a constraint: whoever edits pages has none.
    db.execute_batch("PRAGMA ignore_check_constraints = 1; PRAGMA foreign_keys = 0").unwrap();
    db.execute(sql, []).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

fn verify(place: &Path, anchor: Option<[u8; 32]>) -> Verdict {
    Reader::open(place).unwrap().unwrap().verify(anchor).unwrap()
}

/// Every column of every table of records, and of the batches.
#[test]
fn every_column_of_every_record_is_covered() {
    let (place, head) = store(300);
    assert_eq!(verify(place.path(), Some(head)).fault, None);
    let db = Connection::open(place.path().join("evidence.db")).unwrap();
    let mut edits = 0;
    for (table, letter) in
        [("flows", Some('f')), ("captures", Some('c')), ("losses", Some('l')), ("events", Some('e')), ("batches", None)]
    {
        let columns: Vec<(String, String)> = db
            .prepare(&format!("SELECT name, type FROM pragma_table_info('{table}') WHERE name NOT IN ('id')"))
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        for (column, kind) in columns {
            for row in [7, 150] {
                let copy = tempdir().unwrap();
                std::fs::copy(place.path().join("evidence.db"), copy.path().join("evidence.db")).unwrap();
                let id = if table == "batches" { "seq" } else { "id" };
                let value = match kind.as_str() {
                    "INTEGER" if column == "outcome" => "1 - outcome".to_owned(),
                    "INTEGER" if column == "seq" && id == "seq" => "seq + 100000".to_owned(),
                    "INTEGER" => format!("coalesce({column}, 0) + 1"),
                    "BLOB" => {
                        format!("CASE WHEN {column} IS NULL THEN x'0a000001' ELSE zeroblob(length({column})) END")
                    }
                    _ => format!("coalesce({column}, '') || 'x'"),
                };
                let sql = format!("UPDATE {table} SET {column} = {value} WHERE {id} = {row}");
                assert_eq!(edit(copy.path(), &sql), 1, "{sql}");
                let fault = verify(copy.path(), None).fault.unwrap_or_else(|| panic!("not found: {sql}"));
                if let Some(letter) = letter {
                    // A number of a name that is not there, too, is that record's.
                    assert_eq!(fault.record, Some(format!("{letter}{row}")), "{sql}: {fault}");
                    assert_eq!(fault.kind(), "altered", "{sql}: {fault}");
                }
                edits += 1;
            }
        }
    }
    assert!(edits >= 100, "{edits} edits");
}

#[test]
fn what_was_done_is_told() {
    let cases = [
        ("DELETE FROM flows WHERE id = 10", "removed", None),
        ("DELETE FROM captures WHERE id = 5", "removed", None),
        ("DELETE FROM events WHERE id = 1", "removed", None),
        ("DELETE FROM batches WHERE seq = 20", "removed", Some(20)),
        ("DELETE FROM batches WHERE seq BETWEEN 20 AND 25", "removed", Some(20)),
        ("DELETE FROM segments", "removed", Some(256)),
        ("UPDATE segments SET seal = zeroblob(32)", "altered", Some(256)),
        ("UPDATE names SET name = 'eth7' WHERE name = 'eth0'", "altered", None),
        ("UPDATE names SET name = 'public' WHERE name = 'cassandra'", "altered", None),
        (
            "INSERT INTO losses SELECT id + 100000, seq, kind, first_unix_ns, last_unix_ns, packets, bytes FROM losses LIMIT 1",
            "inserted",
            None,
        ),
        (
            "INSERT INTO flows SELECT -1, seq, first_unix_ns, last_unix_ns, source, protocol, port, reason, outcome, interface, class, mac, generation, packets, bytes FROM flows LIMIT 1",
            "inserted",
            None,
        ),
        ("UPDATE batches SET previous = zeroblob(32) WHERE seq = 9", "altered", Some(9)),
        ("UPDATE batches SET unix_ns = unix_ns - 1 WHERE seq = 9", "altered", Some(9)),
        ("UPDATE batches SET hash = zeroblob(32) WHERE seq = 9", "altered", Some(9)),
        ("INSERT INTO meta VALUES ('anchor', zeroblob(40))", "", None),
    ];
    let (place, _) = store(300);
    for (sql, kind, seq) in cases {
        let copy = tempdir().unwrap();
        std::fs::copy(place.path().join("evidence.db"), copy.path().join("evidence.db")).unwrap();
        assert!(edit(copy.path(), sql) > 0, "{sql}");
        let fault = verify(copy.path(), None).fault;
        if kind.is_empty() {
            assert_eq!(fault, None, "an anchor that says what is so anyway changes nothing");
            continue;
        }
        let fault = fault.unwrap_or_else(|| panic!("not found: {sql}"));
        assert_eq!(fault.kind(), kind, "{sql}: {fault}");
        assert!(seq.is_none_or(|seq| seq == fault.seq), "{sql}: {fault}");
    }
}

/// The newest batches can be cut off without a trace in the store: only somebody else's note of the head tells.
#[test]
fn a_cut_end_shows_against_an_anchor_only() {
    let (place, head) = store(40);
    for table in ["flows", "captures", "losses", "events"] {
        edit(place.path(), &format!("DELETE FROM {table} WHERE seq > 30"));
    }
    edit(place.path(), "DELETE FROM batches WHERE seq > 30");
    assert_eq!(verify(place.path(), None).fault, None, "this is what the chain can not prove");
    let fault = verify(place.path(), Some(head)).fault.unwrap();
    assert_eq!(fault.kind(), "removed", "{fault}");
}

/// Whoever makes one record look right in its batch must make all that follow anew.
#[test]
fn two_batches_that_change_places_are_found() {
    let (place, _) = store(40);
    edit(place.path(), "UPDATE batches SET seq = 100000 WHERE seq = 12");
    edit(place.path(), "UPDATE batches SET seq = 12 WHERE seq = 13");
    edit(place.path(), "UPDATE batches SET seq = 13 WHERE seq = 100000");
    assert_eq!(verify(place.path(), None).fault.unwrap().seq, 12);
    edit(place.path(), "UPDATE flows SET id = -id WHERE id IN (4, 5)");
    edit(place.path(), "UPDATE flows SET id = 9 + id WHERE id < 0");
    assert_eq!(verify(place.path(), None).fault.unwrap().record, Some("f4".to_owned()));
}

/// Without the chain: what the same edits look like to one who compares nothing but counts.
#[test]
fn without_the_chain_the_same_edits_are_not_found() {
    let (place, _) = store(40);
    let counts = |place: &Path| -> Vec<i64> {
        let db = Connection::open(place.join("evidence.db")).unwrap();
        let count = |table: &str| db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
        ["flows", "captures", "losses", "events", "batches"].map(count).to_vec()
    };
    let before = counts(place.path());
    for sql in [
        "UPDATE flows SET packets = 1 WHERE id = 7",
        "UPDATE captures SET frame = zeroblob(64) WHERE id = 7",
        "UPDATE events SET detail = 'nothing' WHERE id = 7",
    ] {
        edit(place.path(), sql);
    }
    let quick: String = Connection::open(place.path().join("evidence.db"))
        .unwrap()
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!((counts(place.path()), quick.as_str()), (before, "ok"), "neither counts nor SQLite see them");
    assert!(verify(place.path(), None).fault.is_some(), "the chain does");
}
