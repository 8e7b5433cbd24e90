//! Opening a database so that it is known to be ours, and the tables of the evidence. It must not know what a record is.

use std::{path::Path, time::Duration};

use nodewall_files::{Dir, OFlags, WRITABLE};
use rusqlite::{Connection, OpenFlags};

use super::error::StoreError;

/// A database of ours.
pub(crate) struct Database {
    /// Four letters: what `file` and `SQLite` show.
    pub(crate) application_id: i64,
    /// Version of the tables.
    pub(crate) version: i64,
    /// What makes them.
    pub(crate) tables: &'static str,
}

/// "nwev".
pub(super) const EVIDENCE: Database = Database { application_id: 0x6e77_6576, version: 2, tables: TABLES };
const COMMON: OpenFlags = OpenFlags::SQLITE_OPEN_NO_MUTEX.union(OpenFlags::SQLITE_OPEN_NOFOLLOW);
/// How long one waits for the other.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pages of the write-ahead log until it is written back.
const CHECKPOINT_PAGES: u32 = 256;

/// Size that the write-ahead log keeps.
const LOG_BYTES: i64 = 1 << 20;

const TABLES: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE batches (
    seq INTEGER PRIMARY KEY, unix_ns INTEGER NOT NULL, oldest_unix_ns INTEGER NOT NULL, boot_offset_ns INTEGER NOT NULL,
    first_flow INTEGER NOT NULL, flows INTEGER NOT NULL, first_capture INTEGER NOT NULL, captures INTEGER NOT NULL,
    first_loss INTEGER NOT NULL, losses INTEGER NOT NULL, first_event INTEGER NOT NULL, events INTEGER NOT NULL,
    leaves BLOB NOT NULL, previous BLOB NOT NULL, hash BLOB NOT NULL);
CREATE INDEX batches_by_time ON batches (unix_ns);
CREATE INDEX batches_by_oldest ON batches (oldest_unix_ns);
CREATE TABLE segments (last_seq INTEGER PRIMARY KEY, first_seq INTEGER NOT NULL, seal BLOB NOT NULL);
CREATE TABLE flows (
    id INTEGER PRIMARY KEY, seq INTEGER NOT NULL, first_unix_ns INTEGER NOT NULL, last_unix_ns INTEGER NOT NULL,
    source BLOB, protocol INTEGER NOT NULL, port INTEGER, reason INTEGER NOT NULL, outcome INTEGER NOT NULL,
    interface INTEGER NOT NULL, class INTEGER, mac BLOB NOT NULL, generation INTEGER NOT NULL,
    packets INTEGER NOT NULL, bytes INTEGER NOT NULL);
CREATE INDEX flows_by_port ON flows (port);
CREATE TABLE captures (
    id INTEGER PRIMARY KEY, seq INTEGER NOT NULL, unix_ns INTEGER NOT NULL, boot_ns INTEGER NOT NULL,
    source BLOB, protocol INTEGER NOT NULL, port INTEGER, reason INTEGER NOT NULL, outcome INTEGER NOT NULL,
    interface INTEGER NOT NULL, class INTEGER, mac BLOB NOT NULL, generation INTEGER NOT NULL,
    cpu INTEGER NOT NULL, original_bytes INTEGER NOT NULL, frame BLOB NOT NULL);
CREATE TABLE losses (
    id INTEGER PRIMARY KEY, seq INTEGER NOT NULL, kind INTEGER NOT NULL, first_unix_ns INTEGER NOT NULL,
    last_unix_ns INTEGER NOT NULL, packets INTEGER NOT NULL, bytes INTEGER NOT NULL);
CREATE TABLE events (
    id INTEGER PRIMARY KEY, seq INTEGER NOT NULL, unix_ns INTEGER NOT NULL, kind TEXT NOT NULL, detail TEXT NOT NULL,
    who TEXT, text TEXT);
";

impl Database {
    /// Opens for writing; makes it where nothing is.
    pub(crate) fn open_for_writing(&self, path: &Path, max_bytes: u64) -> Result<Connection, StoreError> {
        let name = path.file_name().unwrap_or_default();
        let directory = Dir::create(path.parent().unwrap_or(path), 0o700)?;
        if !directory.look(name, WRITABLE).map_err(StoreError::io(path))? {
            // SQLite gives its other files the same mode.
            let flags = OFlags::WRONLY | OFlags::CREATE;
            directory.file(name, flags, WRITABLE).map_err(StoreError::io(path))?;
        }
        // It opens all of them by their names: in a directory where nobody else can change what these mean.
        let db = Connection::open_with_flags(directory.path().join(name), OpenFlags::SQLITE_OPEN_READ_WRITE | COMMON)
            .map_err(StoreError::sql(path))?;
        if has_no_table(&db, path)? {
            // All of it at once: whoever reads finds nothing, or a store. Before the first table: pages that become free can be given back.
            let Self { application_id, version, tables } = self;
            let make = format!(
                "BEGIN; PRAGMA auto_vacuum = 2; {tables} PRAGMA application_id = {application_id}; \
             PRAGMA user_version = {version}; COMMIT;"
            );
            db.execute_batch(&make).map_err(StoreError::sql(path))?;
        } else {
            self.check(&db, path)?;
        }
        db.busy_timeout(PATIENCE).map_err(StoreError::sql(path))?;
        db.pragma_update(None, "journal_mode", "WAL").map_err(StoreError::sql(path))?;
        set(&db, path, "synchronous", 1)?;
        set(&db, path, "wal_autocheckpoint", i64::from(CHECKPOINT_PAGES))?;
        // What it grew beyond this while a reader held it is given back when it begins anew.
        set(&db, path, "journal_size_limit", LOG_BYTES)?;
        set(&db, path, "cache_size", -2_000)?;
        let page_bytes = pragma(&db, path, "page_size")?.max(512);
        let pages = i64::try_from(max_bytes).unwrap_or(i64::MAX) / page_bytes;
        set(&db, path, "max_page_count", pages.clamp(64, i64::from(u32::MAX) - 1))?;
        Ok(db)
    }

    /// Opens for reading, beside a writer; `None`: it is not made yet.
    pub(crate) fn open_for_reading(&self, path: &Path) -> Result<Option<Connection>, StoreError> {
        let directory = match Dir::open(path.parent().unwrap_or(path)) {
            Err(refusal) if refusal.is_absent() => return Ok(None),
            directory => directory?,
        };
        let name = path.file_name().unwrap_or_default();
        // Not opened: whoever closes a database's file lets go of the locks that the same process has on it.
        if !directory.look(name, WRITABLE).map_err(StoreError::io(path))? {
            return Ok(None);
        }
        let db = Connection::open_with_flags(directory.path().join(name), OpenFlags::SQLITE_OPEN_READ_ONLY | COMMON)
            .map_err(StoreError::sql(path))?;
        db.busy_timeout(PATIENCE).map_err(StoreError::sql(path))?;
        if has_no_table(&db, path)? {
            return Ok(None);
        }
        self.check(&db, path)?;
        Ok(Some(db))
    }

    fn check(&self, db: &Connection, path: &Path) -> Result<(), StoreError> {
        let found = pragma(db, path, "application_id")?;
        if found != self.application_id {
            let problem = "this is a database of something else".to_owned();
            return Err(StoreError::Damaged { path: path.to_path_buf(), problem });
        }
        match pragma(db, path, "user_version")? {
            found if found == self.version => Ok(()),
            found if found > self.version => {
                Err(StoreError::Newer { path: path.to_path_buf(), found, known: self.version })
            }
            _ => Err(StoreError::Damaged {
                path: path.to_path_buf(),
                problem: "its tables are of a version that no release had".to_owned(),
            }),
        }
    }
}

/// Nothing was made in it yet, or its making was cut off. A count of pages would not tell: `auto_vacuum` writes the first one.
fn has_no_table(db: &Connection, path: &Path) -> Result<bool, StoreError> {
    Ok(pragma(db, path, "schema_version")? == 0)
}

/// Reads every page: what an unclean end may have left.
pub(crate) fn check_pages(db: &Connection, path: &Path) -> Result<(), StoreError> {
    let said: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(StoreError::sql(path))?;
    if said == "ok" { Ok(()) } else { Err(StoreError::Damaged { path: path.to_path_buf(), problem: said }) }
}

pub(super) fn pragma(db: &Connection, path: &Path, name: &str) -> Result<i64, StoreError> {
    db.pragma_query_value(None, name, |row| row.get(0)).map_err(StoreError::sql(path))
}

fn set(db: &Connection, path: &Path, name: &str, value: i64) -> Result<(), StoreError> {
    db.pragma_update(None, name, value).map_err(StoreError::sql(path))
}
