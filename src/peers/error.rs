//! Why a source gave no answer, and why an operator's word on a peer was not taken. Messages never hold a token.

use std::fmt::Display;

use nodewall_https::HttpError;
use nodewall_text::fit;

/// Why a source gave no answer; its last answer stays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}; {help}")]
pub struct SourceError {
    /// What is wrong where: in a file, with a name, a tool or a server. Of a token it says where that should be, never what it is.
    pub problem: String,
    /// What to do.
    pub help: String,
}

impl SourceError {
    /// Something about this file, name or server.
    pub(super) fn at(place: impl Display, problem: impl Display, help: impl Into<String>) -> Self {
        Self { problem: fit(&format!("{place}: {problem}")).into_owned(), help: help.into() }
    }
}

impl From<HttpError> for SourceError {
    fn from(HttpError { place, problem, help }: HttpError) -> Self {
        Self::at(place, problem, help)
    }
}

/// Why `peers add` or `peers remove` changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OperatorError {
    /// It can never be a peer, or is one too many.
    #[error("{prefix} is not added: {why}")]
    Refused {
        /// What was to be added.
        prefix: String,
        /// Why not.
        why: String,
    },
    /// It is no peer of its own.
    #[error("{prefix} is not in the list of peers{}", .covered_by.as_ref().map(|by| format!(
        "; it is one through {by}: remove that, or `nodewall block {prefix}`"
    )).unwrap_or_default())]
    NotListed {
        /// What was to be removed.
        prefix: String,
        /// A prefix in the list that holds it.
        covered_by: Option<String>,
    },
}
