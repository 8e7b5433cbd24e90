//! A batch into its tables. It must not commit.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::{
    meta::NextNumbers,
    rows::{loss_number, outcome_number, protocol_number, source_bytes, time},
};
use crate::{
    chain::{BEGINNING, Chained, Hash, Link, seal},
    record::{Batch, FlowKey},
};

/// Batches of a segment.
pub(super) const SEGMENT_BATCHES: u64 = 256;

fn name_id(db: &Connection, name: &str, names: &mut HashMap<String, i64>) -> rusqlite::Result<i64> {
    if let Some(id) = names.get(name) {
        return Ok(*id);
    }
    db.prepare_cached("INSERT OR IGNORE INTO names (name) VALUES (?1)")?.execute([name])?;
    let id = db.prepare_cached("SELECT id FROM names WHERE name = ?1")?.query_row([name], |row| row.get(0))?;
    names.insert(name.to_owned(), id);
    Ok(id)
}

/// Inserts all of it; returns the next numbers and the batch's hash.
pub(super) fn insert(
    db: &Transaction<'_>,
    batch: &Batch,
    from: NextNumbers,
    previous: Hash,
    names: &mut HashMap<String, i64>,
) -> rusqlite::Result<(NextNumbers, Hash)> {
    let seq = from.seq.cast_signed();
    let [mut flow_id, mut capture_id, mut loss_id, mut event_id] = from.ids;
    let mut leaves = Vec::new();
    let mut leaf = |record: &dyn Chained, id: &mut i64| {
        leaves.extend(record.leaf(*id));
        *id += 1;
        *id - 1
    };
    let mut key = |key: &FlowKey, class: Option<&String>| -> rusqlite::Result<_> {
        let class = class.map(|class| name_id(db, class, names)).transpose()?;
        Ok((name_id(db, &key.interface, names)?, class, source_bytes(key.source), i64::from(key.reason.number())))
    };
    let mut into =
        db.prepare_cached("INSERT INTO flows VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15)")?;
    for flow in &batch.flows {
        let (interface, class, source, reason) = key(&flow.key, flow.class.as_ref())?;
        into.execute(params![
            leaf(flow, &mut flow_id),
            seq,
            time(flow.first_unix_ns),
            time(flow.last_unix_ns),
            source,
            protocol_number(flow.key.protocol),
            flow.key.port,
            reason,
            outcome_number(flow.key.outcome),
            interface,
            class,
            flow.mac,
            flow.generation.cast_signed(),
            flow.packets.cast_signed(),
            flow.bytes.cast_signed(),
        ])?;
    }
    let mut into =
        db.prepare_cached("INSERT INTO captures VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16)")?;
    for capture in &batch.captures {
        let (interface, class, source, reason) = key(&capture.key, capture.class.as_ref())?;
        into.execute(params![
            leaf(capture, &mut capture_id),
            seq,
            time(capture.unix_ns),
            time(capture.boot_ns),
            source,
            protocol_number(capture.key.protocol),
            capture.key.port,
            reason,
            outcome_number(capture.key.outcome),
            interface,
            class,
            capture.mac,
            capture.generation.cast_signed(),
            capture.cpu,
            capture.original_bytes,
            capture.frame,
        ])?;
    }
    let mut into = db.prepare_cached("INSERT INTO losses VALUES (?1,?2,?3,?4,?5,?6,?7)")?;
    for loss in &batch.losses {
        let (first, last) = (time(loss.first_unix_ns), time(loss.last_unix_ns));
        let (packets, bytes) = (loss.packets.cast_signed(), loss.bytes.cast_signed());
        into.execute(params![leaf(loss, &mut loss_id), seq, loss_number(loss.kind), first, last, packets, bytes])?;
    }
    let mut into = db.prepare_cached("INSERT INTO events VALUES (?1,?2,?3,?4,?5,?6,?7)")?;
    for event in &batch.events {
        let id = leaf(event, &mut event_id);
        into.execute(params![id, seq, time(event.unix_ns), event.kind.name(), event.detail, event.who, event.text])?;
    }
    let next = NextNumbers { seq: from.seq + 1, ids: [flow_id, capture_id, loss_id, event_id] };
    let [flows, captures, losses, events] = from.ids.map(i64::cast_unsigned);
    let counts = [flow_id, capture_id, loss_id, event_id].map(i64::cast_unsigned);
    let counts = [counts[0] - flows, counts[1] - captures, counts[2] - losses, counts[3] - events];
    let (unix_ns, boot_offset_ns) = (batch.unix_ns, batch.boot_offset_ns);
    let hash = Link { seq: from.seq, previous, unix_ns, boot_offset_ns, counts }.hash(&leaves);
    let [flows, captures, losses, events] = counts.map(u64::cast_signed);
    db.prepare_cached("INSERT INTO batches VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15)")?.execute(
        params![
            seq,
            time(unix_ns),
            time(batch.oldest_unix_ns()),
            boot_offset_ns,
            from.ids[0],
            flows,
            from.ids[1],
            captures,
            from.ids[2],
            losses,
            from.ids[3],
            events,
            leaves,
            previous,
            hash,
        ],
    )?;
    if from.seq.is_multiple_of(SEGMENT_BATCHES) {
        seal_segment(db, from.seq, &hash)?;
    }
    Ok((next, hash))
}

fn seal_segment(db: &Transaction<'_>, last_seq: u64, head: &Hash) -> rusqlite::Result<()> {
    let before = db
        .prepare_cached("SELECT seal FROM segments ORDER BY last_seq DESC LIMIT 1")?
        .query_row([], |row| row.get::<_, Hash>(0))
        .optional()?
        .unwrap_or(BEGINNING);
    let first_seq = last_seq + 1 - SEGMENT_BATCHES;
    let seal = seal(&before, first_seq, last_seq, head);
    db.prepare_cached("INSERT INTO segments VALUES (?1, ?2, ?3)")?
        .execute(params![last_seq.cast_signed(), first_seq.cast_signed(), seal])
        .map(drop)
}
