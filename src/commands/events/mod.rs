//! `nodewall events`: what its commands need to question the evidence. It must not change the store.

pub(super) mod export;
pub(super) mod list;
pub(super) mod show;
pub(super) mod tail;
pub(super) mod verify;

use std::path::PathBuf;

use anyhow::anyhow;

use super::{DEGRADED, EndSignals, FINE, Failure, block_on, evidence_out::is_closed, print};
use crate::{
    cli::{Common, Match},
    view::evidence::Row,
};
use nodewall_evidence::{
    self as evidence,
    store::{Filter, Reader},
};
use nodewall_host::state::StateDir;

/// Below every list for people.
const UNVERIFIED: &str = "Sources are unverified: a frame does not prove who sent it.";
/// Where the store is, if there is a state directory.
fn directory(common: &Common) -> Result<Option<PathBuf>, Failure> {
    Ok(StateDir::open(&common.state_dir)?.map(|state| evidence::directory(&state)))
}

/// The store; having none is an error that says what to do.
fn store(common: &Common) -> Result<(PathBuf, Reader), Failure> {
    let directory = directory(common)?.ok_or_else(|| none(common))?;
    let reader = Reader::open(&directory)?.ok_or_else(|| none(common))?;
    Ok((directory, reader))
}

fn none(common: &Common) -> anyhow::Error {
    anyhow!(
        "no evidence in {}: `nodewall run` records it unless [evidence] is off; another place is named with --state-dir",
        common.state_dir.display()
    )
}

impl Match {
    pub(super) fn filter(&self) -> Filter {
        Filter {
            ports: self.ports.clone(),
            sources: self.sources.clone(),
            reasons: self.reasons.clone(),
            outcome: self.outcome,
            ..Filter::default()
        }
    }
}

fn table<R: Row>(rows: &[R]) -> anyhow::Result<()> {
    crate::ui::print_table(R::TABLE, R::NUMBERS, rows.iter().map(Row::table))
}
