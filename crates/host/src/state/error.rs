//! Why the state directory could not be used. Whatever it is, what is in force stays in force.

use std::{io, path::PathBuf};

/// An error of the state directory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Another agent runs.
    #[error("another nodewall agent is running (pid {owner}, {lock}); stop it first")]
    Running {
        /// Who it is, as it wrote it down.
        owner: super::Owner,
        /// The lock it holds.
        lock: PathBuf,
    },
    /// The directory can not be trusted, or this user may not use it.
    #[error(transparent)]
    Directory(#[from] nodewall_files::Refusal),
    /// A file is not what was written.
    #[error("{path}: {problem}; move it away to go on without it")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A call failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl StateError {
    /// A call that failed: what was tried, and why it failed.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
