//! Reading, beside whoever writes. It must not change anything.

use std::{
    collections::HashMap,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, ToSql, params, params_from_iter};

use super::{
    error::StoreError,
    files::FILE,
    filter::Filter,
    rows::{Names, outcome_number, time},
    schema::EVIDENCE,
    tables::{CAPTURES, EVENTS, FLOWS, LOSSES, Table},
    verify::verify,
};
use crate::{
    chain::Verdict,
    record::{Batch, Capture, Event, Flow, Loss},
};

/// Batches that [`Reader::after`] gives at once.
const AT_ONCE: i64 = 64;

/// A command's view of the store.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    db: Connection,
}

/// A record and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored<T> {
    /// Its number among its kind.
    pub id: i64,
    /// Its batch.
    pub seq: u64,
    /// The record.
    pub record: T,
}

/// A batch, and where its records are in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// Its own number.
    pub seq: u64,
    /// Of its first capture; those after it follow one by one.
    pub first_capture: i64,
    /// What is in it.
    pub batch: Batch,
}

impl Reader {
    /// Opens the store in `directory`; `None` where there is none.
    pub fn open(directory: &Path) -> Result<Option<Self>, StoreError> {
        let path = directory.join(FILE);
        Ok(EVIDENCE.open_for_reading(&path)?.map(|db| Self { path, db }))
    }

    /// Denied flows, newest first.
    pub fn flows(&self, filter: &Filter) -> Result<Vec<Stored<Flow>>, StoreError> {
        self.select(&FLOWS, filter)
    }

    /// The same one by one, for whoever need not hold all of them, until `visit` breaks off. It must not take long: the store keeps what it reads.
    pub fn each_flow(
        &self,
        filter: &Filter,
        visit: impl FnMut(Stored<Flow>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.each(&FLOWS, filter, visit)
    }

    /// Captured frames, newest first.
    pub fn captures(&self, filter: &Filter) -> Result<Vec<Stored<Capture>>, StoreError> {
        self.select(&CAPTURES, filter)
    }

    /// What is missing, newest first. Of the filter only times, numbers and the limit count.
    pub fn losses(&self, filter: &Filter) -> Result<Vec<Stored<Loss>>, StoreError> {
        self.select(&LOSSES, filter)
    }

    /// What was done, newest first. Of the filter only times, numbers and the limit count.
    pub fn events(&self, filter: &Filter) -> Result<Vec<Stored<Event>>, StoreError> {
        self.select(&EVENTS, filter)
    }

    /// Number of the last batch; 0: there is none.
    pub fn last_seq(&self) -> Result<u64, StoreError> {
        let last = self.db.query_row("SELECT coalesce(max(seq), 0) FROM batches", [], |row| row.get::<_, i64>(0));
        last.map(i64::cast_unsigned).map_err(StoreError::sql(&self.path))
    }

    /// The batch before the first that was put together at this time or later: all records that reach to it are in batches behind that one.
    pub fn seq_before(&self, unix_ns: u64) -> Result<u64, StoreError> {
        let sql = "SELECT coalesce((SELECT min(seq) - 1 FROM batches WHERE unix_ns >= ?1), (SELECT max(seq) FROM batches), 0)";
        let found = self.db.query_row(sql, [time(unix_ns)], |row| row.get::<_, i64>(0));
        found.map(|seq| seq.max(0).cast_unsigned()).map_err(StoreError::sql(&self.path))
    }

    /// Whole batches behind batch `seq`, oldest first, at most 64.
    pub fn after(&self, seq: u64) -> Result<Vec<(u64, Batch)>, StoreError> {
        Ok(self.numbered_after(seq)?.into_iter().map(|found| (found.seq, found.batch)).collect())
    }

    /// The same with their records' numbers.
    pub fn numbered_after(&self, seq: u64) -> Result<Vec<Numbered>, StoreError> {
        let read = || -> rusqlite::Result<Vec<Numbered>> {
            // One state of the database for all that is read.
            let _view = self.db.unchecked_transaction()?;
            let names = self.names()?;
            let mut statement = self.db.prepare_cached(
                "SELECT seq, unix_ns, boot_offset_ns, first_flow, flows, first_capture, captures, first_loss, losses, \
                 first_event, events FROM batches WHERE seq > ?1 ORDER BY seq LIMIT ?2",
            )?;
            let mut found = statement.query(params![seq.cast_signed(), AT_ONCE])?;
            let mut batches = Vec::new();
            while let Some(row) = found.next()? {
                let batch = Batch {
                    unix_ns: row.get::<_, i64>(1)?.cast_unsigned(),
                    boot_offset_ns: row.get(2)?,
                    flows: self.of_batch(&FLOWS, row.get(3)?, row.get(4)?, &names)?,
                    captures: self.of_batch(&CAPTURES, row.get(5)?, row.get(6)?, &names)?,
                    losses: self.of_batch(&LOSSES, row.get(7)?, row.get(8)?, &names)?,
                    events: self.of_batch(&EVENTS, row.get(9)?, row.get(10)?, &names)?,
                };
                let (seq, first_capture) = (row.get::<_, i64>(0)?.cast_unsigned(), row.get(5)?);
                batches.push(Numbered { seq, first_capture, batch });
            }
            Ok(batches)
        };
        read().map_err(StoreError::sql(&self.path))
    }

    /// Reads everything and finds the first thing that is not as it was written. `anchor` is the hash of a batch that somebody else noted: it must be one
    /// of the chain, or that of the batch that retention took away last.
    pub fn verify(&self, anchor: Option<[u8; 32]>) -> Result<Verdict, StoreError> {
        let read = || {
            // One state of the database for all that is read.
            let view = self.db.unchecked_transaction()?;
            verify(&view, &self.names()?, anchor)
        };
        read().map_err(StoreError::sql(&self.path))
    }

    fn of_batch<T>(&self, table: &Table<T>, first: i64, count: i64, names: &Names) -> rusqlite::Result<Vec<T>> {
        let sql = format!("SELECT {} FROM {} WHERE id >= ?1 AND id < ?2 ORDER BY id", table.columns, table.name);
        let mut statement = self.db.prepare_cached(&sql)?;
        let found = statement.query_map([first, first + count], |row| (table.record)(row, names))?;
        found.collect()
    }

    fn names(&self) -> rusqlite::Result<Names> {
        let mut statement = self.db.prepare_cached("SELECT id, name FROM names")?;
        let found = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        found.collect::<rusqlite::Result<HashMap<_, _>>>()
    }

    fn select<T>(&self, table: &Table<T>, filter: &Filter) -> Result<Vec<Stored<T>>, StoreError> {
        let mut records = Vec::new();
        self.each(table, filter, |record| {
            records.push(record);
            ControlFlow::Continue(())
        })?;
        Ok(records)
    }

    fn each<T>(
        &self,
        table: &Table<T>,
        filter: &Filter,
        mut visit: impl FnMut(Stored<T>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let mut conditions = vec!["1".to_owned()];
        let mut values: Vec<Box<dyn ToSql>> = Vec::new();
        let [first, last] = table.times;
        if let Some(since) = filter.since_unix_ns.map(time) {
            // A batch holds nothing that is younger than itself; a clock may have been set back, so it is the first such batch, not the one next in time.
            let oldest = format!(
                "id >= coalesce((SELECT {} FROM batches WHERE seq = (SELECT min(seq) FROM batches WHERE unix_ns >= ?)), \
                 9223372036854775807)",
                table.first
            );
            conditions.push(oldest);
            conditions.push(format!("{last} >= ?"));
            values.push(Box::new(since));
            values.push(Box::new(since));
        }
        if let Some(until) = filter.until_unix_ns.map(time) {
            // Behind the last batch that holds anything as old there is nothing to look for.
            let behind = format!(
                "id < coalesce((SELECT {} FROM batches WHERE seq > coalesce((SELECT max(seq) FROM batches \
                 WHERE oldest_unix_ns <= ?), 0) ORDER BY seq LIMIT 1), 9223372036854775807)",
                table.first
            );
            conditions.push(behind);
            conditions.push(format!("{first} <= ?"));
            values.push(Box::new(until));
            values.push(Box::new(until));
        }
        if let Some(above) = filter.above {
            conditions.push("id > ?".to_owned());
            values.push(Box::new(above));
        }
        if let Some(below) = filter.below {
            conditions.push("id < ?".to_owned());
            values.push(Box::new(below));
        }
        let mut one_of = |column: &str, numbers: Vec<i64>| {
            if !numbers.is_empty() {
                let marks = vec!["?"; numbers.len()].join(", ");
                conditions.push(format!("{column} IN ({marks})"));
                values.extend(numbers.into_iter().map(|n| Box::new(n) as Box<dyn ToSql>));
            }
        };
        one_of("id", filter.ids.clone());
        if table.key.is_some() {
            one_of("port", filter.ports.iter().map(|port| i64::from(*port)).collect());
            one_of("reason", filter.reasons.iter().map(|reason| i64::from(reason.number())).collect());
            one_of("outcome", filter.outcome.iter().map(|outcome| outcome_number(*outcome)).collect());
        }
        let sql =
            format!("SELECT {} FROM {} WHERE {} ORDER BY id DESC", table.columns, table.name, conditions.join(" AND "));
        let mut read = || -> rusqlite::Result<()> {
            // One state of the database for all that is read.
            let _view = self.db.unchecked_transaction()?;
            let names = self.names()?;
            let mut statement = self.db.prepare_cached(&sql)?;
            let mut found = statement.query(params_from_iter(values.iter()))?;
            let mut left = filter.limit.unwrap_or(usize::MAX);
            while left > 0
                && let Some(row) = found.next()?
            {
                let record = (table.record)(row, &names)?;
                if table.key.is_none_or(|key| filter.has_source(key(&record))) {
                    left -= 1;
                    let stored = Stored { id: row.get(0)?, seq: row.get::<_, i64>(1)?.cast_unsigned(), record };
                    if visit(stored).is_break() {
                        break;
                    }
                }
            }
            Ok(())
        };
        read().map_err(StoreError::sql(&self.path))
    }
}
