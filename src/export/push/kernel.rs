//! The kernel's counters, also the last values of those that were taken away. Must not change them.

use std::path::PathBuf;

use super::state::Snapshot;
use crate::view::counters::Counters;
use nodewall_datapath::{DatapathError, Maps};
use nodewall_host::state::Clock;

/// Reads them, and holds on to them until it has read their last values: pins that `detach` removes are held maps no less.
pub(super) struct CounterReader {
    bpffs: PathBuf,
    held: Option<(String, Maps)>,
}

impl CounterReader {
    pub(super) fn new(bpffs: PathBuf) -> Self {
        Self { bpffs, held: None }
    }

    /// Those that are gone since the last call, and those that are there.
    pub(super) fn read(&mut self) -> Result<Vec<Snapshot>, DatapathError> {
        let live = match Maps::live(&self.bpffs)? {
            Some((pins, maps)) => Some((format!("{} {}", Clock::now().boot_id, maps.counters_id(&pins)?), maps)),
            None => None,
        };
        let mut snapshots = Vec::new();
        let others = |held: &&(String, Maps)| live.as_ref().is_none_or(|(name, _)| *name != held.0);
        if let Some((name, maps)) = self.held.as_ref().filter(others) {
            snapshots.push(Snapshot { counters: name.clone(), rows: Counters::read(maps)?.rows });
        }
        if let Some((name, maps)) = &live {
            snapshots.push(Snapshot { counters: name.clone(), rows: Counters::read(maps)?.rows });
        }
        self.held = live;
        Ok(snapshots)
    }
}
