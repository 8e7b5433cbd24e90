//! The last good policy and the one before it, and an operator's word on the mode. What is stored is the meaning (classes, ports, peers), not the
//! configuration: a start without configuration, network, DNS or API puts exactly it into force.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use nodewall_host::{
    net::Asked,
    state::{StateDir, StateError, Stored},
};
use nodewall_policy::{
    Policy,
    config::{AttachMode, InterfaceAttach, Mode},
};

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
    /// What differs from it on single interfaces, by their names.
    #[serde(default)]
    pub interface_attach: BTreeMap<String, InterfaceAttach>,
    /// Ports that can cut an operator off may be closed.
    pub allow_lockout: bool,
}

impl Desired {
    /// How the interface of this name is attached.
    pub fn attach_mode_of(&self, name: &str) -> AttachMode {
        attach_mode_of(self.attach_mode, &self.interface_attach, name)
    }

    /// As [`takes_layer_3`].
    pub fn takes_layer_3(&self) -> impl Fn(&str, Asked) -> bool + '_ {
        takes_layer_3(self.attach_mode, &self.interface_attach)
    }

    /// Whether the operator leaves the interface of this name open on purpose.
    pub fn acknowledges(&self, name: &str) -> bool {
        self.interface_attach.get(name) == Some(&InterfaceAttach::None)
    }
}

fn attach_mode_of(all: AttachMode, single: &BTreeMap<String, InterfaceAttach>, name: &str) -> AttachMode {
    match single.get(name) {
        Some(InterfaceAttach::Native) => AttachMode::Native,
        Some(InterfaceAttach::Tc) => AttachMode::Tc,
        Some(InterfaceAttach::Generic) => AttachMode::Generic,
        Some(InterfaceAttach::None) | None => all,
    }
}

/// Which of the devices without an Ethernet header are filtered: those that are asked for and are to be attached at the tc hook. In the default set are those
/// alone for which it is said by name.
pub fn takes_layer_3(all: AttachMode, single: &BTreeMap<String, InterfaceAttach>) -> impl Fn(&str, Asked) -> bool + '_ {
    move |name, asked| match asked {
        Asked::Named => attach_mode_of(all, single, name) == AttachMode::Tc,
        Asked::ByDefault => single.get(name) == Some(&InterfaceAttach::Tc),
    }
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
    /// Unix time since which its mode has been what it is, ns; 0: not known. A trial that was ended does not count.
    #[serde(default)]
    pub mode_since_unix_ns: u64,
    /// Names of the interfaces that were attached or waited for, as an older version wrote them here. Empty ones are still written: such a version's command
    /// that waits for the end of a trial reads this file after an upgrade, and ends by it.
    #[serde(default)]
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

impl Stored for Good {
    const FILE: &'static str = "good.state";
}

/// The policy that was in force before the last good one.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
struct Previous(Good);

impl Stored for Previous {
    const FILE: &'static str = "previous.state";
}

impl Stored for ModeOverride {
    const FILE: &'static str = "mode.state";
}

impl Good {
    /// Since when its mode is in force; 0, which is the beginning, where the clock was ahead then: nobody knows.
    pub fn mode_since(&self, now_unix_ns: u64) -> u64 {
        if self.mode_since_unix_ns > now_unix_ns { 0 } else { self.mode_since_unix_ns }
    }

    /// When an operator decided on it; 0 where the clock was ahead then: a file that is written now is not older.
    pub fn decided(&self, now_unix_ns: u64) -> u64 {
        if self.decided_unix_ns > now_unix_ns { 0 } else { self.decided_unix_ns }
    }

    /// The last good policy. Where its file is damaged, the one before it, with a warning.
    pub fn last(state: &StateDir) -> Result<Option<Self>, StateError> {
        match state.load() {
            Err(error @ StateError::Damaged { .. }) => match Self::previous(state) {
                Ok(Some(previous)) => {
                    tracing::warn!("{error}; going on with the policy before it");
                    Ok(Some(previous))
                }
                _ => Err(error),
            },
            result => result,
        }
    }

    /// The policy that was in force before the last good one.
    pub fn previous(state: &StateDir) -> Result<Option<Self>, StateError> {
        Ok(state.load()?.map(|Previous(good)| good))
    }

    /// Makes this the last good policy. What it replaces (`before`: what [`Self::last`] said) becomes the previous one, if the two differ in what they
    /// mean.
    pub fn save(&self, state: &StateDir, before: Option<&Self>) -> Result<(), StateError> {
        if let Some(before) = before.filter(|before| before.desired != self.desired) {
            before.save_as_previous(state)?;
        }
        state.save(self)
    }

    /// Makes this the policy to go back to.
    pub fn save_as_previous(&self, state: &StateDir) -> Result<(), StateError> {
        state.save(&Previous(self.clone()))
    }

    /// Forgets the last good policy and the one before it.
    pub fn forget(state: &StateDir) -> Result<(), StateError> {
        state.forget::<Self>()?;
        state.forget::<Previous>()
    }
}

impl ModeOverride {
    /// Writes or takes back the operator's word on the mode.
    pub fn save_in(state: &StateDir, word: Option<&Self>) -> Result<(), StateError> {
        word.map_or_else(|| state.forget::<Self>(), |word| state.save(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodewall_policy::config::Config;

    fn good(generation: u64, mode: Mode) -> Good {
        let policy = Policy { mode, ..Policy::from_config(&Config::embedded()).unwrap() };
        let desired = Desired {
            policy,
            configured_mode: Mode::Audit,
            interfaces: vec!["bond*".into()],
            attach_mode: AttachMode::Native,
            interface_attach: BTreeMap::new(),
            allow_lockout: false,
        };
        Good {
            generation,
            policy_sha256: "00".into(),
            since_unix_ns: 7,
            decided_unix_ns: 7,
            mode_since_unix_ns: 7,
            attached: Vec::new(),
            desired,
        }
    }

    #[test]
    fn a_decision_under_a_clock_that_was_ahead_is_before_whatever_is_written_now() {
        let good = good(1, Mode::Audit);
        assert_eq!([good.decided(7), good.mode_since(8)], [7, 7]);
        assert_eq!([good.decided(6), good.mode_since(6)], [0, 0]);
    }

    #[test]
    fn the_last_good_policy_and_the_one_before_it_survive() {
        let parent = tempfile::tempdir().unwrap();
        let state = StateDir::create(&parent.path().join("state")).unwrap();
        assert_eq!(Good::last(&state).unwrap(), None);
        let save = |new: Good| new.save(&state, Good::last(&state).unwrap().as_ref()).unwrap();
        save(good(1, Mode::Audit));
        save(good(2, Mode::Audit));
        assert_eq!(Good::previous(&state).unwrap(), None, "the same policy under another number");
        save(good(3, Mode::Enforce));
        assert_eq!(Good::last(&state).unwrap().unwrap(), good(3, Mode::Enforce));
        assert_eq!(Good::previous(&state).unwrap().unwrap(), good(2, Mode::Audit));
        // A file that was cut short is not believed; the one before it is.
        std::fs::write(state.file(Good::FILE), "nodewall-state 1 sha256 00\n{").unwrap();
        assert_eq!(Good::last(&state).unwrap().unwrap(), good(2, Mode::Audit));
        std::fs::write(state.file(Previous::FILE), "").unwrap();
        assert!(matches!(Good::last(&state), Err(StateError::Damaged { .. })));
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
