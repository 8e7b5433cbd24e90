//! Evidence: what was dropped (or would have been), kept so that it stands up weeks later. Batches of records come in from the agent's recorder, go into
//! the store with a chain over them, and are asked for by commands; sums of all traffic go into the ledger beside it. It must not decide anything, and must not
//! slow what does.

pub mod chain;
pub mod ecs;
pub mod layers;
pub mod ledger;
pub mod node;
pub mod output;
pub mod pcapng;
pub mod record;
pub mod recorder;
pub mod report;
pub mod store;
pub mod when;

use std::path::PathBuf;

use nodewall_host::state::StateDir;

/// Where the store lies in the state directory.
pub fn directory(state: &StateDir) -> PathBuf {
    state.real_path().join("evidence")
}
