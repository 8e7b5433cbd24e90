//! Collects what is wrong, so that the operator sees all of it at once.
//!
//! Owns how many problems are listed. Must not judge a value: each has judged itself (`given`).

use std::cell::OnceCell;
use std::ops::Range;

use toml::de::DeTable;

use super::error::{ConfigError, ConfigErrors, MAX_ERRORS, ValueError};
use super::given::{Given, Judged, List};
use super::text::{ConfigText, key_at};

/// The problems of one text.
pub(super) struct Problems<'a> {
    source: ConfigText<'a>,
    keys: OnceCell<Option<DeTable<'a>>>,
    errors: Vec<ConfigError>,
    unlisted: usize,
}

impl<'a> Problems<'a> {
    pub(super) fn new(source: ConfigText<'a>) -> Self {
        Self { source, keys: OnceCell::new(), errors: Vec::new(), unlisted: 0 }
    }

    /// A key's value, if it is there and not refused.
    pub(super) fn take<T: Judged>(&mut self, given: Given<T>) -> Option<T::Value> {
        let given = given.spanned()?;
        let span = given.span();
        given.into_inner().judged().map_err(|error| self.refuse(&span, error)).ok()
    }

    /// The same for a key that its table must have. `table`: its place and its name.
    pub(super) fn required<T: Judged>(
        &mut self,
        given: Given<T>,
        table: (&Range<usize>, &str),
        key: &str,
    ) -> Option<T::Value> {
        if given.span().is_none() {
            self.push(table.0, format!("{}: missing key \"{key}\"", table.1), None);
        }
        self.take(given)
    }

    /// The elements of a list that are not refused, with their places.
    pub(super) fn elements<T: Judged>(&mut self, list: List<T>) -> Vec<(T::Value, Range<usize>)> {
        let mut taken = Vec::new();
        for element in list.elements() {
            let span = element.span();
            match element.into_inner().judged() {
                Ok(value) => taken.push((value, span)),
                Err(error) => self.refuse(&span, error),
            }
        }
        taken
    }

    /// The same in the order written, each once, and no more than `most`.
    pub(super) fn distinct<T: Judged<Value: PartialEq + std::fmt::Debug>>(
        &mut self,
        list: List<T>,
        most: usize,
    ) -> Vec<T::Value> {
        let mut values = Vec::new();
        for (value, span) in self.elements(list) {
            if values.contains(&value) {
                continue;
            }
            if values.len() == most {
                self.refuse(&span, ValueError::new(format!("{value:?} is one too many: at most {most}")));
            } else {
                values.push(value);
            }
        }
        values
    }

    /// Notes a refused value; its key is put in front.
    pub(super) fn refuse(&mut self, span: &Range<usize>, error: ValueError) {
        let keys = self.keys.get_or_init(|| self.source.keys());
        let listed = self.errors.len() < MAX_ERRORS;
        let key = keys.as_ref().filter(|_| listed).and_then(|keys| key_at(keys, span.start));
        let message = match key {
            Some(key) => format!("{key}: {error}"),
            None => error.message,
        };
        self.push(span, message, error.help.as_deref());
    }

    /// Notes what is wrong with more than one value.
    pub(super) fn push(&mut self, span: &Range<usize>, message: String, help: Option<&str>) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(self.source.error(span, message, help.map(str::to_owned)));
        } else {
            self.unlisted += 1;
        }
    }

    /// `file:line:column`, for messages that point at a second place.
    pub(super) fn place(&self, span: &Range<usize>) -> String {
        self.source.place(span.start)
    }

    /// `Err` if anything was noted.
    pub(super) fn finish(mut self) -> Result<(), ConfigErrors> {
        self.errors.sort_by_key(|error| (error.line, error.column));
        ConfigErrors::none_of(self.errors, self.unlisted)
    }
}
