//! Why a source gave no answer, and why an operator's word on a peer was not taken. Messages never hold a token.

use nodewall_https::{self as https, HttpError};

/// Why a source gave no answer; its last answer stays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// A file, as a whole or at `path:line:column`.
    #[error("{place}: {problem}; {help}")]
    File {
        /// The file, and where in it.
        place: String,
        /// What is wrong.
        problem: String,
        /// What to do.
        help: String,
    },
    /// The host's packet filter.
    #[error("{problem}; {help}")]
    Firewall {
        /// What is wrong, with the tool's name.
        problem: String,
        /// What to do.
        help: &'static str,
    },
    /// A host name.
    #[error("{name}: {problem}; {help}")]
    Name {
        /// The name that was looked up.
        name: String,
        /// What the resolver said, and which resolver.
        problem: String,
        /// What to do.
        help: String,
    },
    /// A server, or the token that it wants: then it says where that should be, never what it is.
    #[error("{place}: {problem}; {help}")]
    Server {
        /// What was asked; or the file or the credential's name.
        place: String,
        /// What it answered, or why it did not.
        problem: String,
        /// What to do.
        help: String,
    },
}

impl From<HttpError> for SourceError {
    fn from(HttpError { place, problem, help }: HttpError) -> Self {
        Self::Server { place, problem, help }
    }
}

/// A source's error about `url`.
pub(super) fn failed(url: &str, problem: impl Into<String>, help: impl Into<String>) -> SourceError {
    https::failed(url, problem, help).into()
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
