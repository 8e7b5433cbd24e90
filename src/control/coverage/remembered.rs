//! Which interfaces were covered or waited for, for a start that finds no network yet.

use serde::{Deserialize, Serialize};

use crate::control::{
    Good,
    error::AgentError,
    state_files::{readable, tell_once},
};
use nodewall_host::state::{StateDir, Stored};

/// The interfaces that were covered or waited for. At a boot nothing is addressed yet, and where none are configured these are attached.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Remembered(pub Vec<String>);

impl Stored for Remembered {
    const FILE: &'static str = "interfaces.state";
}

impl Remembered {
    /// Those of the last time. An older version wrote them beside the last good policy.
    pub fn load(state: &StateDir) -> Result<Self, AgentError> {
        if let Some(remembered) = readable(state.load::<Self>())? {
            return Ok(remembered);
        }
        let good = Good::last(state).ok().flatten();
        Ok(Self(good.map(|good| good.attached).unwrap_or_default()))
    }

    /// A full disk must not keep an interface open.
    pub(super) fn save(self, state: &StateDir, before: &Self) {
        if self != *before {
            let cost = "a start from this disk would not know which interfaces were attached";
            tell_once("interfaces", state.save(&self), cost);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Desired;
    use nodewall_policy::{
        Policy,
        config::{AttachMode, Config, Mode},
    };

    /// The last good policy as an older version wrote it.
    #[derive(Debug, Serialize, Deserialize)]
    #[serde(transparent)]
    struct OldGood(serde_json::Value);

    impl Stored for OldGood {
        const FILE: &'static str = Good::FILE;
    }

    #[test]
    fn the_interfaces_that_an_older_version_wrote_down_are_known() {
        let parent = tempfile::tempdir().unwrap();
        let state = StateDir::create(&parent.path().join("state")).unwrap();
        assert_eq!(Remembered::load(&state).unwrap(), Remembered::default());
        let desired = Desired {
            policy: Policy::from_config(&Config::embedded()).unwrap(),
            configured_mode: Mode::Audit,
            interfaces: Vec::new(),
            attach_mode: AttachMode::Native,
            interface_attach: std::collections::BTreeMap::new(),
            allow_lockout: false,
        };
        let good = Good {
            generation: 3,
            policy_sha256: "00".into(),
            since_unix_ns: 7,
            decided_unix_ns: 7,
            mode_since_unix_ns: 7,
            attached: Vec::new(),
            desired,
        };
        let mut old = serde_json::to_value(&good).unwrap();
        old["attached"] = serde_json::json!(["eth0", "bond0"]);
        state.save(&OldGood(old)).unwrap();
        assert_eq!(Good::last(&state).unwrap().unwrap().generation, 3);
        let known = Remembered(vec!["eth0".into(), "bond0".into()]);
        assert_eq!(Remembered::load(&state).unwrap(), known);
        Remembered(vec!["eth1".into()]).save(&state, &known);
        assert_eq!(Remembered::load(&state).unwrap(), Remembered(vec!["eth1".into()]));
    }
}
