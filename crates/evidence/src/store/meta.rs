//! The store's notes about itself (table `meta`): what they are called, and how their values are written. It must not commit.

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::chain::Hash;

/// The store is open for writing, or its writer did not end in order.
pub(super) const OPEN: &str = "open";
/// [`Totals`](super::totals::Totals).
pub(super) const TOTALS: &str = "totals";
/// [`NextNumbers`], for when no batch is left that tells them.
pub(super) const NEXT: &str = "next";
/// [`Ages`](super::retention::Ages).
pub(super) const AGES: &str = "ages";
/// The batch that retention took away last: its number and its hash.
pub(super) const ANCHOR: &str = "anchor";

pub(super) fn get(db: &Connection, key: &str) -> rusqlite::Result<Option<Vec<u8>>> {
    db.prepare_cached("SELECT value FROM meta WHERE key = ?1")?.query_row([key], |row| row.get(0)).optional()
}

pub(super) fn put(db: &Connection, key: &str, value: &[u8]) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT INTO meta VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2")?
        .execute(params![key, value])
        .map(drop)
}

pub(super) fn anchor(db: &Connection) -> rusqlite::Result<Option<(u64, Hash)>> {
    let parse = |bytes: Vec<u8>| {
        let (seq, hash) = bytes.split_at_checked(8)?;
        Some((u64::from_le_bytes(seq.try_into().ok()?), hash.try_into().ok()?))
    };
    Ok(get(db, ANCHOR)?.and_then(parse))
}

pub(super) fn put_anchor(db: &Connection, seq: u64, hash: &Hash) -> rusqlite::Result<()> {
    put(db, ANCHOR, &[seq.to_le_bytes().as_slice(), hash].concat())
}

/// The numbers that the next batch and its records get.
#[derive(Clone, Copy, Debug)]
pub(super) struct NextNumbers {
    pub(super) seq: u64,
    /// Flows, captures, losses, events.
    pub(super) ids: [i64; 4],
}

impl NextNumbers {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let [flow, capture, loss, event] = self.ids;
        [self.seq.cast_signed(), flow, capture, loss, event].iter().flat_map(|n| n.to_le_bytes()).collect()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        let mut numbers = bytes.chunks_exact(8).map(|n| n.try_into().map_or(1, i64::from_le_bytes));
        let mut next = || numbers.next().unwrap_or(1);
        Self { seq: next().cast_unsigned(), ids: [next(), next(), next(), next()] }
    }
}
