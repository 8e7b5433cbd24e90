//! Why a server was not asked, or gave no answer. Must not hold what a server wrote into a page, nor a secret.

use nodewall_text::fit;

/// What went wrong where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}; {help}")]
pub struct HttpError {
    /// The URL; or the file or credential that should hold a secret.
    pub place: String,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub help: String,
}

/// An error about `url`.
pub fn failed(url: &str, problem: impl Into<String>, help: impl Into<String>) -> HttpError {
    HttpError { place: url.to_owned(), problem: fit(&problem.into()).into_owned(), help: help.into() }
}
