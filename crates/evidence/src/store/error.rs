//! What can go wrong with the store, and what is to be done.

use std::{io, path::PathBuf};

/// An error of the store. What was in it before is still in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No room for a batch.
    #[error("{}: the disk, or the limit on the store, is full; nothing more is recorded until there is room, the filter is not touched", .path.display())]
    Full {
        /// The database.
        path: PathBuf,
    },
    /// It is not a sound store of evidence.
    #[error("{}: {problem}; `nodewall run` sets it aside and begins a new one", .path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A newer version wrote it.
    #[error("{}: a newer version of nodewall wrote this store (its version {found}, this one's {known}); read it with that version", .path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// This build's.
        known: i64,
    },
    /// It is not where nobody else can change it, or this user may not read it.
    #[error(transparent)]
    Way(#[from] nodewall_files::Refusal),
    /// A file or directory.
    #[error("{}: {source}", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The database said no.
    #[error("{}: {source}", .path.display())]
    Sql {
        /// The database.
        path: PathBuf,
        /// Its answer.
        source: rusqlite::Error,
    },
}

impl StoreError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    pub(crate) fn sql(path: impl Into<PathBuf>) -> impl FnOnce(rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{DatabaseCorrupt, DiskFull, NotADatabase, TypeMismatch};
        let path = path.into();
        move |source| match source.sqlite_error_code() {
            Some(DiskFull) => Self::Full { path },
            Some(DatabaseCorrupt | NotADatabase | TypeMismatch) => Self::Damaged { path, problem: source.to_string() },
            _ => Self::Sql { path, source },
        }
    }
}
