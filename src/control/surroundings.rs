//! What of the host's network a change depends on: which interfaces it is for, whether somebody else has them, the node's own addresses. It must not
//! change any of it.

use std::{collections::BTreeSet, net::IpAddr};

use super::error::AgentError;
use crate::control::Desired;
use nodewall_datapath::{self as datapath, DatapathError, PinDir};
use nodewall_host::net::{self, Link, Network, Selection, XdpMode};
use nodewall_policy::config::AttachMode;

/// What of the host's network a policy depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Indices of the interfaces to attach.
    pub(crate) attach: BTreeSet<u32>,
    /// Those of them that nothing filters. An interface that was deleted and came back under its old index is among them.
    pub(crate) unfiltered: BTreeSet<u32>,
    /// The node's own addresses.
    pub(crate) own_addresses: BTreeSet<IpAddr>,
}

impl Surroundings {
    pub(crate) fn new(selection: &Selection, network: &Network) -> Self {
        let attach: BTreeSet<u32> = selection.attach.iter().map(|s| s.index).collect();
        let open = |index: &u32| network.by_index(*index).is_some_and(|link| link.xdp.is_none());
        let unfiltered = attach.iter().copied().filter(open).collect();
        Self { attach, unfiltered, own_addresses: own_addresses(network).into_iter().collect() }
    }

    /// The same once everything is attached.
    pub(crate) fn all_filtered(self) -> Self {
        Self { unfiltered: BTreeSet::new(), ..self }
    }
}

/// An address in doubt is left out: it may be a peer's, who must not be taken for a forger.
pub(crate) fn own_addresses(network: &Network) -> Vec<IpAddr> {
    network.links().flat_map(Link::own_addresses).collect()
}

/// The interfaces to attach. Where none are configured, those of the last time count besides the default: at boot nothing is addressed yet.
pub(crate) fn select(desired: &Desired, network: &Network, stored: &[String]) -> Result<Selection, AgentError> {
    if !desired.interfaces.is_empty() {
        return Ok(net::resolve(network, Some(&desired.interfaces))?);
    }
    match net::resolve(network, None) {
        Ok(mut selection) => {
            let before = net::resolve(network, Some(stored)).unwrap_or_default();
            for selected in before.attach {
                if selection.attach.iter().all(|s| s.index != selected.index) {
                    selection.attach.push(selected);
                }
            }
            selection.missing.extend(before.missing);
            Ok(selection)
        }
        Err(_) if !stored.is_empty() => Ok(net::resolve(network, Some(stored))?),
        Err(error) => Err(error.into()),
    }
}

/// nodewall does not share an interface, and does not change the mode of an attachment in passing.
pub(crate) fn refuse_occupied(
    selection: &Selection,
    network: &Network,
    pins: Option<&PinDir>,
    wanted: AttachMode,
) -> Result<(), AgentError> {
    let ours = pins.map(datapath::links).transpose()?.unwrap_or_default();
    for selected in &selection.attach {
        let Some(xdp) = network.by_index(selected.index).and_then(|link| link.xdp.as_ref()) else { continue };
        let interface = selected.name.clone();
        if !ours.iter().any(|link| link.if_index == selected.index && link.program_id == xdp.program_id) {
            return Err(DatapathError::Occupied { interface, program_id: xdp.program_id }.into());
        }
        let live = if xdp.mode == XdpMode::Generic { AttachMode::Generic } else { AttachMode::Native };
        if live != wanted {
            return Err(AgentError::ModeChange { interface, live: live.as_str(), wanted: wanted.as_str() });
        }
    }
    Ok(())
}
