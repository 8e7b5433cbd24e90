//! What an agent is started with.

use std::path::PathBuf;

use nodewall_policy::config::{Config, Export};

use crate::control::Allow;

/// What the agent is given.
pub struct Start<R> {
    /// The configuration, or why it is none; then the last good policy is put into force.
    pub config: Result<Config, String>,
    /// Where to answer, until a configuration says so.
    pub export: Export,
    /// The command line named the mode.
    pub mode_named: bool,
    /// What the operator allows.
    pub allow: Allow,
    /// The file that is watched.
    pub watched: PathBuf,
    /// Reads the configuration anew.
    pub reload: R,
}
