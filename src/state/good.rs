//! The last good policy and the one before it, and an operator's word on the mode. What is stored is the meaning (classes, ports, peers), not the
//! configuration: a start without configuration, network, DNS or API puts exactly it into force.

use serde::{Deserialize, Serialize};

use super::{StateDir, StateError};
use crate::{
    config::{AttachMode, Mode},
    policy::Policy,
};

pub(super) const GOOD: &str = "good.state";
const PREVIOUS: &str = "previous.state";
const MODE: &str = "mode.state";

/// What is wanted: a policy, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Desired {
    /// The policy, in the mode that is in force.
    pub policy: Policy,
    /// The mode that the configuration names, which an operator's `enforce` may have overruled.
    pub configured_mode: Mode,
    /// Names and patterns of interfaces; empty: the default set.
    pub interfaces: Vec<String>,
    /// How to attach.
    pub attach_mode: AttachMode,
    /// Ports that can cut an operator off may be closed.
    pub allow_lockout: bool,
}

/// What was put into force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Good {
    /// Number of the policy image.
    pub generation: u64,
    /// SHA-256 of the policy, in hexadecimal.
    pub policy_sha256: String,
    /// Unix time at which it came into force, ns.
    pub since_unix_ns: u64,
    /// Unix time at which somebody decided that it be in force (a configuration, a lever), ns. Repairs, blocks and peers decide nothing.
    pub decided_unix_ns: u64,
    /// Names of the interfaces that were attached or waited for.
    pub attached: Vec<String>,
    /// What it was made from.
    pub desired: Desired,
}

/// An operator's `enforce` (or `rollback`) outlives the process. It counts while the configuration's mode is what it was then: whoever changes the
/// file has the last word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModeOverride {
    /// The mode to be in.
    pub mode: Mode,
    /// While the configuration says this.
    pub while_configured: Mode,
}

impl ModeOverride {
    /// The mode for a configuration that says `configured`.
    pub fn mode_for(this: Option<Self>, configured: Mode) -> Mode {
        this.filter(|word| word.while_configured == configured).map_or(configured, |word| word.mode)
    }
}

impl StateDir {
    /// The last good policy. Where its file is damaged, the one before it, with a warning.
    pub fn good(&self) -> Result<Option<Good>, StateError> {
        match self.read_sealed(GOOD) {
            Ok(good) => Ok(good),
            Err(error @ StateError::Damaged { .. }) => match self.read_sealed(PREVIOUS) {
                Ok(Some(previous)) => {
                    tracing::warn!("{error}; going on with the policy before it");
                    Ok(Some(previous))
                }
                _ => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// The policy that was in force before the last good one.
    pub fn previous(&self) -> Result<Option<Good>, StateError> {
        self.read_sealed(PREVIOUS)
    }

    /// Makes `good` the last good policy. What it replaces (`before`: what [`Self::good`] said) becomes the previous one, if the two differ in what they
    /// mean.
    pub fn save_good(&self, good: &Good, before: Option<&Good>) -> Result<(), StateError> {
        if let Some(before) = before.filter(|before| before.desired != good.desired) {
            self.write_sealed(PREVIOUS, before)?;
        }
        self.replace_good(good)
    }

    /// Makes `good` the last good policy and leaves the previous one as it is.
    pub fn replace_good(&self, good: &Good) -> Result<(), StateError> {
        self.write_sealed(GOOD, good)
    }

    /// Makes `previous` the policy to go back to.
    pub fn save_previous(&self, previous: &Good) -> Result<(), StateError> {
        self.write_sealed(PREVIOUS, previous)
    }

    /// Forgets both.
    pub fn forget_good(&self) -> Result<(), StateError> {
        self.remove(GOOD)?;
        self.remove(PREVIOUS)
    }

    /// The operator's word on the mode.
    pub fn mode_override(&self) -> Result<Option<ModeOverride>, StateError> {
        self.read_sealed(MODE)
    }

    /// Writes or takes back the operator's word on the mode.
    pub fn save_mode_override(&self, word: Option<&ModeOverride>) -> Result<(), StateError> {
        word.map_or_else(|| self.remove(MODE), |word| self.write_sealed(MODE, word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn good(generation: u64, mode: Mode) -> Good {
        let policy = Policy { mode, ..Policy::from_config(&Config::embedded()).unwrap() };
        let desired = Desired {
            policy,
            configured_mode: Mode::Audit,
            interfaces: vec!["bond*".into()],
            attach_mode: AttachMode::Native,
            allow_lockout: false,
        };
        Good {
            generation,
            policy_sha256: "00".into(),
            since_unix_ns: 7,
            decided_unix_ns: 7,
            attached: vec!["eth0".into()],
            desired,
        }
    }

    #[test]
    fn the_last_good_policy_and_the_one_before_it_survive() {
        let parent = tempfile::tempdir().unwrap();
        let state = StateDir::create(&parent.path().join("state")).unwrap();
        assert_eq!(state.good().unwrap(), None);
        let save = |new: Good| state.save_good(&new, state.good().unwrap().as_ref()).unwrap();
        save(good(1, Mode::Audit));
        save(good(2, Mode::Audit));
        assert_eq!(state.previous().unwrap(), None, "the same policy under another number");
        save(good(3, Mode::Enforce));
        assert_eq!(state.good().unwrap().unwrap(), good(3, Mode::Enforce));
        assert_eq!(state.previous().unwrap().unwrap(), good(2, Mode::Audit));
        // A file that was cut short is not believed; the one before it is.
        std::fs::write(state.file(GOOD), "nodewall-state 1 sha256 00\n{").unwrap();
        assert_eq!(state.good().unwrap().unwrap(), good(2, Mode::Audit));
        std::fs::write(state.file(PREVIOUS), "").unwrap();
        assert!(matches!(state.good(), Err(StateError::Damaged { .. })));
    }

    #[test]
    fn an_operators_mode_counts_until_the_file_says_otherwise() {
        let word = Some(ModeOverride { mode: Mode::Enforce, while_configured: Mode::Audit });
        assert_eq!(ModeOverride::mode_for(word, Mode::Audit), Mode::Enforce);
        assert_eq!(ModeOverride::mode_for(word, Mode::Enforce), Mode::Enforce);
        let opened = Some(ModeOverride { mode: Mode::Audit, while_configured: Mode::Enforce });
        assert_eq!(ModeOverride::mode_for(opened, Mode::Audit), Mode::Audit);
        assert_eq!(ModeOverride::mode_for(opened, Mode::Enforce), Mode::Audit);
        assert_eq!(ModeOverride::mode_for(None, Mode::Audit), Mode::Audit);
    }
}
