//! What a refusal looks like: where it is, what is wrong, what to do next.
//!
//! Owns the picture with the caret. Must not know any key, or how a place is found (that is `text`).

use std::fmt;

use nodewall_text::{fit, shown};
use serde::Serialize;

/// A report names at most this many problems; the rest are counted.
pub(super) const MAX_ERRORS: usize = 32;

/// One problem in the configuration.
///
/// Displayed as `FILE:LINE:COLUMN: MESSAGE`, then the source line with a caret beneath, then the help.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ConfigError {
    /// The file as it was named, or the command-line flag (`--peer`) whose value is wrong.
    pub file: String,
    /// Line, from 1. `None` when the problem is with the file as a whole or with a flag.
    pub line: Option<usize>,
    /// Column in characters, from 1. `None` exactly when `line` is.
    pub column: Option<usize>,
    /// What is wrong and what was expected, in one line, beginning with the key where there is one.
    pub message: String,
    /// What to do next, where the message does not already say it.
    pub help: Option<String>,
    /// The source line, cut to a window when very long; a character for each of the file's, a harmless one where that is not.
    pub source_line: Option<String>,
    /// Where in `source_line` the caret stands: characters before it, and its width.
    pub caret: Option<(usize, usize)>,
}

impl ConfigError {
    /// A problem with a whole file or with a flag: no line, no column.
    pub fn whole(file: impl Into<String>, message: impl Into<String>, help: Option<String>) -> Self {
        Self { file: file.into(), message: message.into(), help, ..Self::default() }
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Line ends are the picture's own.
        f.write_str(&shown(&self.file))?;
        let mut gutter = 1;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, ":{line}:{column}")?;
            gutter = line.to_string().len();
        }
        write!(f, ": {}", fit(&shown(&self.message)))?;
        if let (Some(line), Some(source), Some((before, width))) = (self.line, &self.source_line, self.caret) {
            write!(f, "\n{line:gutter$} | {source}\n{:gutter$} | {:before$}{}", "", "", "^".repeat(width.max(1)))?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n{:gutter$} = help: {}", "", fit(&shown(help)))?;
        }
        Ok(())
    }
}

/// Everything that is wrong with one configuration, in the order of the file. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
pub struct ConfigErrors {
    errors: Vec<ConfigError>,
    /// How many more problems there are than `errors` names.
    unlisted: usize,
    #[serde(skip)]
    denied: bool,
}

impl ConfigErrors {
    /// `Err` if there are any. `unlisted`: how many more than `errors` there are.
    pub(super) fn none_of(mut errors: Vec<ConfigError>, unlisted: usize) -> Result<(), Self> {
        if errors.is_empty() {
            return Ok(());
        }
        let unlisted = unlisted + errors.len().saturating_sub(MAX_ERRORS);
        errors.truncate(MAX_ERRORS);
        Err(Self { errors, unlisted, denied: false })
    }

    pub(crate) fn whole(file: &str, message: String, help: Option<String>) -> Self {
        ConfigError::whole(file, message, help).into()
    }

    pub(super) fn unread(file: &str, error: ValueError) -> Self {
        Self { denied: error.denied, ..Self::whole(file, error.message, error.help) }
    }

    /// The caller may not read the file.
    pub fn is_denied(&self) -> bool {
        self.denied
    }

    /// The problems, in the order of the file; at least one.
    pub fn errors(&self) -> &[ConfigError] {
        &self.errors
    }

    /// How many further problems were counted but not listed.
    pub fn unlisted(&self) -> usize {
        self.unlisted
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self { errors: vec![error], unlisted: 0, denied: false }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        if self.unlisted > 0 {
            write!(f, "\n… and {} more", self.unlisted)?;
        }
        Ok(())
    }
}

/// Why one value is refused: not yet tied to a place. Displayed as the message alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ValueError {
    /// What is wrong and what was expected.
    pub message: String,
    /// What to do next.
    pub help: Option<String>,
    /// The caller may not read what it is about.
    pub denied: bool,
}

impl ValueError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None, denied: false }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}
