//! The chain, held against the rows: from the oldest batch to the newest, record by record. It must not believe a hash that it did not compute.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{
    insert::SEGMENT_BATCHES,
    meta,
    rows::{Names, time},
    tables::{self, CAPTURES, EVENTS, FLOWS, LOSSES, Table},
};
use crate::chain::{BEGINNING, Chained, Fault, FaultKind, Hash, LEAF_BYTES, Leaf, Link, Verdict, compare, seal};

/// A batch's row.
struct Batch {
    /// What questions go by: the first time of its records.
    oldest_unix_ns: i64,
    link: Link,
    firsts: [i64; 4],
    leaves: Vec<u8>,
    hash: Hash,
}

fn batch(row: &Row<'_>) -> rusqlite::Result<Batch> {
    let number = |column: usize| row.get::<_, i64>(column);
    let [seq, unix_ns] = [number(0)?, number(1)?].map(i64::cast_unsigned);
    let counts = [number(5)?, number(7)?, number(9)?, number(11)?].map(i64::cast_unsigned);
    Ok(Batch {
        oldest_unix_ns: number(2)?,
        link: Link { seq, previous: row.get(13)?, unix_ns, boot_offset_ns: number(3)?, counts },
        firsts: [number(4)?, number(6)?, number(8)?, number(10)?],
        leaves: row.get(12)?,
        hash: row.get(14)?,
    })
}

/// Verifies all of it.
pub(super) fn verify(db: &Connection, names: &Names, anchor: Option<Hash>) -> rusqlite::Result<Verdict> {
    let (mut last_seq, mut head) = meta::anchor(db)?.unwrap_or((0, BEGINNING));
    let mut verdict = Verdict { batches: 0, records: 0, head, first_seq: last_seq + 1, last_seq, fault: None };
    let mut anchored = anchor.is_none_or(|anchor| anchor == head);
    let mut last_ids: Option<[i64; 4]> = None;
    let mut statement = db.prepare(
        "SELECT seq, unix_ns, oldest_unix_ns, boot_offset_ns, first_flow, flows, first_capture, captures, first_loss, losses, \
         first_event, events, leaves, previous, hash FROM batches ORDER BY seq",
    )?;
    let mut found = statement.query([])?;
    while let Some(row) = found.next()? {
        let Ok(batch) = batch(row) else {
            verdict.fault = Some(Fault::of_batch(FaultKind::Altered, last_seq + 1, "its row can not be read"));
            return Ok(verdict);
        };
        let fault = match linked(&batch, last_seq, head, last_ids) {
            Some(fault) => Some(fault),
            None => records(db, &batch, names)?,
        };
        if fault.is_some() {
            verdict.fault = fault;
            return Ok(verdict);
        }
        (last_seq, head) = (batch.link.seq, batch.hash);
        last_ids = Some(ends(&batch));
        anchored |= anchor == Some(head);
        verdict.batches += 1;
        verdict.records += batch.link.counts.iter().sum::<u64>();
        (verdict.head, verdict.last_seq) = (head, last_seq);
    }
    verdict.fault = stray(db, last_seq, last_ids)?;
    if verdict.fault.is_none() {
        verdict.fault = segments(db, verdict.first_seq, last_seq)?;
    }
    if verdict.fault.is_none() && !anchored {
        let what = "no batch has the hash that was given: it, or what came before it, was removed or altered";
        verdict.fault = Some(Fault::of_batch(FaultKind::Removed, last_seq, what));
    }
    Ok(verdict)
}

fn ends(batch: &Batch) -> [i64; 4] {
    let mut ends = batch.firsts;
    ends.iter_mut().zip(batch.link.counts).for_each(|(end, count)| *end += count.cast_signed());
    ends
}

/// What is wrong with a batch itself.
fn linked(batch: &Batch, last_seq: u64, head: Hash, last_ids: Option<[i64; 4]>) -> Option<Fault> {
    let expected = last_seq + 1;
    // Counts that the hash is not over can be anything.
    let leaves_bytes = || batch.link.counts.iter().sum::<u64>() as usize * LEAF_BYTES;
    if batch.link.seq > expected {
        let what = match batch.link.seq - expected {
            1 => "it is gone".to_owned(),
            gone => format!("it and the {} batches behind it are gone", gone - 1),
        };
        return Some(Fault::of_batch(FaultKind::Removed, expected, what));
    }
    let (kind, what) = if batch.link.seq < expected {
        (FaultKind::Inserted, "it is older than what retention took away")
    } else if batch.link.previous != head {
        (FaultKind::Altered, "it does not hang on the batch before: one of the two is not what was written")
    } else if batch.link.hash(&batch.leaves) != batch.hash {
        (FaultKind::Altered, "its time, its counts or its list of records was changed")
    } else if last_ids.is_some_and(|last| last != batch.firsts) || batch.leaves.len() != leaves_bytes() {
        (FaultKind::Altered, "its records have other numbers than they were given")
    } else {
        return None;
    };
    Some(Fault::of_batch(kind, batch.link.seq, what))
}

/// What is wrong with its records.
fn records(db: &Connection, batch: &Batch, names: &Names) -> rusqlite::Result<Option<Fault>> {
    let mut found = Found::default();
    leaves(db, batch, &FLOWS, names, &mut found)?;
    leaves(db, batch, &CAPTURES, names, &mut found)?;
    leaves(db, batch, &LOSSES, names, &mut found)?;
    leaves(db, batch, &EVENTS, names, &mut found)?;
    if let Some((record, why)) = found.unreadable {
        let what = format!("it can not be read: {why}");
        return Ok(Some(Fault { kind: FaultKind::Altered, seq: batch.link.seq, record: Some(record), what }));
    }
    let (written, _) = batch.leaves.as_chunks::<LEAF_BYTES>();
    let fault = compare(batch.link.seq, written, &found.leaves);
    let oldest_unix_ns = time(found.oldest_unix_ns.unwrap_or(batch.link.unix_ns));
    if fault.is_none() && batch.oldest_unix_ns != oldest_unix_ns {
        let what = "the time by which questions find its records was changed";
        return Ok(Some(Fault::of_batch(FaultKind::Altered, batch.link.seq, what)));
    }
    Ok(fault)
}

/// What a batch's numbers stand for in the tables.
#[derive(Default)]
struct Found {
    leaves: Vec<(String, Leaf)>,
    /// The first record that can not be read.
    unreadable: Option<(String, rusqlite::Error)>,
    oldest_unix_ns: Option<u64>,
}

/// Adds the leaves of one kind's rows. Its numbers and its batch must agree, or it counts as what was not written.
fn leaves<T: Chained>(
    db: &Connection,
    batch: &Batch,
    table: &Table<T>,
    names: &Names,
    found: &mut Found,
) -> rusqlite::Result<()> {
    let first = batch.firsts.get(table.place).copied().unwrap_or(0);
    let end = ends(batch).get(table.place).copied().unwrap_or(0);
    let sql = format!("SELECT {} FROM {} WHERE id >= ?1 AND id < ?2 ORDER BY id", table.columns, table.name);
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query(params![first, end])?;
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        let name = format!("{}{id}", table.letter);
        match (table.record)(row, names) {
            // A row that says it is of another batch is not the row that was written.
            Ok(record) => {
                let seq: i64 = row.get(1)?;
                let is_here = seq.cast_unsigned() == batch.link.seq;
                found.leaves.push((name, if is_here { record.leaf(id) } else { Leaf::default() }));
                let first_unix_ns = record.first_unix_ns();
                found.oldest_unix_ns = Some(found.oldest_unix_ns.map_or(first_unix_ns, |t| t.min(first_unix_ns)));
            }
            Err(error) => {
                found.unreadable.get_or_insert((name, error));
            }
        }
    }
    Ok(())
}

/// A record beyond the numbers that batches gave.
fn stray(db: &Connection, last_seq: u64, ends: Option<[i64; 4]>) -> rusqlite::Result<Option<Fault>> {
    let first: Option<[i64; 4]> = db
        .query_row(
            "SELECT first_flow, first_capture, first_loss, first_event FROM batches ORDER BY seq LIMIT 1",
            [],
            |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?]),
        )
        .optional()?;
    let [first, ends] = [first, ends].map(|ids| ids.unwrap_or([i64::MAX; 4]));
    for (((table, letter), from), end) in tables::ALL.into_iter().zip(first).zip(ends) {
        let sql = format!("SELECT id FROM {table} WHERE id < ?1 OR id >= ?2 ORDER BY id LIMIT 1");
        let stray: Option<i64> = db.query_row(&sql, [from, end], |row| row.get(0)).optional()?;
        if let Some(id) = stray {
            let record = Some(format!("{letter}{id}"));
            let what = "no batch ever held it".to_owned();
            return Ok(Some(Fault { kind: FaultKind::Inserted, seq: last_seq, record, what }));
        }
    }
    Ok(None)
}

/// The seals over whole segments.
fn segments(db: &Connection, first_seq: u64, last_seq: u64) -> rusqlite::Result<Option<Fault>> {
    let mut statement = db.prepare("SELECT last_seq, first_seq, seal FROM segments ORDER BY last_seq")?;
    let sealed = statement
        .query_map([], |row| {
            Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get::<_, i64>(1)?.cast_unsigned(), row.get::<_, Hash>(2)?))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let fault = |seq, kind, what: &str| Ok(Some(Fault::of_batch(kind, seq, what)));
    let mut expected = first_seq.next_multiple_of(SEGMENT_BATCHES);
    let mut before = None;
    for (last, first, found) in sealed {
        if last < first_seq {
            // Of what retention took away: what the next one hangs on.
            before = Some(found);
            continue;
        }
        if last != expected || first + SEGMENT_BATCHES != last + 1 {
            let what = "the seal of its segment is gone, or another stands in its place";
            return fault(expected, FaultKind::Removed, what);
        }
        let head: Hash =
            db.query_row("SELECT hash FROM batches WHERE seq = ?1", [last.cast_signed()], |row| row.get(0))?;
        let hangs_on = before.unwrap_or(BEGINNING);
        // The seal before the first may be gone with what it was over.
        let is_first_known = before.is_some() || first <= 1;
        if is_first_known && seal(&hangs_on, first, last, &head) != found {
            return fault(last, FaultKind::Altered, "the seal of its segment is not over what is there");
        }
        (before, expected) = (Some(found), last + SEGMENT_BATCHES);
    }
    if expected <= last_seq {
        return fault(expected, FaultKind::Removed, "the seal of its segment is gone");
    }
    Ok(None)
}
