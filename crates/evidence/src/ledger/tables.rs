//! The ledger's tables, and the accounts' numbers. It must not know what is kept for how long.

use node_ebpf_common::peer_traffic::Direction;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{
    account::{Account, Step},
    book::{number, outcome_of},
};
use crate::store::Database;
use nodewall_policy::Place;

/// "nwlg": what `file` and `SQLite` show.
pub(super) const DATABASE: Database = Database {
    application_id: 0x6e77_6c67,
    version: 1,
    tables: "
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE accounts (
    id INTEGER PRIMARY KEY, class TEXT NOT NULL, protocol TEXT NOT NULL, first_port INTEGER, last_port INTEGER,
    direction INTEGER NOT NULL, outcome INTEGER NOT NULL, peer TEXT NOT NULL,
    first_unix_s INTEGER NOT NULL, last_unix_s INTEGER NOT NULL);
CREATE INDEX accounts_by_name ON accounts (class, protocol, first_port, last_port, direction, outcome, peer);
CREATE TABLE periods (
    seq INTEGER PRIMARY KEY, step_s INTEGER NOT NULL, first_unix_s INTEGER NOT NULL, until_unix_s INTEGER NOT NULL,
    whole INTEGER NOT NULL, amounts BLOB NOT NULL);
CREATE INDEX periods_by_time ON periods (step_s, first_unix_s);
CREATE TABLE peers (
    peer TEXT PRIMARY KEY, quiet_s INTEGER NOT NULL, longest_s INTEGER NOT NULL, silent INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE losses (
    seq INTEGER PRIMARY KEY, first_unix_s INTEGER NOT NULL, until_unix_s INTEGER NOT NULL, why TEXT NOT NULL);
",
};

/// What a column has for nothing: a NULL is no part of a key.
const NONE: &str = "";

/// When the ledger began.
pub(super) const BEGAN: &str = "began";

/// The note until when a step's periods were taken away.
pub(super) fn gone(step: Step) -> String {
    format!("gone.{}", step.seconds())
}

/// A note.
pub(super) fn note(db: &Connection, key: &str) -> rusqlite::Result<Option<Vec<u8>>> {
    db.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0)).optional()
}

/// Writes a note.
pub(super) fn put(db: &Connection, key: &str, value: &[u8]) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)")?
        .execute(params![key, value])
        .map(drop)
}

/// A note that is a time, Unix s.
pub(super) fn time(db: &Connection, key: &str) -> rusqlite::Result<Option<u64>> {
    Ok(note(db, key)?.and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes))
}

/// The account's number, and whether it is a new one. `unix_s`: when it has its latest amount.
pub(super) fn number_of(db: &Connection, account: &Account, unix_s: i64) -> rusqlite::Result<(u32, bool)> {
    let place = &account.place;
    let ports = place.ports.map(|(first, last)| (i64::from(first), i64::from(last))).unzip();
    let (class, protocol) = (place.class.as_deref().unwrap_or(NONE), place.protocol.unwrap_or(NONE));
    let peer = account.peer.map_or(NONE.to_owned(), |peer| peer.to_string());
    let (direction, outcome) = (account.direction as i64, i64::from(number(account.outcome)));
    let found = db
        .prepare_cached(
            "UPDATE accounts SET last_unix_s = max(last_unix_s, ?8) WHERE class = ?1 AND protocol = ?2 AND first_port IS ?3 \
             AND last_port IS ?4 AND direction = ?5 AND outcome = ?6 AND peer = ?7 RETURNING id",
        )?
        .query_row(params![class, protocol, ports.0, ports.1, direction, outcome, peer, unix_s], |row| row.get(0))
        .optional()?;
    if let Some(id) = found {
        return Ok((id, false));
    }
    db.prepare_cached(
        "INSERT INTO accounts (class, protocol, first_port, last_port, direction, outcome, peer, first_unix_s, last_unix_s) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8) RETURNING id",
    )?
    .query_row(params![class, protocol, ports.0, ports.1, direction, outcome, peer, unix_s], |row| {
        Ok((row.get(0)?, true))
    })
}

const ACCOUNT: &str = "SELECT id, class, protocol, first_port, last_port, direction, outcome, peer FROM accounts";

/// Every account with its number.
pub(super) fn accounts(db: &Connection) -> rusqlite::Result<Vec<(u32, Account)>> {
    db.prepare(ACCOUNT)?.query_map([], |row| Ok((row.get(0)?, account(row)?))).and_then(Iterator::collect)
}

/// The accounts of the same port and protocol, whatever its class was.
pub(super) fn accounts_of_port(db: &Connection, of: &Account) -> rusqlite::Result<Vec<Account>> {
    let (first, last) = of.place.ports.map(|(first, last)| (i64::from(first), i64::from(last))).unzip();
    let same = format!("{ACCOUNT} WHERE protocol = ?1 AND first_port IS ?2 AND last_port IS ?3");
    db.prepare_cached(&same)?
        .query_map(params![of.place.protocol.unwrap_or(NONE), first, last], account)
        .and_then(Iterator::collect)
}

fn account(row: &Row<'_>) -> rusqlite::Result<Account> {
    let some = |text: String| (text != NONE).then_some(text);
    let protocol: String = row.get(2)?;
    let (first, last): (Option<u16>, Option<u16>) = (row.get(3)?, row.get(4)?);
    let peer: String = row.get(7)?;
    Ok(Account {
        place: Place {
            class: some(row.get(1)?),
            protocol: ["tcp", "udp", "ip"].into_iter().find(|name| *name == protocol),
            ports: first.zip(last),
        },
        direction: if row.get::<_, i64>(5)? == 0 { Direction::In } else { Direction::Out },
        outcome: outcome_of(row.get(6)?),
        peer: peer.parse().ok(),
    })
}

/// As a column has it.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
