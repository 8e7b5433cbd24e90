//! Which links are ways into this host, which of them to attach to, and which that leaves open. Pure functions of a [`Network`]; attach nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::links::{Link, MAX_STACK_DEPTH, Network};
use nodewall_policy::config::InterfacePattern;

/// A link to attach to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    /// The interface's index.
    pub index: u32,
    /// The interface's name.
    pub name: String,
    /// How it came to be selected: `named`, `eth*`, `a way in`, or `carries eth1`.
    pub because: String,
}

/// A link that matched and is left out all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The interface's name.
    pub name: String,
    /// Why it is left out.
    pub why: String,
}

/// What to attach to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// The links to attach to, by rising index, each once.
    pub attach: Vec<Selected>,
    /// Plain names that no interface has at present: to be attached when they appear. A pattern is never missing.
    pub missing: Vec<String>,
    /// Links that a pattern or the default covers and that are left out, with the reason.
    pub skipped: Vec<Skipped>,
    /// Links that were asked for by their names and can not be attached to, with the reason.
    pub refused: Vec<Skipped>,
}

/// Why a link may not be attached to. Its text says what to do instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotAttachable {
    /// Frames on it do not begin with an Ethernet header.
    #[error(
        "{what} is not an Ethernet device, and a frame without an Ethernet header would be misread; name the Ethernet interface that carries its traffic, or leave it out"
    )]
    NotEthernet {
        /// `loopback`, the kernel's name for the kind, or the hardware type.
        what: String,
    },
    /// Frames on it begin with their IP header.
    #[error(
        "{what} has no Ethernet header, which XDP can not do without; give it an [[interface]] with attach = \"tc\", or leave it out"
    )]
    NoLinkHeader {
        /// The kernel's name for the kind, or the hardware type.
        what: String,
    },
    /// A bond's slave: the bond attaches to its slaves by itself.
    #[error("it is a slave of the bond {bond}; attach the master {bond}")]
    BondSlave {
        /// The bond's name.
        bond: String,
    },
    /// Its frames have crossed its parent before.
    #[error("it is a {kind} device: its parent {parent} covers it; attach {parent}")]
    RidesOnParent {
        /// `vlan`, `macvlan`, `ipvlan`, …
        kind: String,
        /// The parent's name.
        parent: String,
    },
    /// Frames between a bridge's ports never arrive on the bridge itself.
    #[error("it is a bridge: attach its ports ({ports})")]
    Bridge {
        /// The names of its ports, or `none at present`.
        ports: String,
    },
}

/// Why there is nothing that could be attached to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SelectError {
    /// An interface was asked for by its name and may not be attached to.
    #[error("interface {interface}: {why}")]
    NotAttachable {
        /// The name as it was given.
        interface: String,
        /// The reason and the way out.
        why: NotAttachable,
    },
    /// Nothing is left to attach to, and nothing that is missing may appear.
    #[error("no interface to attach to: {looked_for}{}; name one with --interface or in `interfaces`", left_out(.skipped))]
    NothingSelected {
        /// What was looked for.
        looked_for: String,
        /// What was left out, and why.
        skipped: Vec<Skipped>,
    },
}

fn left_out(skipped: &[Skipped]) -> String {
    let one = |skipped: &Skipped| format!("{}: {}", skipped.name, skipped.why);
    if skipped.is_empty() {
        String::new()
    } else {
        format!(" (left out: {})", skipped.iter().map(one).collect::<Vec<_>>().join("; "))
    }
}

/// How an interface came to be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// By its name or a pattern of it.
    Named,
    /// By nobody: all ways in are.
    ByDefault,
}

/// The links to attach to. `takes_layer_3`: whether a device of this name that has no Ethernet header is filtered, too.
///
/// With `patterns`: an interface counts by its name and by its alternative names. Without: every way in. An address is no condition: the host answers on
/// one interface for an address of another (the weak host model, RFC 1122, 3.3.4.2).
///
/// # Errors
/// When nothing is left and nothing is missing.
pub fn resolve(
    network: &Network,
    patterns: Option<&[InterfacePattern]>,
    takes_layer_3: impl Fn(&str, Asked) -> bool,
) -> Result<Selection, SelectError> {
    let mut chosen = BTreeMap::new();
    let mut selection = Selection::default();
    let mut first_refusal = None;
    match patterns {
        Some(patterns) => {
            let takes_layer_3 = |link: &Link| takes_layer_3(&link.name, Asked::Named);
            first_refusal = by_patterns(network, patterns, &takes_layer_3, (&mut chosen, &mut selection));
        }
        None => by_default(network, &|link| takes_layer_3(&link.name, Asked::ByDefault), &mut chosen, &mut selection),
    }
    selection.attach = chosen.into_values().collect();
    if !selection.attach.is_empty() || !selection.missing.is_empty() {
        return Ok(selection);
    }
    if let Some(refusal) = first_refusal {
        return Err(refusal);
    }
    let looked_for = match patterns {
        Some([]) => "the list of interfaces is empty".to_owned(),
        Some(patterns) => {
            let patterns: Vec<String> = patterns.iter().map(ToString::to_string).collect();
            format!("nothing that may be attached matches {}", patterns.join(", "))
        }
        None => "no Ethernet interface that is up was found".to_owned(),
    };
    Err(SelectError::NothingSelected { looked_for, skipped: selection.skipped })
}

/// The first of the names that can not be attached to, which are left out. A bond's slave stands for its bond.
fn by_patterns(
    network: &Network,
    patterns: &[InterfacePattern],
    takes_layer_3: &dyn Fn(&Link) -> bool,
    (chosen, selection): (&mut BTreeMap<u32, Selected>, &mut Selection),
) -> Option<SelectError> {
    let mut first_refusal = None;
    for pattern in patterns {
        let Some(name) = pattern.exact() else {
            let matches =
                |link: &Link| pattern.matches(&link.name) || link.alt_names.iter().any(|alt| pattern.matches(alt));
            for link in network.links().filter(|link| matches(link)) {
                match obstacle(network, link, takes_layer_3) {
                    Some(why) => skip(&mut selection.skipped, link, why.to_string()),
                    None => choose(chosen, link, &pattern.to_string()),
                }
            }
            continue;
        };
        let Some(link) = network.by_name(name) else {
            if selection.missing.iter().all(|missing| missing != name) {
                selection.missing.push(name.to_owned());
            }
            continue;
        };
        match obstacle(network, link, takes_layer_3) {
            None => choose(chosen, link, "named"),
            Some(why) => {
                let bond = network.bond_of(link).filter(|bond| obstacle(network, bond, takes_layer_3).is_none());
                match bond {
                    Some(bond) => {
                        choose(chosen, bond, &format!("carries {name}"));
                        skip(&mut selection.skipped, link, why.to_string());
                    }
                    None => skip(&mut selection.refused, link, why.to_string()),
                }
                first_refusal.get_or_insert(SelectError::NotAttachable { interface: name.to_owned(), why });
            }
        }
    }
    first_refusal
}

fn by_default(
    network: &Network,
    takes_layer_3: &dyn Fn(&Link) -> bool,
    chosen: &mut BTreeMap<u32, Selected>,
    selection: &mut Selection,
) {
    for link in network.links().filter(|link| !link.loopback) {
        match no_way_in(network, link, takes_layer_3) {
            None => choose(chosen, link, "a way in"),
            Some(why) if link.addressed() => skip(&mut selection.skipped, link, why),
            Some(_) => {}
        }
    }
}

/// Why nothing arrives from outside by a link that has not been judged on another one; `None`: it is a way in.
fn no_way_in(network: &Network, link: &Link, takes_layer_3: &dyn Fn(&Link) -> bool) -> Option<String> {
    if let Some(why) = obstacle(network, link, takes_layer_3) {
        return Some(why.to_string());
    }
    // One with an address of its own may be this host's: it may run in a container itself. So is one whose team has the addresses.
    if link.container_veth && link.addresses.iter().all(link_local) && team_of(network, link).is_none() {
        return Some(
            "it is a container's: a veth whose peer is in another network namespace, without an address of this host"
                .to_owned(),
        );
    }
    if link.without_wire() {
        return Some(format!("nothing arrives on a {} device from outside", link.kind));
    }
    if link.carries_tunnel() {
        return Some(format!(
            "what comes out of a {} device arrived inside packets that are judged as tunnels",
            link.kind
        ));
    }
    if link.kind == "team" {
        return Some("it is a team: its ports cover it".to_owned());
    }
    if link.kind == "bond" && network.ports_of(link.index).next().is_none() {
        // Attached natively, it would refuse the cards that are to join it.
        return Some("it is a bond without slaves: attached when it has one".to_owned());
    }
    (!link.up).then(|| "it is down: attached when it is up".to_owned())
}

/// The link on which what arrives on `link` can be judged: down through VLANs to the card, up from a slave to its bond.
fn carrier<'a>(network: &'a Network, link: &'a Link) -> &'a Link {
    let mut at = link;
    for _ in 0..MAX_STACK_DEPTH {
        match network.carrier_of(at).or_else(|| network.bond_of(at)) {
            Some(next) => at = next,
            None => break,
        }
    }
    at
}

/// The team that the link is a port of.
fn team_of<'a>(network: &'a Network, link: &Link) -> Option<&'a Link> {
    network.by_index(link.master?).filter(|master| master.kind == "team")
}

/// `takes_layer_3`: whether a device without an Ethernet header is filtered, too.
fn obstacle(network: &Network, link: &Link, takes_layer_3: &dyn Fn(&Link) -> bool) -> Option<NotAttachable> {
    if !(link.ethernet() && !link.loopback || link.layer_3() && takes_layer_3(link)) {
        let what = match (link.loopback, link.kind.as_str()) {
            (true, _) => "loopback".to_owned(),
            (false, "") => hardware_type(link.arphrd),
            (false, kind) => format!("{kind} ({})", hardware_type(link.arphrd)),
        };
        return Some(if link.layer_3() {
            NotAttachable::NoLinkHeader { what }
        } else {
            NotAttachable::NotEthernet { what }
        });
    }
    if let Some(bond) = network.bond_of(link) {
        return Some(NotAttachable::BondSlave { bond: bond.name.clone() });
    }
    if let Some(parent) = network.carrier_of(link) {
        let parent = carrier(network, parent).name.clone();
        return Some(NotAttachable::RidesOnParent { kind: link.kind.clone(), parent });
    }
    if link.kind == "bridge" {
        let ports = network.ports_of(link.index).map(|port| port.name.as_str()).collect::<Vec<_>>().join(", ");
        let ports = if ports.is_empty() { "none at present".to_owned() } else { ports };
        return Some(NotAttachable::Bridge { ports });
    }
    None
}

/// `ARPHRD_*` of `linux/if_arp.h`, by the name an operator knows the device by.
fn hardware_type(arphrd: u16) -> String {
    match arphrd {
        32 => "InfiniBand".to_owned(),
        512 => "ppp".to_owned(),
        519 => "raw IP".to_owned(),
        768 => "ipip tunnel".to_owned(),
        769 => "ip6 tunnel".to_owned(),
        772 => "loopback".to_owned(),
        776 => "sit tunnel".to_owned(),
        778 | 823 => "gre tunnel".to_owned(),
        0xfffe => "no link header".to_owned(),
        other => format!("hardware type {other}"),
    }
}

fn choose(chosen: &mut BTreeMap<u32, Selected>, link: &Link, because: &str) {
    chosen.entry(link.index).or_insert_with(|| Selected {
        index: link.index,
        name: link.name.clone(),
        because: because.to_owned(),
    });
}

fn skip(list: &mut Vec<Skipped>, link: &Link, why: String) {
    if list.iter().all(|skipped| skipped.name != link.name) {
        list.push(Skipped { name: link.name.clone(), why });
    }
}

fn link_local(address: &ipnet::IpNet) -> bool {
    match address {
        ipnet::IpNet::V4(net) => net.addr().is_link_local(),
        ipnet::IpNet::V6(net) => net.addr().is_unicast_link_local(),
    }
}

/// Names of the interfaces by which nothing leaves that passes one of `attached`: bridges of containers, tunnels, loopback. None where nothing is
/// attached, for then nobody knows.
pub fn inside(network: &Network, attached: &BTreeSet<u32>) -> BTreeSet<String> {
    let is_inside = |link: &&Link| !attached.is_empty() && !leads_to(network, attached, link, MAX_STACK_DEPTH);
    network.links().filter(is_inside).map(|link| link.name.clone()).collect()
}

/// Whether what leaves by `link` may pass one of `attached`.
fn leads_to(network: &Network, attached: &BTreeSet<u32>, link: &Link, depth: usize) -> bool {
    let Some(depth) = depth.checked_sub(1) else { return true };
    let below = network.carrier_of(link).or_else(|| network.bond_of(link));
    attached.contains(&link.index)
        || below.is_some_and(|below| leads_to(network, attached, below, depth))
        || network.ports_of(link.index).any(|port| leads_to(network, attached, port, depth))
}

/// The ways in that are not attached, by rising index. A team's port is covered by its team, too.
pub fn uncovered<'a>(network: &'a Network, attached: &BTreeSet<u32>) -> impl Iterator<Item = &'a Link> {
    let by_master = |link: &Link| team_of(network, link).is_some_and(|team| attached.contains(&team.index));
    let open = move |link: &&Link| {
        !attached.contains(&link.index) && !by_master(link) && no_way_in(network, link, &|_| false).is_none()
    };
    network.links().filter(open)
}

#[cfg(test)]
mod tests;
