//! The oldest batches on their way out. It must not commit.

use rusqlite::{OptionalExtension as _, Transaction, params};

use super::meta::{NEXT, NextNumbers, put, put_anchor};
use crate::chain::Hash;

/// Batches that one step takes away.
const AT_ONCE: i64 = 64;

/// Takes away some of the oldest batches that are older than `until_unix_ns`, and remembers where the chain goes on.
pub(super) fn take_away(db: &Transaction<'_>, until_unix_ns: i64, next: NextNumbers) -> rusqlite::Result<u64> {
    let newest = next.seq.cast_signed() - 1;
    let last = db
        .prepare_cached(
            "SELECT seq, hash, first_flow + flows, first_capture + captures, first_loss + losses, first_event + events \
             FROM (SELECT * FROM batches ORDER BY seq LIMIT ?1) WHERE unix_ns < ?2 AND seq < ?3 ORDER BY seq DESC LIMIT 1",
        )?
        .query_row(params![AT_ONCE, until_unix_ns, newest], |row| {
            let ids: [i64; 4] = [row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?];
            Ok((row.get::<_, i64>(0)?, row.get::<_, Hash>(1)?, ids))
        })
        .optional()?;
    let Some((seq, hash, ids)) = last else { return Ok(0) };
    for (table, id) in ["flows", "captures", "losses", "events"].into_iter().zip(ids) {
        db.prepare_cached(&format!("DELETE FROM {table} WHERE id < ?1"))?.execute([id])?;
    }
    let taken = db.prepare_cached("DELETE FROM batches WHERE seq <= ?1")?.execute([seq])?;
    // The seal of the last whole segment stays: the next one hangs on it.
    db.prepare_cached(
        "DELETE FROM segments WHERE last_seq < (SELECT max(last_seq) FROM segments WHERE last_seq <= ?1)",
    )?
    .execute([seq])?;
    put_anchor(db, seq.cast_unsigned(), &hash)?;
    put(db, NEXT, &next.to_bytes())?;
    Ok(taken as u64)
}
