//! What a configuration means: the profile's port classes under the operator's rules, and the peers.
//!
//! Owns [`Policy`] and its refusals. How profile and rules become one is in `merge`.

use std::collections::BTreeMap;
use std::fmt;

use ipnet::IpNet;
use node_ebpf_common::Shape;
use serde::{Deserialize, Serialize};

use crate::config::{
    Access, ConfigErrors, ConfigOrigin, InterfacePeers, LaterFragments, MissionControl, Mode, PortRange, PortSet,
    ProfileName, Protocol, Tunnels,
};

/// The meaning of one configuration: what the compiler turns into an image, what `check` prints, what is hashed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Whether drop verdicts drop.
    pub mode: Mode,
    /// Who may send tunnelled traffic.
    pub tunnels: Tunnels,
    /// Who may send fragments after the first.
    pub later_fragments: LaterFragments,
    /// Having no peers is right.
    pub single_node: bool,
    /// Sorted by name; no two share a port and protocol.
    pub classes: Vec<PortClass>,
    /// Sorted, no duplicates; a single address has full prefix length.
    pub peers: Vec<IpNet>,
    /// Who may come in by single interfaces, by their names, where not every peer may.
    #[serde(default)]
    pub interface_peers: BTreeMap<String, InterfacePeers>,
    /// Whom outbound traffic is counted apart for. Not part of the canonical text: it decides nothing.
    #[serde(default)]
    pub mission_control: MissionControl,
    /// Whether the traffic of each port is counted for each peer. Not part of the canonical text either.
    #[serde(default)]
    pub per_peer: bool,
    /// Whether it is noted who is denied. Not part of the canonical text either.
    #[serde(default)]
    pub evidence: bool,
    /// What it was made from. Not part of the canonical text.
    pub source: PolicySource,
    /// What is allowed but may not be meant, each a sentence for the operator. Not part of the canonical text.
    pub warnings: Vec<String>,
}

impl Policy {
    /// Which instructions the kernel program needs for it. Only what no lever changes decides that.
    pub fn shape(&self) -> Shape {
        Shape {
            evidence: self.evidence,
            per_peer: self.per_peer,
            interface_rules: !self.interface_peers.is_empty(),
            ..Shape::PLAIN
        }
    }
}

/// What a policy was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicySource {
    /// The configuration.
    pub config: ConfigOrigin,
    /// The profile.
    pub profile: ProfileName,
}

/// The ports that share one rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortClass {
    /// Unique in the policy.
    pub name: String,
    /// Sorted by protocol, then port; in the fewest ranges; never empty.
    pub ports: Vec<PortEntry>,
    /// Who may reach them.
    pub access: Access,
    /// Sources let in besides; sorted, no duplicates. Empty when `access` is public.
    pub also_allow: Vec<IpNet>,
    /// What it denies is counted and recorded, and goes on, also where the policy enforces. Blocked sources are dropped all the same.
    #[serde(default)]
    pub audited: bool,
    /// Who made this class.
    pub from: Origin,
    /// For people: the vendor's words, or the operator's.
    pub note: Option<String>,
}

/// Ports of one protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PortEntry {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The ports, both ends included.
    pub ports: PortRange,
}

/// Who made a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Origin {
    /// The profile.
    Profile(ProfileName),
    /// A `[[rule]]` of the operator's.
    Rule,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Profile(name) => write!(f, "profile {name}"),
            Self::Rule => f.write_str("own rule"),
        }
    }
}

impl PortClass {
    /// The class's ports of one protocol, ascending.
    pub fn ranges(&self, protocol: Protocol) -> impl Iterator<Item = PortRange> + '_ {
        self.ports.iter().filter(move |entry| entry.protocol == protocol).map(|entry| entry.ports)
    }

    /// Whether the class names this port.
    pub fn names(&self, protocol: Protocol, port: u16) -> bool {
        self.ranges(protocol).any(|range| range.contains(port))
    }
}

impl Policy {
    /// The class that names this port, if any does.
    pub fn class_of(&self, protocol: Protocol, port: u16) -> Option<&PortClass> {
        self.classes.iter().find(|class| class.names(protocol, port))
    }

    /// Names of the classes that only audit while the rest is enforced.
    pub fn audited(&self) -> Vec<&str> {
        let enforces = self.mode == Mode::Enforce;
        let audited = self.classes.iter().filter(|class| enforces && class.audited && class.access != Access::Public);
        audited.map(|class| class.name.as_str()).collect()
    }

    /// The ports that are not open to everyone, of either protocol.
    pub fn restricted_ports(&self) -> PortSet {
        let restricted = self.classes.iter().filter(|class| class.access != Access::Public);
        restricted.flat_map(|class| &class.ports).map(|entry| entry.ports).collect()
    }

    /// Refuses what would cut the cluster apart: enforcing for peers while there are none.
    ///
    /// For commands that enforce; `check` may print such a policy.
    pub fn require_peers(&self) -> Result<(), PolicyError> {
        if self.mode == Mode::Enforce && self.peers.is_empty() && !self.single_node {
            return Err(PolicyError::NoPeers { config: self.source.config.clone() });
        }
        Ok(())
    }
}

/// A mode, and the classes that only audit in spite of it, for people.
pub fn mode_in_words(mode: &str, audited: &[impl AsRef<str>]) -> String {
    let names: Vec<&str> = audited.iter().map(AsRef::as_ref).collect();
    if names.is_empty() { mode.to_owned() } else { format!("{mode}; audited: {}", names.join(", ")) }
}

/// Why a configuration has no usable meaning.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The profile that is compiled in cannot be read: a fault of this build.
    #[error("the compiled-in profile {name} is broken; this build of nodewall is unusable: {errors}")]
    Profile {
        /// Which.
        name: ProfileName,
        /// What is wrong with it.
        errors: ConfigErrors,
    },
    /// A port that must stay open would be closed.
    #[error(
        "port {port} is in lockout_ports ({config}), and the class {class} makes it access = \"{access}\"; \
         take it out of lockout_ports, make it public with a rule of its own, or set allow_lockout = true"
    )]
    Lockout {
        /// The port.
        port: u16,
        /// The class that closes it.
        class: String,
        /// What the class does.
        access: Access,
        /// The configuration.
        config: ConfigOrigin,
    },
    /// A class to audit that there is not.
    #[error("profile.audit ({config}): {name:?} is no class of the profile; expected {expected}")]
    UnknownClass {
        /// As it was written.
        name: String,
        /// What it may be.
        expected: String,
        /// The configuration.
        config: ConfigOrigin,
    },
    /// Enforce without peers.
    #[error(
        "no peers are named ({config}), so mode = \"enforce\" would cut this node off its cluster; \
         name the other nodes (--peer ADDR or [peers] static), or set single_node = true, or mode = \"audit\""
    )]
    NoPeers {
        /// The configuration without peers.
        config: ConfigOrigin,
    },
}
