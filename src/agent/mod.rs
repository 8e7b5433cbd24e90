//! One change from configuration to kernel (`apply`), and the foreground agent around it (`run`). It must not print: commands do, and events go
//! to `tracing`.

mod apply;
mod error;
mod run;
mod state;
mod warnings;

pub use apply::{Applied, AppliedInterface, Cause, Outcome, Settings, apply};
pub use error::AgentError;
pub use run::run;
pub use state::{Record, StateDir};
pub use warnings::warnings;

use std::path::Path;

use crate::{
    datapath::{self, DatapathError, PinDir},
    net,
};

/// Opens the node: removes every link, map and pin. Returns the names of the interfaces that were filtered. A running agent is told by a mark
/// in the state directory, so that it does not attach again.
pub async fn detach(bpffs: &Path, state: &StateDir) -> Result<Vec<String>, AgentError> {
    let missing = datapath::missing_capabilities();
    if !missing.is_empty() {
        return Err(DatapathError::Privilege { missing }.into());
    }
    let _change = state.lock_policy()?;
    state.mark_detached()?;
    let mut opened = Vec::new();
    if let Some(pins) = PinDir::open(bpffs)? {
        // Names are a courtesy: without them the node is opened all the same.
        let network = net::snapshot().await.unwrap_or_default();
        opened = datapath::links(&pins)
            .unwrap_or_default()
            .iter()
            .filter_map(|link| network.by_index(link.if_index).map(|l| l.name.clone()))
            .collect();
        pins.remove()?;
    }
    state.forget_record()?;
    Ok(opened)
}
