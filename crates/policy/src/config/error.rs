//! What a refusal looks like: where it is, what is wrong, what to do next.
//!
//! Owns turning a byte span of the text into file, line and column, and the picture with the caret. Must not know any key.

use std::fmt;
use std::ops::Range;

use serde::Serialize;

/// A report names at most this many problems; the rest are counted.
const MAX_ERRORS: usize = 32;
/// Source lines longer than this are shown as a window around the caret.
const MAX_EXCERPT_CHARS: usize = 160;

/// One problem in the configuration.
///
/// Displayed as `FILE:LINE:COLUMN: MESSAGE`, then the source line with a caret beneath, then the help.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
    /// The source line, cut to a window when very long; control characters are replaced.
    pub source_line: Option<String>,
    /// Where in `source_line` the caret stands: characters before it, and its width.
    pub caret: Option<(usize, usize)>,
}

impl ConfigError {
    /// A problem with a whole file or with a flag: no line, no column.
    pub fn whole(file: impl Into<String>, message: impl Into<String>, help: Option<String>) -> Self {
        Self {
            file: file.into(),
            line: None,
            column: None,
            message: message.into(),
            help,
            source_line: None,
            caret: None,
        }
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        let mut gutter = 1;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, ":{line}:{column}")?;
            gutter = line.to_string().len();
        }
        write!(f, ": {}", self.message)?;
        if let (Some(line), Some(source), Some((before, width))) = (self.line, &self.source_line, self.caret) {
            // A tab before the caret stays a tab, so that the caret stands under its text in any terminal.
            let indent: String = source.chars().take(before).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            write!(f, "\n{line:gutter$} | {source}\n{:gutter$} | {indent}{}", "", "^".repeat(width.max(1)))?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n{:gutter$} = help: {help}", "")?;
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
}

impl ConfigErrors {
    pub(crate) fn whole(file: &str, message: String, help: Option<String>) -> Self {
        ConfigError::whole(file, message, help).into()
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
        Self { errors: vec![error], unlisted: 0 }
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
}

impl ValueError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// A configuration text under the name that its errors give it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) file: &'a str,
    pub(crate) text: &'a str,
}

impl Source<'_> {
    /// Line and column, both from 1, of a byte offset; an offset past the end is the end.
    pub(crate) fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.before(offset);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let column = before.get(line_start..).unwrap_or_default().trim_start_matches('\u{feff}').chars().count() + 1;
        (line, column)
    }

    /// `file:line:column` of a byte offset, for messages that point at a second place.
    pub(crate) fn place(&self, offset: usize) -> String {
        let (line, column) = self.position(offset);
        format!("{}:{line}:{column}", self.file)
    }

    /// An error at a byte span of the text.
    pub(crate) fn error(&self, span: &Range<usize>, message: impl Into<String>, help: Option<String>) -> ConfigError {
        let (line, column) = self.position(span.start);
        let text = self.text.split('\n').nth(line - 1).unwrap_or_default();
        let text = text.trim_start_matches('\u{feff}').trim_end_matches('\r');
        let marked = self.text.get(span.clone()).unwrap_or_default();
        // A span over several lines is marked to the end of its first.
        let width = marked.split('\n').next().unwrap_or_default().trim_end().chars().count();
        let (source_line, caret) = excerpt(text, column - 1, width);
        ConfigError {
            file: self.file.to_owned(),
            line: Some(line),
            column: Some(column),
            message: message.into(),
            help,
            source_line: Some(source_line),
            caret: Some(caret),
        }
    }

    fn before(&self, offset: usize) -> &str {
        let mut end = offset.min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        self.text.get(..end).unwrap_or_default()
    }
}

/// The line as it is shown, and the caret in it.
fn excerpt(line: &str, before: usize, width: usize) -> (String, (usize, usize)) {
    let length = line.chars().count();
    let start = if length > MAX_EXCERPT_CHARS { before.saturating_sub(MAX_EXCERPT_CHARS / 2) } else { 0 };
    let shown = line
        .chars()
        .skip(start)
        .take(MAX_EXCERPT_CHARS)
        // A terminal escape in a configuration file must not reach the terminal.
        .map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c })
        .collect::<String>();
    let room = shown.chars().count().saturating_sub(before - start);
    (shown, (before - start, width.min(room).max(1)))
}

/// Collects the problems of one text, so that the operator sees all of them at once.
#[derive(Debug)]
pub(crate) struct Problems<'a> {
    pub(crate) source: Source<'a>,
    errors: Vec<ConfigError>,
    unlisted: usize,
}

impl<'a> Problems<'a> {
    pub(crate) fn new(source: Source<'a>) -> Self {
        Self { source, errors: Vec::new(), unlisted: 0 }
    }

    /// Notes a refused value of `key`.
    pub(crate) fn value(&mut self, span: &Range<usize>, key: &str, error: ValueError) {
        self.push(span, || (format!("{key}: {}", error.message), error.help));
    }

    /// Notes a problem; the message is made only if it will be listed.
    pub(crate) fn push(&mut self, span: &Range<usize>, make: impl FnOnce() -> (String, Option<String>)) {
        if self.errors.len() < MAX_ERRORS {
            let (message, help) = make();
            self.errors.push(self.source.error(span, message, help));
        } else {
            self.unlisted += 1;
        }
    }

    /// `Err` if anything was noted.
    pub(crate) fn finish(mut self) -> Result<(), ConfigErrors> {
        if self.errors.is_empty() {
            return Ok(());
        }
        self.errors.sort_by_key(|error| (error.line, error.column));
        Err(ConfigErrors { errors: self.errors, unlisted: self.unlisted })
    }
}

/// Collects the problems of command-line flags.
#[derive(Debug, Default)]
pub(crate) struct FlagProblems {
    errors: Vec<ConfigError>,
}

impl FlagProblems {
    pub(crate) fn value(&mut self, flag: &str, error: ValueError) {
        self.errors.push(ConfigError::whole(flag, error.message, error.help));
    }

    pub(crate) fn finish(mut self) -> Result<(), ConfigErrors> {
        if self.errors.is_empty() {
            return Ok(());
        }
        let unlisted = self.errors.len().saturating_sub(MAX_ERRORS);
        self.errors.truncate(MAX_ERRORS);
        Err(ConfigErrors { errors: self.errors, unlisted })
    }
}
