//! One change from configuration to kernel (`apply`), and the foreground agent around it (`run`). It must not print: commands do, and events go
//! to `tracing`.

mod apply;
mod error;
mod run;
mod state;
mod warnings;

pub use apply::{Applied, AppliedInterface, Outcome, Settings, apply};
pub use error::AgentError;
pub use run::run;
pub use state::{Record, StateDir};
pub use warnings::warnings;

use std::path::Path;

use crate::datapath::{DatapathError, PinDir};

/// Opens the node: removes every link, map and pin. Returns the interfaces' pins that were removed; empty when nothing was installed.
/// A running agent is told by a mark in the state directory, so that it does not attach again.
pub fn detach(bpffs: &Path, state: &StateDir) -> Result<Vec<String>, AgentError> {
    let missing = crate::datapath::missing_capabilities();
    if !missing.is_empty() {
        return Err(DatapathError::Privilege { missing }.into());
    }
    let _change = state.lock_policy()?;
    state.mark_detached()?;
    let removed = match PinDir::open(bpffs)? {
        Some(pins) => pins.remove()?,
        None => Vec::new(),
    };
    state.forget_record()?;
    Ok(removed)
}
