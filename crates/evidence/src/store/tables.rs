//! How each kind of record lies in its table. It must not run a query.

use rusqlite::Row;

use super::rows::{self, Names};
use crate::record::{Capture, Event, Flow, FlowKey, Loss};

/// A kind of record and its table.
pub(super) struct Table<T> {
    pub(super) name: &'static str,
    /// What its numbers begin with where people see them.
    pub(super) letter: char,
    /// Its place where a batch counts its records.
    pub(super) place: usize,
    /// The column of a batch that has its first number.
    pub(super) first: &'static str,
    /// In the order of `record`.
    pub(super) columns: &'static str,
    /// The columns of its first and its last time.
    pub(super) times: [&'static str; 2],
    /// What has a source, a port, a reason and an outcome.
    pub(super) key: Option<fn(&T) -> &FlowKey>,
    pub(super) record: fn(&Row<'_>, &Names) -> rusqlite::Result<T>,
}

pub(super) const FLOWS: Table<Flow> = Table {
    name: "flows",
    letter: 'f',
    place: 0,
    first: "first_flow",
    columns: rows::FLOW,
    times: ["first_unix_ns", "last_unix_ns"],
    key: Some(|flow| &flow.key),
    record: rows::flow,
};
pub(super) const CAPTURES: Table<Capture> = Table {
    name: "captures",
    letter: 'c',
    place: 1,
    first: "first_capture",
    columns: rows::CAPTURE,
    times: ["unix_ns", "unix_ns"],
    key: Some(|capture| &capture.key),
    record: rows::capture,
};
pub(super) const LOSSES: Table<Loss> = Table {
    name: "losses",
    letter: 'l',
    place: 2,
    first: "first_loss",
    columns: rows::LOSS,
    times: ["first_unix_ns", "last_unix_ns"],
    key: None,
    record: rows::loss,
};
pub(super) const EVENTS: Table<Event> = Table {
    name: "events",
    letter: 'e',
    place: 3,
    first: "first_event",
    columns: rows::EVENT,
    times: ["unix_ns", "unix_ns"],
    key: None,
    record: rows::event,
};

/// Names and letters of all tables, in the order of their places.
pub(super) const ALL: [(&str, char); 4] = [
    (FLOWS.name, FLOWS.letter),
    (CAPTURES.name, CAPTURES.letter),
    (LOSSES.name, LOSSES.letter),
    (EVENTS.name, EVENTS.letter),
];
