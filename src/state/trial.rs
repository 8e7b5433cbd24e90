//! A change on trial: what it goes back to, and when, unless somebody confirms it. On disk before the change is made, so that no crash can make a
//! trial permanent.

use serde::{Deserialize, Serialize};

use super::{Clock, Deadline, Good, StateDir, StateError, Who};

pub(super) const TRIAL: &str = "trial.state";

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
    /// Whether it is over: its time has come, or the machine was started anew, after which nobody can tell how long it has been.
    pub fn is_over(&self, now: &Clock) -> bool {
        !self.deadline.is_of_boot(now) || self.deadline.left(now).is_zero()
    }
}

impl StateDir {
    /// The change on trial.
    pub fn trial(&self) -> Result<Option<Trial>, StateError> {
        self.read_sealed(TRIAL)
    }

    /// Whether blocks are lifted for now.
    pub fn is_panic_open(&self) -> Result<bool, StateError> {
        Ok(self.trial()?.is_some_and(|trial| trial.kind == TrialKind::PanicOpen))
    }

    /// Writes the change on trial.
    pub fn save_trial(&self, trial: &Trial) -> Result<(), StateError> {
        self.write_sealed(TRIAL, trial)
    }

    /// Ends the trial on disk.
    pub fn clear_trial(&self) -> Result<(), StateError> {
        self.remove(TRIAL)
    }
}
