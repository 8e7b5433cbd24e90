//! Asking the ledger. It must not change it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use ipnet::IpNet;
use rusqlite::{Connection, params};

use super::{
    FILE,
    account::{Account, Period, Step},
    amounts::{self, Amount, Amounts, UNREADABLE},
    tables::{self, DATABASE, signed},
};
use crate::store::StoreError;

/// Steps that an answer has about, unless a step is asked for: as many as a screen shows.
const MOST_STEPS: u64 = 200;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// From when, Unix s.
    pub since_unix_s: u64,
    /// Until when, Unix s.
    pub until_unix_s: u64,
    /// By which step; `None`: the finest that the ledger has of the whole time, in no more steps than can be shown.
    pub step: Option<Step>,
    /// Only what is with peers in these; none: everything.
    pub peers: Vec<IpNet>,
}

/// What an account has in one period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The period.
    pub period: Period,
    /// The account.
    pub account: &'a Account,
    /// What it has.
    pub amount: Amount,
}

/// A time of which the ledger does not know all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerLoss {
    /// The time.
    pub period: Period,
    /// Why, for people.
    pub why: String,
}

/// The answer.
#[derive(Debug)]
pub struct Usage {
    /// The time that it is about: that of the question, in whole steps.
    pub period: Period,
    /// The step.
    pub step: Step,
    accounts: BTreeMap<u32, Account>,
    periods: Vec<(Period, Amounts)>,
    /// What it does not know.
    pub losses: Vec<LedgerLoss>,
    peers: Vec<IpNet>,
}

impl Usage {
    /// Every amount, the oldest first.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.periods.iter().flat_map(move |(period, amounts)| {
            amounts.iter().filter_map(move |(number, amount)| {
                let account = self.accounts.get(number)?;
                let is_of = |peer: IpNet| self.peers.iter().any(|asked| asked.contains(&peer));
                let is_asked = self.peers.is_empty() || account.peer.is_some_and(is_of);
                is_asked.then_some(Entry { period: *period, account, amount: *amount })
            })
        })
    }
}

/// Reads the ledger, beside a writer.
#[derive(Debug)]
pub struct LedgerReader {
    path: PathBuf,
    db: Connection,
}

impl LedgerReader {
    /// Opens the ledger in the store's directory; `None`: there is none yet.
    pub fn open(directory: &Path) -> Result<Option<Self>, StoreError> {
        let path = directory.join(FILE);
        Ok(DATABASE.open_for_reading(&path)?.map(|db| Self { path, db }))
    }

    /// What it has of a time.
    pub fn usage(&self, asked: &Asked) -> Result<Usage, StoreError> {
        let sql = |error| StoreError::sql(&self.path)(error);
        let step = asked.step.map_or_else(|| self.step_for(asked), Ok).map_err(sql)?;
        let period = Period {
            first_unix_s: step.start(asked.since_unix_s),
            until_unix_s: step.start(asked.until_unix_s.saturating_sub(1)).saturating_add(step.seconds()),
        };
        let accounts = tables::accounts(&self.db).map_err(sql)?.into_iter().collect();
        let mut losses = self.losses(step, period).map_err(sql)?;
        let mut periods = Vec::new();
        for (period, amounts) in self.periods(step, period).map_err(sql)? {
            match amounts {
                Some(amounts) => periods.push((period, amounts)),
                None => losses.push(LedgerLoss { period, why: UNREADABLE.to_owned() }),
            }
        }
        Ok(Usage { period, step, accounts, periods, losses, peers: asked.peers.clone() })
    }

    /// The finest step of which there are not too many, and of which nothing of the time was taken away.
    fn step_for(&self, asked: &Asked) -> rusqlite::Result<Step> {
        let length_s = asked.until_unix_s.saturating_sub(asked.since_unix_s);
        for step in [Step::Minute, Step::Hour] {
            if length_s <= step.seconds() * MOST_STEPS && self.gone(step)? <= asked.since_unix_s {
                return Ok(step);
            }
        }
        Ok(Step::Day)
    }

    /// Until when a step's periods were taken away, Unix s; 0: none were.
    fn gone(&self, step: Step) -> rusqlite::Result<u64> {
        Ok(tables::time(&self.db, &tables::gone(step))?.unwrap_or(0))
    }

    fn periods(&self, step: Step, period: Period) -> rusqlite::Result<Vec<(Period, Option<Amounts>)>> {
        let within = "SELECT first_unix_s, until_unix_s, amounts FROM periods \
                      WHERE step_s = ?1 AND first_unix_s < ?3 AND until_unix_s > ?2 ORDER BY first_unix_s, seq";
        let asked = [step.seconds(), period.first_unix_s, period.until_unix_s].map(signed);
        let mut statement = self.db.prepare(within)?;
        let rows = statement.query_map(asked, |row| Ok((times(row, 0)?, row.get::<_, Vec<u8>>(2)?)))?;
        rows.map(|row| row.map(|(period, bytes)| (period, amounts::from_bytes(&bytes)))).collect()
    }

    fn losses(&self, step: Step, period: Period) -> rusqlite::Result<Vec<LedgerLoss>> {
        let within = "SELECT first_unix_s, until_unix_s, why FROM losses WHERE first_unix_s < ?2 AND until_unix_s > ?1 \
                      ORDER BY first_unix_s";
        let asked = params![signed(period.first_unix_s), signed(period.until_unix_s)];
        let mut statement = self.db.prepare(within)?;
        let rows = statement.query_map(asked, |row| Ok(LedgerLoss { period: times(row, 0)?, why: row.get(2)? }))?;
        let mut losses = rows.collect::<rusqlite::Result<Vec<_>>>()?;
        let mut missing = |until_unix_s: u64, why: &str| {
            if until_unix_s > period.first_unix_s {
                let until_unix_s = until_unix_s.min(period.until_unix_s);
                losses.insert(0, LedgerLoss { period: Period { until_unix_s, ..period }, why: why.to_owned() });
            }
        };
        let began = tables::time(&self.db, tables::BEGAN)?.unwrap_or(0);
        missing(began, "the ledger begins later");
        missing(self.gone(step)?, "too old for this step: it was taken away to make room");
        Ok(losses)
    }
}

fn times(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<Period> {
    let [first, until] = [row.get::<_, i64>(at)?, row.get::<_, i64>(at + 1)?];
    Ok(Period { first_unix_s: first.cast_unsigned(), until_unix_s: until.cast_unsigned() })
}
