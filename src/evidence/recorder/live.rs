//! The live data path as the recorder sees it: found, swept, and left when it is gone. It must not change it but for the sweep.

use std::path::{Path, PathBuf};

use node_ebpf_common::Verdict;

use super::{flows::Names, notes::Base};
use nodewall_datapath::{CaptureBudget, DatapathError, Evidence, Maps, PinDir};
use nodewall_host::state::Clock;

/// A data path that is swept.
pub(super) struct Live {
    pins: PinDir,
    maps: Maps,
    pub(super) evidence: Evidence,
    /// Names it: boot and map.
    pub(super) id: String,
    /// Of the rows that `names` are of.
    generation: u64,
    pub(super) names: Names,
}

impl Live {
    /// The one that is pinned; `None`: there is none.
    pub(super) fn find(bpffs: &Path, budget: CaptureBudget) -> Result<Option<Self>, DatapathError> {
        let Some((pins, maps)) = Maps::live(&PathBuf::from(bpffs))? else { return Ok(None) };
        let id = Base::name(&Clock::now(), maps.counters_id()?);
        let evidence = maps.evidence(budget)?;
        Ok(Some(Self { pins, maps, evidence, id, generation: 0, names: Names::default() }))
    }

    /// Why frames are not captured, though they should be.
    pub(super) fn captures_problem(&self) -> Option<String> {
        self.evidence.refused().map(ToString::to_string)
    }

    /// Says so.
    pub(super) fn tell_refused(&self) {
        if let Some(error) = self.evidence.refused() {
            tracing::error!("denied flows are recorded, their frames are not captured: {error}");
        }
    }

    /// Whether it is still what is pinned. Pins that were taken away may be put back.
    pub(super) fn is_pinned(&self) -> Result<bool, DatapathError> {
        self.maps.are_pinned(&self.pins)
    }

    /// Reads the names again if the policy changed.
    pub(super) fn refresh_names(&mut self) -> Result<(), DatapathError> {
        let generation = self.maps.in_force_facts()?.generation;
        if generation != self.generation {
            self.names = Names::new(&self.maps.rows()?);
            self.generation = generation;
        }
        self.names.forget_interfaces();
        Ok(())
    }

    /// Packets and bytes that the counters say were denied, in both modes.
    pub(super) fn denied(&self) -> Result<[u64; 2], DatapathError> {
        let cells = self.maps.cells(&self.maps.rows()?)?;
        let denied = cells.iter().filter(|cell| cell.reason.verdict() == Verdict::Drop);
        Ok(denied.fold([0; 2], |[packets, bytes], cell| [packets + cell.counter.packets, bytes + cell.counter.bytes]))
    }
}
