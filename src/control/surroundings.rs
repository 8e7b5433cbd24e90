//! What of the host's network a change depends on: which interfaces it is for, the node's own addresses, the ports of its tunnels. It must not change
//! any of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::error::AgentError;
use crate::control::Desired;
use nodewall_host::net::{self, Link, Network, Selection};
use nodewall_policy::{Facts, Policy, config::InterfacePattern};

/// What of the host an image is made of besides the policy. When it changes, the policy is put into force anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Surroundings {
    /// The node's own addresses.
    pub(crate) own_addresses: BTreeSet<IpAddr>,
    /// The UDP ports that the kernel takes packets out of.
    pub(crate) tunnel_ports: BTreeSet<u16>,
    /// The indexes of the interfaces by which not every peer may come in.
    pub(crate) interfaces: BTreeMap<String, BTreeSet<u32>>,
}

impl Surroundings {
    pub(crate) fn of(network: &Network, policy: &Policy) -> Self {
        Self {
            interfaces: interfaces(network, policy),
            own_addresses: own_addresses(network).into_iter().collect(),
            tunnel_ports: network.udp_tunnels().map(|tunnel| tunnel.port).collect(),
        }
    }

    /// As the compiler takes them.
    pub(crate) fn facts(&self) -> Facts {
        Facts {
            own_addresses: self.own_addresses.iter().copied().collect(),
            tunnel_ports: self.tunnel_ports.clone(),
            interfaces: self.interfaces.clone(),
            ..Facts::default()
        }
    }
}

/// What comes in by a bond has the index of the slave that it came by; what comes in by a bridge's port is that port's.
pub(crate) fn interfaces(network: &Network, policy: &Policy) -> BTreeMap<String, BTreeSet<u32>> {
    let indexes = |name: &String| {
        let link = network.by_name(name)?;
        let slaves = network.ports_of(link.index).filter(|_| link.kind == "bond").map(|slave| slave.index);
        Some((name.clone(), std::iter::once(link.index).chain(slaves).collect()))
    };
    policy.interface_peers.keys().filter_map(indexes).collect()
}

/// An address in doubt is left out: it may be a peer's, who must not be taken for a forger.
pub(crate) fn own_addresses(network: &Network) -> Vec<IpAddr> {
    network.links().flat_map(Link::own_addresses).collect()
}

/// The interfaces to attach. Where none are configured, those of the last time count besides the default: at boot nothing is up yet. One that is
/// acknowledged as open is not among them.
pub(crate) fn select(desired: &Desired, network: &Network, stored: &[String]) -> Result<Selection, AgentError> {
    let mut selection = selected(desired, network, stored)?;
    selection.attach.retain(|selected| !desired.acknowledges(&selected.name));
    selection.missing.retain(|name| !desired.acknowledges(name));
    Ok(selection)
}

fn selected(desired: &Desired, network: &Network, stored: &[String]) -> Result<Selection, AgentError> {
    if !desired.interfaces.is_empty() {
        // One that an older version wrote down, and that is no pattern any more, is that name.
        let pattern = |text: &String| text.parse().unwrap_or_else(|_| InterfacePattern::named(text));
        let patterns: Vec<_> = desired.interfaces.iter().map(pattern).collect();
        return Ok(net::resolve(network, Some(&patterns), desired.takes_layer_3())?);
    }
    let stored: Vec<_> = stored.iter().map(|name| InterfacePattern::named(name)).collect();
    match net::resolve(network, None, desired.takes_layer_3()) {
        Ok(mut selection) => {
            let before = net::resolve(network, Some(&stored), desired.takes_layer_3()).unwrap_or_default();
            for selected in before.attach {
                if selection.attach.iter().all(|s| s.index != selected.index) {
                    selection.attach.push(selected);
                }
            }
            selection.missing.extend(before.missing);
            Ok(selection)
        }
        Err(_) if !stored.is_empty() => Ok(net::resolve(network, Some(&stored), desired.takes_layer_3())?),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodewall_policy::config::Config;

    #[test]
    fn a_rule_is_for_a_bond_s_slaves_and_for_no_port_of_a_bridge() {
        let text =
            "[[interface]]\nname = \"bond0\"\npeers = \"none\"\n[[interface]]\nname = \"br0\"\npeers = \"none\"\n";
        let policy = Policy::from_config(&Config::parse(text, "test.toml").unwrap()).unwrap();
        let link = |index, name: &str, kind: &str, master| Link {
            index,
            name: name.to_owned(),
            kind: kind.to_owned(),
            master,
            ..Link::default()
        };
        let network = Network::new([
            link(1, "bond0", "bond", None),
            link(2, "eth0", "", Some(1)),
            link(3, "br0", "bridge", None),
            link(4, "eth1", "", Some(3)),
        ]);
        let expected = [("bond0".to_owned(), [1, 2].into()), ("br0".to_owned(), [3].into())].into();
        assert_eq!(interfaces(&network, &policy), expected);
    }
}
