//! Changes of what is in force, each under one lock (`apply`, `enforce`, `confirm`, `rollback`, `panic_open`, `block`, `detach`), and the files that
//! hold what is wanted. It must not print: commands do, and events go to `tracing`.

pub(crate) mod affected;
mod allow;
pub(crate) mod apply;
pub(crate) mod block;
mod block_list;
pub(crate) mod change;
pub(crate) mod coverage;
mod detach;
pub(crate) mod error;
mod good;
mod guard;
mod health;
mod holder;
mod left;
pub(crate) mod peers;
pub(crate) mod plan;
pub(crate) mod program;
mod seen;
mod session;
pub(crate) mod state_files;
pub(crate) mod surroundings;
pub(crate) mod trial;
mod trial_file;
pub(crate) mod warnings;

pub use affected::{Affected, Denied, InKernel, Observed};
pub use allow::Allow;
pub use apply::{Cause, apply, start_again};
pub use block::{Blocking, Changed, block, unblock};
pub use block_list::{Block, Blocks};
pub use change::{InForce, Site};
pub use coverage::{AttachAction, Coverage, CoverageState, InterfaceCoverage, Remembered, look};
pub use detach::detach;
pub use error::AgentError;
pub use good::{Desired, Good, ModeOverride, takes_layer_3};
pub use health::{Gaps, Health, Refused, Repair};
pub use holder::{Holder, holders, stand_apart};
pub use left::{Left, LeftPeer, Talkers};
pub(crate) use peers::note_changes as note_peer_changes;
pub use peers::{ask_local, desired, peers_changed};
pub use plan::{Difference, plan};
pub use program::Applied;
pub use seen::Seen;
pub use trial::{TrialState, confirm, enforce, panic_open, rollback, rollback_trial, trial_state};
pub use trial_file::{Trial, TrialKind, is_panic_open};
pub use warnings::warnings;

use nodewall_host::state::{Stamp, StateDir};

/// What tells whether the last good policy, the blocks or the trial were written anew since.
pub fn stamps(state: &StateDir) -> [Option<Stamp>; 3] {
    [state.stamp::<Good>(), state.stamp::<Blocks>(), state.stamp::<Trial>()]
}
