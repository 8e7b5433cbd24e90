//! What the checks of interfaces need to know. Must not judge it.

use std::collections::BTreeMap;

use crate::control::InterfaceCoverage;
use nodewall_host::net::{Driver, Network, Selection};
use nodewall_policy::config::{AttachMode, Tunnels};

/// What the checks of interfaces need to know.
#[derive(Debug)]
pub struct InterfaceFacts<'a> {
    /// The links.
    pub network: &'a Network,
    /// Their drivers, by index.
    pub drivers: &'a BTreeMap<u32, Driver>,
    /// The account of the interfaces, empty where nothing is in force; `None`: what is in force could not be looked at.
    pub coverage: Option<Vec<InterfaceCoverage>>,
    /// What the configuration selects; or why it selects nothing.
    pub selection: Result<Selection, String>,
    /// How it would be attached.
    pub attach_mode: AttachMode,
    /// The kernel takes the filter for frames of many buffers.
    pub multi_buffer: bool,
    /// Who may send tunnelled traffic.
    pub tunnels: Tunnels,
    /// UDP ports that are unpacked and that the policy in force (where there is none, the configured one) opens to everyone, with the rule that does.
    pub open_tunnels: BTreeMap<u16, Option<String>>,
    /// Processors.
    pub cpus: u32,
}
