//! A configuration's text under its name: byte spans become file, line, column, key and excerpt; and the library's errors our own.
//!
//! Must not judge a value.

use std::ops::Range;

use nodewall_text::is_harmless;
use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};

use super::enums::{nearest, one_of};
use super::error::{ConfigError, ConfigErrors};

/// Source lines longer than this are shown as a window around the caret.
const MAX_EXCERPT_CHARS: usize = 160;

/// A configuration text under the name that its errors give it.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConfigText<'a> {
    pub(super) file: &'a str,
    pub(super) text: &'a str,
}

impl<'a> ConfigText<'a> {
    /// The keys and where they are; text that is no TOML has none.
    pub(super) fn keys(self) -> Option<DeTable<'a>> {
        DeTable::parse(self.text).ok().map(toml::Spanned::into_inner)
    }

    /// Line and column, both from 1, of a byte offset; an offset past the end is the end.
    pub(super) fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.before(offset);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let column = before.get(line_start..).unwrap_or_default().trim_start_matches('\u{feff}').chars().count() + 1;
        (line, column)
    }

    /// `file:line:column` of a byte offset, for messages that point at a second place.
    pub(super) fn place(&self, offset: usize) -> String {
        let (line, column) = self.position(offset);
        format!("{}:{line}:{column}", self.file)
    }

    /// An error at a byte span of the text.
    pub(super) fn error(&self, span: &Range<usize>, message: impl Into<String>, help: Option<String>) -> ConfigError {
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
        // One for one, so that the caret stands under what it means.
        .map(|c| match c {
            '\t' => ' ',
            c if is_harmless(c) => c,
            _ => '\u{fffd}',
        })
        .collect::<String>();
    let room = shown.chars().count().saturating_sub(before - start);
    (shown, (before - start, width.min(room).max(1)))
}

/// Reads the text into its shape.
pub(super) fn read<T: DeserializeOwned>(source: ConfigText<'_>) -> Result<T, ConfigErrors> {
    toml::from_str(source.text).map_err(|error| explain(source, &error).into())
}

/// The library's error in our form: its span as a place, the key in front, unknown keys with the one that was meant.
fn explain(source: ConfigText<'_>, error: &toml::de::Error) -> ConfigError {
    let span = error.span().unwrap_or(0..0);
    let (mut message, help) = reword(error.message());
    if message == "duplicate key" {
        message = format!("{message} {:?}", source.text.get(span.clone()).unwrap_or_default());
    }
    let key = source.keys().and_then(|keys| key_at(&keys, span.start));
    if let Some(key) = key.filter(|_| !message.starts_with("unknown key")) {
        message = format!("{key}: {message}");
    }
    source.error(&span, message, help)
}

fn reword(message: &str) -> (String, Option<String>) {
    if let Some(unknown) = message.strip_prefix("unknown field ") {
        // serde's wording: unknown field `x`, expected one of `a`, `b`
        let mut names = unknown.split('`').skip(1).step_by(2);
        let found = names.next().unwrap_or_default();
        let known: Vec<&str> = names.collect();
        let meant = nearest(found, &known).map(|name| format!("; did you mean \"{name}\"?")).unwrap_or_default();
        return (format!("unknown key {found:?}{meant}"), Some(format!("known here: {}", known.join(", "))));
    }
    if let Some(missing) = message.strip_prefix("missing field ") {
        return (format!("missing key {}", missing.replace('`', "\"")), None);
    }
    let message = message
        .replace("expected a sequence", "expected a list in square brackets")
        .replace("expected a boolean", &format!("expected {}", one_of(&["true", "false"]).replace('"', "")))
        .replace("invalid type: map", "invalid type: a table")
        .replace("invalid type: sequence", "invalid type: a list");
    // The library's own messages may run over several lines.
    (message.lines().collect::<Vec<_>>().join("; "), None)
}

/// The key whose name or value is at a byte offset: `profile.name`, or within `[[rule]]` the bare key.
pub(super) fn key_at(table: &DeTable<'_>, offset: usize) -> Option<String> {
    table.iter().find_map(|(key, value)| {
        let name = key.get_ref();
        if let Some(inner) = key_within(value.get_ref(), offset) {
            return Some(if name == "rule" { inner } else { format!("{name}.{inner}") });
        }
        (key.span().contains(&offset) || value.span().contains(&offset)).then(|| name.to_string())
    })
}

fn key_within(value: &DeValue<'_>, offset: usize) -> Option<String> {
    match value {
        DeValue::Table(table) => key_at(table, offset),
        DeValue::Array(array) => array.iter().find_map(|element| key_within(element.get_ref(), offset)),
        _ => None,
    }
}
