//! A change on trial: what it goes back to, and when, unless somebody confirms it. On disk before the change is made, so that no crash can make a
//! trial permanent.

use serde::{Deserialize, Serialize};

use super::good::Good;
use nodewall_host::state::{Clock, Deadline, StateDir, StateError, Stored, Who};

/// What is on trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrialKind {
    /// `nodewall enforce --confirm-within`: goes back to what was before.
    Enforce,
    /// `nodewall panic-open --for`: audit, blocks lifted; goes back to enforcing.
    PanicOpen,
}

impl TrialKind {
    /// The command that began it.
    pub const fn command(self) -> &'static str {
        match self {
            Self::Enforce => "nodewall enforce",
            Self::PanicOpen => "nodewall panic-open",
        }
    }
}

/// A change on trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// What is on trial.
    pub kind: TrialKind,
    /// When it ends by itself.
    pub deadline: Deadline,
    /// What it goes back to.
    pub back_to: Good,
    /// Who began it.
    pub who: Who,
}

impl Trial {
    /// What tells it from every other trial of this boot.
    pub const fn number(&self) -> u64 {
        self.deadline.boot_ns()
    }

    /// Whether it is over: its time has come, or the machine was started anew, after which nobody can tell how long it has been.
    pub fn is_over(&self, now: &Clock) -> bool {
        !self.deadline.is_of_boot(now) || self.deadline.left(now).is_zero()
    }
}

impl Stored for Trial {
    const FILE: &'static str = "trial.state";
}

/// Whether blocks are lifted for now.
pub fn is_panic_open(state: &StateDir) -> Result<bool, StateError> {
    Ok(state.load::<Trial>()?.is_some_and(|trial| trial.kind == TrialKind::PanicOpen))
}
