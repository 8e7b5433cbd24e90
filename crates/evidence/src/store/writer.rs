//! Writing: batches, retention, the recorder's notes. One process writes.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OptionalExtension as _};

use super::{
    error::StoreError,
    files::{FILE, Limits, open_or_set_aside},
    insert::insert,
    meta::{self, NextNumbers, OPEN, TOTALS},
    retention::{Ages, take_away},
    schema::{EVIDENCE, check_pages, pragma},
    totals::Totals,
};
use crate::{
    chain::{BEGINNING, Hash},
    record::{Batch, EventKind},
};
use nodewall_host::state::Clock;

/// Names that are remembered; more are looked up again.
const MAX_NAMES: usize = 1_024;
/// Of the limit on the size, what retention leaves: room for what comes until it runs again.
const KEPT_PERCENT: u64 = 90;

/// The recorder's hold on the store.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    limits: Limits,
    db: Connection,
    next: NextNumbers,
    head: Hash,
    totals: Totals,
    names: HashMap<String, i64>,
    /// `None`: not read yet.
    ages: Option<Ages>,
}

/// A store that was opened.
#[derive(Debug)]
pub struct Opened {
    /// It.
    pub writer: Writer,
    /// Where a damaged one went, and what was wrong with it.
    pub set_aside: Option<(PathBuf, String)>,
}

/// A batch that is in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its number.
    pub seq: u64,
    /// Its hash.
    pub head: Hash,
}

/// How a store was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastWord {
    /// When the last batch was put together.
    pub unix_ns: u64,
    /// It says that the agent stopped.
    pub stopped: bool,
}

impl Writer {
    /// Opens the store in `directory` (made where it is not there, 0700). One that is damaged is set aside under another name, and a new one begun; one of
    /// a newer version is left alone.
    pub fn open(directory: &Path, limits: Limits) -> Result<Opened, StoreError> {
        let path = directory.join(FILE);
        let (writer, set_aside) = open_or_set_aside(&path, || Self::try_open(&path, limits))?;
        Ok(Opened { writer, set_aside })
    }

    fn try_open(path: &Path, limits: Limits) -> Result<Self, StoreError> {
        let db = EVIDENCE.open_for_writing(path, limits.max_bytes)?;
        let mut writer = Self {
            path: path.to_path_buf(),
            limits,
            db,
            next: NextNumbers { seq: 1, ids: [1; 4] },
            head: BEGINNING,
            totals: Totals::default(),
            names: HashMap::new(),
            ages: None,
        };
        if writer.meta(OPEN)?.is_some() {
            check_pages(&writer.db, path)?;
        }
        writer.set_meta(OPEN, b"1")?;
        writer.resume()?;
        Ok(writer)
    }

    /// Where the store was left. Numbers are never given again, also when what had them was taken away.
    fn resume(&mut self) -> Result<(), StoreError> {
        let sql = StoreError::sql(&self.path);
        let last = "SELECT seq, hash, first_flow + flows, first_capture + captures, first_loss + losses, \
                    first_event + events FROM batches ORDER BY seq DESC LIMIT 1";
        let last = self
            .db
            .query_row(last, [], |row| {
                let ids = [row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?];
                Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get::<_, Hash>(1)?, ids))
            })
            .optional()
            .map_err(sql)?;
        if let Some((seq, head, ids)) = last {
            (self.next, self.head) = (NextNumbers { seq: seq + 1, ids }, head);
        } else if let Some(numbers) = self.meta(meta::NEXT)? {
            self.next = NextNumbers::from_bytes(&numbers);
            let anchor = meta::anchor(&self.db).map_err(StoreError::sql(&self.path))?;
            self.head = anchor.map_or(BEGINNING, |(_, hash)| hash);
        }
        if let Some(totals) = self.meta(TOTALS)? {
            self.totals = Totals::from_bytes(&totals);
        }
        Ok(())
    }

    /// Puts a batch into the store: whole, or not at all. An empty one changes nothing.
    pub fn append(&mut self, batch: &Batch) -> Result<Appended, StoreError> {
        if batch.is_empty() {
            return Ok(Appended { seq: self.next.seq - 1, head: self.head });
        }
        let error = StoreError::sql(&self.path);
        let mut names = std::mem::take(&mut self.names);
        if names.len() > MAX_NAMES {
            names.clear();
        }
        let mut totals = self.totals;
        totals.add(batch);
        let made = self.db.transaction().and_then(|transaction| {
            let made = insert(&transaction, batch, self.next, self.head, &mut names)?;
            meta::put(&transaction, TOTALS, &totals.to_bytes())?;
            transaction.commit()?;
            Ok(made)
        });
        // Names of a transaction that failed are not there.
        let (next, head) = made.map_err(error)?;
        let seq = self.next.seq;
        (self.names, self.totals, self.next, self.head) = (names, totals, next, head);
        Ok(Appended { seq, head })
    }

    /// Takes away the oldest batches that are too old, or that the size has no room for. Returns how many.
    pub fn retain(&mut self, now: &Clock) -> Result<u64, StoreError> {
        let too_old = self.too_old(now).map_err(StoreError::sql(&self.path))?;
        let mut taken = 0;
        loop {
            // Without the log: a reader can keep it from shrinking, and that must not cost evidence.
            let too_large = self.bytes_in_use()? > self.limits.max_bytes / 100 * KEPT_PERCENT;
            // By size whatever there is, but the last batch: the chain hangs on it.
            let until = if too_large { u64::MAX } else { too_old };
            let error = StoreError::sql(&self.path);
            let step = self.db.transaction().and_then(|transaction| {
                let step = take_away(&transaction, until, self.next)?;
                transaction.commit()?;
                Ok(step)
            });
            let step = step.map_err(error)?;
            if step == 0 {
                return Ok(taken);
            }
            taken += step;
            // Free pages go back to the file system. Nobody is waited for.
            let given_back = self.db.execute_batch("PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(PASSIVE);");
            given_back.map_err(StoreError::sql(&self.path))?;
        }
    }

    fn too_old(&mut self, now: &Clock) -> rusqlite::Result<u64> {
        let mut ages = match self.ages.take() {
            Some(ages) => ages,
            None => Ages::read(&self.db, now, self.limits.max_age_ns)?,
        };
        let too_old = ages.too_old(&self.db, now, self.limits.max_age_ns, self.last_seq());
        self.ages = Some(ages);
        too_old
    }

    fn bytes_in_use(&self) -> Result<u64, StoreError> {
        let pages = pragma(&self.db, &self.path, "page_count")? - pragma(&self.db, &self.path, "freelist_count")?;
        let page_bytes = pragma(&self.db, &self.path, "page_size")?;
        Ok((pages * page_bytes).cast_unsigned())
    }

    /// What went in since the store began.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Hash of the last batch.
    pub fn head(&self) -> Hash {
        self.head
    }

    /// What the last batch says; `None`: nothing is kept.
    pub fn last_word(&self) -> Result<Option<LastWord>, StoreError> {
        let last = "SELECT unix_ns, EXISTS (SELECT 1 FROM events WHERE kind = ?1 \
                    AND id >= first_event AND id < first_event + batches.events) \
                    FROM batches ORDER BY seq DESC LIMIT 1";
        let word = |row: &rusqlite::Row<'_>| {
            Ok(LastWord { unix_ns: row.get::<_, i64>(0)?.cast_unsigned(), stopped: row.get(1)? })
        };
        self.db.query_row(last, [EventKind::AgentStopped.name()], word).optional().map_err(StoreError::sql(&self.path))
    }

    /// Number of the last batch; 0: there was none.
    pub fn last_seq(&self) -> u64 {
        self.next.seq - 1
    }

    /// Other limits from now on.
    pub fn limit(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// A note of the recorder's.
    pub fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        meta::get(&self.db, key).map_err(StoreError::sql(&self.path))
    }

    /// Writes one.
    pub fn set_meta(&mut self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        meta::put(&self.db, key, value).map_err(StoreError::sql(&self.path))
    }
}

impl Drop for Writer {
    /// An end in order: the next start need not read every page.
    fn drop(&mut self) {
        let closed = self.db.execute("DELETE FROM meta WHERE key = ?1", [OPEN]);
        let written_back = self.db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE);");
        if let Err(error) = closed.map(drop).and(written_back) {
            tracing::debug!("{}: not closed in order: {error}", self.path.display());
        }
    }
}
