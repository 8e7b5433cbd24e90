//! Writing the ledger: an amount goes into the minute, the hour and the day that its time is in. What was counted over a longer time than a step goes into a
//! period of its own, with its true beginning and end. The oldest periods of a step leave when there are too many, or when they are too large.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    FILE,
    account::{Account, Period, Step},
    amounts::{self, Amount, Amounts, UNREADABLE},
    book::Book,
    firsts::{self, First},
    rules::{Keep, Rules},
    tables::{self, DATABASE, signed},
};
use crate::store::{StoreError, check_pages, open_or_set_aside};

/// What was counted up to a minute and a quarter is one minute's.
const ONE_MINUTE_UP_TO_S: u64 = 75;
/// What is left over at a step's edge: the recorder looks once a second.
const EDGE_S: u64 = 2;
/// The database beyond what its periods may take: accounts, notes, free pages.
const BESIDES_BYTES: u64 = 16 << 20;
const BOOK: &str = "book";
/// The last period's end, Unix s, and the boot's clock then, s.
const WRITTEN: &str = "written";

/// The beginning of the step that all of a period belongs to; `None`: it is longer, or lies across an edge.
fn within(period: Period, step: Step) -> Option<u64> {
    let length_s = period.until_unix_s.saturating_sub(period.first_unix_s);
    if length_s <= ONE_MINUTE_UP_TO_S {
        return Some(step.start(period.first_unix_s + length_s / 2));
    }
    let start = step.start(period.first_unix_s + EDGE_S);
    (start == step.start(period.until_unix_s.saturating_sub(EDGE_S))).then_some(start)
}

/// What the counters counted, and nobody knows how much it was.
#[derive(Clone, Copy, Debug)]
pub struct Loss {
    /// In this time.
    pub period: Period,
    /// Why it is not known, for people.
    pub why: &'static str,
}

/// Writes the ledger.
#[derive(Debug)]
pub struct LedgerWriter {
    path: PathBuf,
    db: Connection,
    rules: Rules,
}

impl LedgerWriter {
    /// Opens the ledger in the store's directory; makes it where there is none. One that is damaged is set aside under another name, and a new one begun; the
    /// name and what is wrong are returned with it. `checks`: every page is read, which takes its time: where a write found it damaged.
    pub fn open(directory: &Path, rules: Rules, checks: bool) -> Result<(Self, Option<(PathBuf, String)>), StoreError> {
        let path = directory.join(FILE);
        let max_bytes = rules.keep.iter().map(|keep| keep.max_bytes).sum::<u64>() + BESIDES_BYTES;
        let open = || {
            let db = DATABASE.open_for_writing(&path, max_bytes)?;
            if checks {
                check_pages(&db, &path)?;
            }
            Ok(db)
        };
        let (db, set_aside) = open_or_set_aside(&path, open)?;
        Ok((Self { path, db, rules }, set_aside))
    }

    /// Where the counters stood when it was last written; `None`: never.
    pub fn book(&self) -> Result<Option<Book>, StoreError> {
        Ok(self.meta(BOOK)?.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    /// Until when it is written: Unix time and the boot's clock then, s.
    pub fn written(&self) -> Result<Option<(u64, u64)>, StoreError> {
        Ok(self.meta(WRITTEN)?.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        tables::note(&self.db, key).map_err(StoreError::sql(&self.path))
    }

    /// Other limits from now on.
    pub fn limit(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// Puts down what was counted in `period`, what was lost before, and where the counters stand now: all, or nothing. Returns what is there for the first time.
    pub fn write(
        &mut self,
        period: Period,
        boot_s: u64,
        new: &BTreeMap<Account, Amount>,
        book: &Book,
        lost: Option<Loss>,
    ) -> Result<Vec<First>, StoreError> {
        let Rules { keep, learning_s } = self.rules;
        let written = self.db.transaction().and_then(|transaction| {
            if let Some(Loss { period, why }) = &lost {
                lose(&transaction, *period, why)?;
            }
            let (mut numbered, mut fresh) = (Amounts::new(), Vec::new());
            for (account, amount) in new {
                let (number, is_fresh) = tables::number_of(&transaction, account, signed(period.until_unix_s))?;
                numbered.insert(number, *amount);
                fresh.extend(is_fresh.then(|| account.clone()));
            }
            let found = firsts::find(&transaction, period, new, &fresh, learning_s)?;
            if !numbered.is_empty() {
                for Keep { step, periods, max_bytes } in keep {
                    put_down(&transaction, step, period, &numbered)?;
                    take_away(&transaction, step, periods, max_bytes)?;
                }
            }
            let until = serde_json::to_vec(&(period.until_unix_s, boot_s)).unwrap_or_default();
            if tables::note(&transaction, tables::BEGAN)?.is_none() {
                tables::put(&transaction, tables::BEGAN, &period.first_unix_s.to_le_bytes())?;
            }
            tables::put(&transaction, WRITTEN, &until)?;
            tables::put(&transaction, BOOK, &serde_json::to_vec(book).unwrap_or_default())?;
            transaction.commit()?;
            Ok(found)
        });
        written.map_err(StoreError::sql(&self.path))
    }
}

fn lose(db: &Connection, period: Period, why: &str) -> rusqlite::Result<()> {
    let loss = "INSERT INTO losses (first_unix_s, until_unix_s, why) VALUES (?1, ?2, ?3)";
    let values = params![signed(period.first_unix_s), signed(period.until_unix_s), why];
    db.prepare_cached(loss)?.execute(values).map(drop)
}

fn put_down(db: &Connection, step: Step, period: Period, new: &Amounts) -> rusqlite::Result<()> {
    let step_s = signed(step.seconds());
    let Some(start) = within(period, step) else {
        return insert(db, step_s, period, false, new);
    };
    let there = db
        .prepare_cached("SELECT seq, amounts FROM periods WHERE step_s = ?1 AND first_unix_s = ?2 AND whole = 1")?
        .query_row(params![step_s, signed(start)], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?)))
        .optional()?;
    let Some((seq, bytes)) = there else {
        return insert(db, step_s, Period { first_unix_s: start, until_unix_s: start + step.seconds() }, true, new);
    };
    let there = amounts::from_bytes(&bytes);
    if there.is_none() {
        lose(db, Period { first_unix_s: start, until_unix_s: start + step.seconds() }, UNREADABLE)?;
    }
    let mut sum = there.unwrap_or_default();
    amounts::add(&mut sum, new);
    let update = "UPDATE periods SET amounts = ?2 WHERE seq = ?1";
    db.prepare_cached(update)?.execute(params![seq, encoded(&sum)?]).map(drop)
}

fn insert(db: &Connection, step_s: i64, period: Period, whole: bool, new: &Amounts) -> rusqlite::Result<()> {
    let insert = "INSERT INTO periods (step_s, first_unix_s, until_unix_s, whole, amounts) VALUES (?1, ?2, ?3, ?4, ?5)";
    let values = params![step_s, signed(period.first_unix_s), signed(period.until_unix_s), whole, encoded(new)?];
    db.prepare_cached(insert)?.execute(values).map(drop)
}

fn encoded(amounts: &Amounts) -> rusqlite::Result<Vec<u8>> {
    amounts::to_bytes(amounts).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

/// The oldest periods of a step beyond what is kept of it. The newest one stays whatever its size is.
fn take_away(db: &Connection, step: Step, periods: u64, max_bytes: u64) -> rusqlite::Result<()> {
    let beyond = "SELECT max(seq) FROM (SELECT seq, row_number() OVER newest AS place, sum(length(amounts) + 32) OVER newest AS bytes \
                  FROM periods WHERE step_s = ?1 WINDOW newest AS (ORDER BY seq DESC)) \
                  WHERE place > 1 AND (place > ?2 OR bytes > ?3)";
    let most = [step.seconds(), periods, max_bytes].map(signed);
    let last: Option<i64> = db.prepare_cached(beyond)?.query_row(most, |row| row.get(0))?;
    let Some(last) = last else { return Ok(()) };
    let until: i64 = db.query_row("SELECT until_unix_s FROM periods WHERE seq = ?1", [last], |row| row.get(0))?;
    tables::put(db, &tables::gone(step), &until.cast_unsigned().to_le_bytes())?;
    let away = "DELETE FROM periods WHERE step_s = ?1 AND seq <= ?2";
    db.prepare_cached(away)?.execute([signed(step.seconds()), last]).map(drop)
}
