//! The oldest batches on their way out, and which are too old. It must not commit.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use serde::{Deserialize, Serialize};

use super::meta::{AGES, NEXT, NextNumbers, get, put, put_anchor};
use crate::chain::Hash;
use nodewall_host::state::Clock;

/// Batches that one step takes away.
const AT_ONCE: i64 = 64;
/// How finely ages are known: in parts of the longest.
const PARTS: u64 = 256;

/// How old batches are, by time that passed for certain: a clock that is ten years ahead for a minute must take nothing away, and one that is behind must not keep
/// everything.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Ages {
    /// Time that has passed, ns, and when that was known.
    passed_ns: u64,
    at: Clock,
    /// At such a time this was the newest batch; sorted.
    marks: Vec<(u64, u64)>,
}

impl Ages {
    /// As they were noted; of a store that has no note, by the batches' own times.
    pub(super) fn read(db: &Connection, now: &Clock, longest_ns: u64) -> rusqlite::Result<Self> {
        if let Some(noted) = get(db, AGES)?.and_then(|noted| serde_json::from_slice(&noted).ok()) {
            return Ok(noted);
        }
        let mut batches = db.prepare("SELECT unix_ns, seq FROM batches ORDER BY seq")?;
        let times = batches.query_map([], |row| Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get::<_, i64>(1)?)))?;
        // Of no boot that is known: too_old() notes it at once.
        let mut ages = Self { at: Clock { unix_ns: now.unix_ns, ..Clock::default() }, ..Self::default() };
        for time in times {
            let (unix_ns, seq) = time?;
            ages.at.unix_ns = unix_ns;
            ages.passed_ns = ages.passed_ns.max(unix_ns);
            let is_worth_it = |(then_ns, _): &(u64, u64)| ages.passed_ns - then_ns >= part(longest_ns);
            if ages.marks.last().is_none_or(is_worth_it) {
                ages.marks.push((ages.passed_ns, seq.cast_unsigned()));
            }
        }
        Ok(ages)
    }

    /// The newest batch that is too old; 0: none. Notes how old the newest of all is, where that is worth a write.
    pub(super) fn too_old(
        &mut self,
        db: &Connection,
        now: &Clock,
        longest_ns: u64,
        newest: u64,
    ) -> rusqlite::Result<u64> {
        let passed = now.since(&self.at);
        let passed_ns = self.passed_ns.saturating_add(u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX));
        let oldest_ns = passed_ns.saturating_sub(longest_ns);
        let too_old = self.marks.iter().take_while(|(then_ns, _)| *then_ns < oldest_ns).last().map_or(0, |mark| mark.1);
        if self.at.boot_id != now.boot_id || passed >= Duration::from_nanos(part(longest_ns)) {
            self.marks.push((passed_ns, newest));
            (self.passed_ns, self.at) = (passed_ns, now.clone());
            self.marks.retain(|mark| mark.1 >= too_old);
            self.marks.dedup_by_key(|mark| mark.1);
            put(db, AGES, &serde_json::to_vec(self).unwrap_or_default())?;
        }
        Ok(too_old)
    }
}

const fn part(longest_ns: u64) -> u64 {
    longest_ns / PARTS
}

/// Takes away some of the oldest batches up to this number, and remembers where the chain goes on.
pub(super) fn take_away(db: &Transaction<'_>, until: u64, next: NextNumbers) -> rusqlite::Result<u64> {
    let newest = next.seq.cast_signed() - 1;
    let last = db
        .prepare_cached(
            "SELECT seq, hash, first_flow + flows, first_capture + captures, first_loss + losses, first_event + events \
             FROM (SELECT * FROM batches ORDER BY seq LIMIT ?1) WHERE seq <= ?2 AND seq < ?3 ORDER BY seq DESC LIMIT 1",
        )?
        .query_row(params![AT_ONCE, i64::try_from(until).unwrap_or(i64::MAX), newest], |row| {
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
