//! What a configuration would change of what is in force: ports, access, peers, mode, interfaces, and who would be cut off or let in (`affected`). Changes
//! nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
};

use ipnet::IpNet;
use serde::Serialize;

use super::{
    affected::{Affected, Change, InKernel, Observed, affected},
    allow::Allow,
    block_list::Blocks,
    coverage::{CoverageState, InterfaceCoverage, Remembered, account},
    error::AgentError,
    guard::Guard,
    session,
    state_files::readable,
    surroundings::{Surroundings, select},
};
use crate::control::{Desired, Good};
use nodewall_datapath::PinDir;
use nodewall_host::{
    net::{self, Network, Selection},
    state::{Clock, StateDir},
};
use nodewall_policy::{
    Facts, Policy, PortClass, RowTable, compile,
    config::{Access, Mode, PortRange, Protocol, show},
};

/// Everything that would change. Empty: nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Nothing is filtered: no policy is in force, or an operator opened the node.
    pub nothing_in_force: bool,
    /// Settings: name, as it is, as it would be. As it is: `null` where nothing is in force.
    pub settings: Vec<Setting>,
    /// Ports that get another class, access or extra source.
    pub ports: Vec<PortChange>,
    /// Peers that would come.
    pub peers_added: Vec<String>,
    /// Peers that would go.
    pub peers_removed: Vec<String>,
    /// Interfaces that would be attached.
    pub interfaces_added: Vec<String>,
    /// Interfaces that are attached and would no longer be asked for: they would be let go, and be open.
    pub interfaces_removed: Vec<String>,
    /// Ways in that would stay open, and interfaces that can not be attached, each with the reason.
    pub not_covered: Vec<String>,
    /// Whose verdict would change, of those that talk with this node, did so, or knocked: conversations first.
    pub affected: Vec<Affected>,
    /// Those who knocked besides, and are too many to be named.
    pub more_knocks: usize,
    /// It would enforce for the first time, and of its peers not one has ever talked with this node: the list may be wrong.
    pub peers_silent: bool,
    /// Why `apply` would refuse it.
    pub held: Option<String>,
}

/// A setting that would change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Its key.
    pub name: &'static str,
    /// As it is.
    pub from: Option<String>,
    /// As it would be.
    pub to: String,
}

/// Ports whose rule would change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PortChange {
    /// The ports, both ends included.
    pub ports: String,
    /// TCP or UDP.
    pub protocol: String,
    /// What holds for them: class, access, extra sources; "unmanaged" where no class names them.
    pub from: String,
    /// What would.
    pub to: String,
}

impl Difference {
    /// Whether nothing would change.
    pub fn is_empty(&self) -> bool {
        let Self { held, not_covered, peers_silent, more_knocks, .. } = self;
        let others = (held.clone(), not_covered.clone());
        *self
            == Self {
                held: others.0,
                not_covered: others.1,
                peers_silent: *peers_silent,
                more_knocks: *more_knocks,
                ..Self::default()
            }
    }

    /// Those in conversation now who would be cut off.
    pub fn cut_off(&self) -> impl Iterator<Item = &Affected> {
        self.affected.iter().filter(|affected| affected.current && affected.to == "drop")
    }

    /// Somebody would be cut off, or everybody may be. Where nothing is in force nobody could be counted, and that comes first.
    pub fn hurts(&self) -> bool {
        self.peers_silent && !self.nothing_in_force || self.cut_off().next().is_some()
    }
}

/// What `desired` would change of the last good policy in `state` (none: the node is open). `audited`: what an audit has recorded.
pub async fn plan(
    (state, pins): (Option<&StateDir>, Option<&PinDir>),
    desired: &Desired,
    allow: Allow,
    observed: Observed,
) -> Result<Difference, AgentError> {
    // What is stored may not be in force: its pins may be gone, or it was never put there by this disk.
    let good = match state {
        Some(state) if !state.is_detached() && observed.kernel != InKernel::Nothing => Good::last(state)?,
        _ => None,
    };
    let blocked = match state {
        Some(state) => readable(Blocks::load(state))?.prefixes(&Clock::now()),
        None => Vec::new(),
    };
    let network = net::snapshot().await?;
    let facts = |policy: &Policy| Facts { blocked: blocked.clone(), ..Surroundings::of(&network, policy).facts() };
    let image = |policy: &Policy| Ok::<_, AgentError>(compile(policy, RowTable::default(), &facts(policy))?.image);
    let new = image(&desired.policy)?;
    let old = good.as_ref().map(|good| image(&good.desired.policy)).transpose()?;

    let Remembered(stored) = match state {
        Some(state) if good.is_some() => Remembered::load(state)?,
        _ => Remembered::default(),
    };
    let (selection, held) = match select(desired, &network, &stored) {
        Ok(selection) => (selection, None),
        Err(error) => (Selection::default(), Some(error.to_string())),
    };
    let interfaces = selection.attach.iter().map(|selected| &selected.name).chain(&selection.missing);
    let interfaces: BTreeSet<String> = interfaces.cloned().collect();
    let attached: BTreeSet<String> = stored.into_iter().collect();
    let guard = Guard { allow, session: session::current() };
    let held = held.or_else(|| {
        guard
            .judge(desired, &new, &facts(&desired.policy).own_addresses, good.as_ref())
            .err()
            .map(|error| error.to_string())
    });
    let old_policy = good.as_ref().map(|good| &good.desired.policy);
    let change = Change { old: old.as_deref(), new: &new, policies: [old_policy, Some(&desired.policy)] };
    let found = affected(state, good.as_ref(), &network, &change, &observed.would_drop).await?;
    let enforces = |policy: &Policy| policy.mode == Mode::Enforce;
    let is_first = enforces(&desired.policy) && !old_policy.is_some_and(enforces);
    let peers_silent = is_first && !desired.policy.single_node && !observed.peers_talked && !found.has_peer;
    let old_peers: BTreeSet<IpNet> = old_policy.iter().flat_map(|policy| policy.peers.iter().copied()).collect();
    let new_peers: BTreeSet<IpNet> = desired.policy.peers.iter().copied().collect();
    let mut settings = settings(good.as_ref(), desired);
    if let (InKernel::Policy(kernel), Some(good)) = (&observed.kernel, &good)
        && *kernel != good.policy_sha256
    {
        let (from, to) = (Some(format!("{kernel:.12}… in the kernel")), format!("{:.12}… on disk", good.policy_sha256));
        settings.push(Setting { name: "policy", from, to });
    }
    Ok(Difference {
        nothing_in_force: good.is_none(),
        settings,
        ports: ports(old_policy, &desired.policy),
        peers_added: new_peers.difference(&old_peers).map(show).collect(),
        peers_removed: old_peers.difference(&new_peers).map(show).collect(),
        interfaces_added: interfaces.difference(&attached).cloned().collect(),
        interfaces_removed: attached.difference(&interfaces).cloned().collect(),
        not_covered: not_covered(pins, desired, &selection, &network)?,
        affected: found.affected,
        more_knocks: found.more_knocks,
        peers_silent,
        held,
    })
}

/// What an account of the interfaces would say, but for those that are only waiting to be attached.
fn not_covered(
    pins: Option<&PinDir>,
    desired: &Desired,
    selection: &Selection,
    network: &Network,
) -> Result<Vec<String>, AgentError> {
    let account = account(network, pins, Some((desired, selection)))?;
    let open = account.iter().filter(|interface| interface.state != CoverageState::Failing || interface.foreign);
    Ok(open.filter_map(InterfaceCoverage::problem).collect())
}

fn settings(good: Option<&Good>, desired: &Desired) -> Vec<Setting> {
    let values = |desired: &Desired| {
        let policy = &desired.policy;
        [
            ("mode", policy.mode.to_string()),
            ("tunnels", policy.tunnels.to_string()),
            ("later_fragments", policy.later_fragments.to_string()),
            ("single_node", policy.single_node.to_string()),
            ("attach_mode", desired.attach_mode.to_string()),
            ("interface attach", listed(&desired.interface_attach)),
            ("interface peers", listed(&policy.interface_peers)),
        ]
    };
    let old = good.map(|good| values(&good.desired));
    let mut changed = Vec::new();
    for (n, (name, to)) in values(desired).into_iter().enumerate() {
        let from = old.as_ref().and_then(|old| old.get(n)).map(|(_, value)| value.clone());
        if from.as_ref() != Some(&to) {
            changed.push(Setting { name, from, to });
        }
    }
    changed
}

/// What differs on single interfaces, in one line.
fn listed(single: &BTreeMap<String, impl Display>) -> String {
    let all: Vec<String> = single.iter().map(|(name, what)| format!("{name} {what}")).collect();
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}

/// Every port of the table is compared, and neighbours with the same change are told together.
fn ports(old: Option<&Policy>, new: &Policy) -> Vec<PortChange> {
    let mut changes = Vec::new();
    for protocol in Protocol::ALL.iter().copied() {
        let (old, new) = (old.map_or_else(|| vec![None; 65_536], |old| table(old, protocol)), table(new, protocol));
        let mut run: Option<(u16, u16, Option<&PortClass>, Option<&PortClass>)> = None;
        let mut told = |run: Option<(u16, u16, Option<&PortClass>, Option<&PortClass>)>| {
            if let Some((first, last, from, to)) = run
                && let Some(range) = PortRange::new(first, last)
            {
                changes.push(PortChange {
                    ports: range.to_string(),
                    protocol: protocol.to_string(),
                    from: rule(from),
                    to: rule(to),
                });
            }
        };
        for ((port, from), to) in (0..=u16::MAX).zip(old).zip(new) {
            let differs = rule(from) != rule(to);
            match run {
                Some((first, last, f, t))
                    if differs && last + 1 == port && rule(f) == rule(from) && rule(t) == rule(to) =>
                {
                    run = Some((first, port, f, t));
                }
                _ if differs => {
                    told(run);
                    run = Some((port, port, from, to));
                }
                _ => {}
            }
        }
        told(run);
    }
    changes
}

fn table(policy: &Policy, protocol: Protocol) -> Vec<Option<&PortClass>> {
    let mut table = vec![None; 65_536];
    for class in &policy.classes {
        for range in class.ranges(protocol) {
            for port in range.ports() {
                if let Some(at) = table.get_mut(usize::from(port)) {
                    *at = Some(class);
                }
            }
        }
    }
    table
}

/// What holds for a port, in a few words.
fn rule(class: Option<&PortClass>) -> String {
    let Some(class) = class else { return "unmanaged".into() };
    let also: Vec<String> = class.also_allow.iter().map(show).collect();
    let also = if also.is_empty() { String::new() } else { format!(", also {}", also.join(", ")) };
    let access = match class.access {
        Access::Public => "public",
        Access::Cluster => "cluster",
        Access::Closed => "closed",
    };
    let audited = if class.audited { ", audited" } else { "" };
    format!("{access} ({}{also}{audited})", class.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodewall_policy::config::Config;

    fn policy(text: &str) -> Policy {
        Policy::from_config(&Config::parse(text, "test.toml").unwrap()).unwrap()
    }

    #[test]
    fn neighbouring_ports_with_the_same_change_are_one_line() {
        let old = policy(
            "single_node = true\n[profile]\nname = \"none\"\n[[rule]]\nname = \"a\"\nports = [\"100-110\"]\naccess = \"cluster\"\n",
        );
        let new = policy(
            "single_node = true\n[profile]\nname = \"none\"\n[[rule]]\nname = \"a\"\nports = [\"100-104\"]\naccess = \"cluster\"\n[[rule]]\nname = \"b\"\nports = [\"108\"]\nprotocols = [\"tcp\"]\naccess = \"public\"\n",
        );
        let lines: Vec<String> = ports(Some(&old), &new)
            .into_iter()
            .map(|change| format!("{}/{}: {} -> {}", change.protocol, change.ports, change.from, change.to))
            .collect();
        assert_eq!(
            lines,
            [
                "tcp/105-107: cluster (a) -> unmanaged",
                "tcp/108: cluster (a) -> public (b)",
                "tcp/109-110: cluster (a) -> unmanaged",
                "udp/105-110: cluster (a) -> unmanaged",
            ]
        );
        assert!(ports(Some(&new), &new).is_empty());
        let audits = Policy {
            classes: new.classes.iter().cloned().map(|class| PortClass { audited: true, ..class }).collect(),
            ..new.clone()
        };
        assert_eq!(ports(Some(&audits), &new)[0].from, "cluster (a, audited)");
        assert!(!ports(None, &new).is_empty());
    }
}
