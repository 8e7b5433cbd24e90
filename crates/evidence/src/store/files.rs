//! The store's files: what they are called, how large they may become, and where a damaged one goes.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::error::StoreError;

/// Name of the database within its directory.
pub const FILE: &str = "evidence.db";

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of the database with its write-ahead log.
    pub max_bytes: u64,
    /// Older batches go.
    pub max_age_ns: u64,
}

fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}

/// Opens a database. One that is damaged is set aside under another name, and a new one begun: the name, and what is wrong, are returned with it.
pub(crate) fn open_or_set_aside<T>(
    path: &Path,
    open: impl Fn() -> Result<T, StoreError>,
) -> Result<(T, Option<(PathBuf, String)>), StoreError> {
    match open() {
        Ok(opened) => Ok((opened, None)),
        Err(StoreError::Damaged { problem, .. }) => {
            let aside = set_aside(path)?;
            Ok((open()?, Some((aside, problem))))
        }
        Err(error) => Err(error),
    }
}

/// Renames what is there, so that nothing is lost and nothing is in the way.
fn set_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let mut aside = sibling(path, &format!(".damaged-{now}"));
    for n in 1.. {
        if !aside.exists() {
            break;
        }
        aside = sibling(path, &format!(".damaged-{now}-{n}"));
    }
    for suffix in ["-wal", "-shm", ""] {
        let from = sibling(path, suffix);
        match fs::rename(&from, sibling(&aside, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(StoreError::io(from)(error)),
            _ => {}
        }
    }
    Ok(aside)
}
