//! What the text means and what is refused. Every refusal is pinned to its line and column.

mod counters;
mod evidence;
mod files;
mod flags;
mod limits;
mod links;
mod meaning;
mod mission_control;
mod refusals_rules;
mod refusals_values;
pub(super) mod schema;

use super::{Config, ConfigErrors};

/// Stands before the place at which the refusal must point. Not part of the text.
const MARK: char = '▶';

/// Text with one [`MARK`], and what the message must hold.
type Case<'a> = (&'a str, &'a str);

/// The text without its mark, and the marked line and column.
fn unmark(marked: &str) -> (String, usize, usize) {
    assert_eq!(marked.matches(MARK).count(), 1, "one mark per case: {marked}");
    let (before, _) = marked.split_once(MARK).unwrap();
    let line = before.matches('\n').count() + 1;
    let column = before.lines().next_back().filter(|_| !before.ends_with('\n')).map_or(0, |last| last.chars().count());
    (marked.replace(MARK, ""), line, column + 1)
}

fn refused(text: &str) -> ConfigErrors {
    match Config::parse(text, "nodewall.toml") {
        Ok(config) => panic!("accepted: {text}\nas {config:?}"),
        Err(errors) => errors,
    }
}

fn assert_refusals(cases: &[Case<'_>]) {
    for (marked, fragment) in cases {
        assert_refusal(marked, fragment);
    }
}

/// Refused with exactly one error, at the mark, with the message.
fn assert_refusal(marked: &str, fragment: &str) {
    let (text, line, column) = unmark(marked);
    let errors = refused(&text);
    let shown = errors.to_string();
    assert_eq!(errors.errors().len(), 1, "{shown}");
    let error = &errors.errors()[0];
    assert_eq!((error.line, error.column), (Some(line), Some(column)), "expected {line}:{column}\n{shown}");
    assert!(error.message.contains(fragment), "expected {fragment:?} in\n{shown}");
    assert!(shown.starts_with(&format!("nodewall.toml:{line}:{column}: ")), "{shown}");
    assert!(error.source_line.is_some() && error.caret.is_some(), "{shown}");
}
