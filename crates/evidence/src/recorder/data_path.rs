//! The data path that is swept, with the names of what its numbers mean. It must not change it but for the sweep.

use super::{
    flows::Names,
    in_force::{CaptureBudget, DataPath, Failure, InForce},
};
use nodewall_host::state::Clock;

/// A data path that is swept.
pub(super) struct Swept {
    pub(super) tables: Box<dyn DataPath>,
    /// Names it: boot and map.
    pub(super) id: String,
    /// Of the rows that `names` are of.
    generation: u64,
    pub(super) names: Names,
}

impl Swept {
    /// The one in force; `None`: there is none.
    pub(super) fn find(in_force: &dyn InForce, budget: CaptureBudget) -> Result<Option<Self>, Failure> {
        let Some(tables) = in_force.data_path(budget)? else { return Ok(None) };
        let id = format!("{} {}", Clock::now().boot_id, tables.counters_id());
        Ok(Some(Self { tables, id, generation: 0, names: Names::default() }))
    }

    /// Logs why frames are not captured, if they should be.
    pub(super) fn log_captures_problem(&self) {
        if let Some(problem) = self.tables.captures_problem() {
            tracing::error!("denied flows are recorded, their frames are not captured: {problem}");
        }
    }

    /// Reads the names again if the policy changed.
    pub(super) fn refresh_names(&mut self) -> Result<(), Failure> {
        let generation = self.tables.generation()?;
        if generation != self.generation {
            self.names = Names::new(self.tables.rows()?);
            self.generation = generation;
        }
        self.names.forget_interfaces();
        Ok(())
    }
}
