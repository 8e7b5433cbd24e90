//! Profile and rules to classes: whose word counts for which port.
//!
//! An own rule with a profile class's name replaces that class whole; any other own rule takes its ports out of the profile's classes,
//! for its protocols only. Own rules never meet on a port: `config` has refused that.

use super::{Origin, Policy, PolicyError, PolicySource, PortClass, PortEntry, profile::profile};
use crate::config::{
    AGENT_PORT, Access, ClusterVersion, Config, PortRange, PortSet, ProfileName, Protocol, Rule, one_of,
};

/// The port that `web_port_8022` decides.
const WEB_PORT: u16 = 8022;

impl Policy {
    /// The meaning of a configuration.
    pub fn from_config(config: &Config) -> Result<Self, PolicyError> {
        let mut warnings = Vec::new();
        let table = profile(config.profile.name)?;
        let from = Origin::Profile(config.profile.name);
        let mut classes: Vec<PortClass> = table.rules.iter().map(|rule| class(rule, from)).collect();
        apply_options(config, &mut classes);
        audit(config, &mut classes)?;
        take_over(config, &mut classes, &mut warnings);
        warn_idle_options(config, &classes, &mut warnings);
        classes.extend(config.rules.iter().map(|rule| class(rule, Origin::Rule)));
        classes.sort_by(|a, b| a.name.cmp(&b.name));
        warn_idle_audits(config, &classes, &mut warnings);
        refuse_lockout(config, &classes)?;
        let peers: Vec<_> = config.peers.named.iter().map(|peer| peer.prefix).collect();
        if config.single_node && !peers.is_empty() {
            warnings.push("single_node = true although peers are named: the peers still count as peers".to_owned());
        }
        Ok(Self {
            mode: config.mode,
            tunnels: config.tunnels,
            later_fragments: config.later_fragments,
            single_node: config.single_node,
            classes,
            peers,
            interface_peers: config.interface_peers.clone(),
            mission_control: config.mission_control.clone(),
            per_peer: config.counters.per_peer,
            evidence: config.evidence.enabled,
            source: PolicySource { config: config.origin.clone(), profile: config.profile.name },
            warnings,
        })
    }
}

/// Rules that close such a port were refused with their place in the file; the profile has none.
fn refuse_lockout(config: &Config, classes: &[PortClass]) -> Result<(), PolicyError> {
    if config.allow_lockout {
        return Ok(());
    }
    for class in classes.iter().filter(|class| class.access != Access::Public) {
        let closed = |guarded: &PortRange| class.ports.iter().find_map(|entry| guarded.intersection(entry.ports));
        if let Some(closed) = config.lockout_ports.iter().find_map(closed) {
            return Err(PolicyError::Lockout {
                port: closed.first(),
                class: class.name.clone(),
                access: class.access,
                config: config.origin.clone(),
            });
        }
    }
    Ok(())
}

fn class(rule: &Rule, from: Origin) -> PortClass {
    let entries = |protocol: &Protocol| {
        let protocol = *protocol;
        rule.ports.iter().map(move |ports| PortEntry { protocol, ports: *ports })
    };
    PortClass {
        name: rule.name.clone(),
        ports: rule.protocols.iter().flat_map(entries).collect(),
        access: rule.access,
        also_allow: rule.also_allow.clone(),
        audited: rule.audited,
        from,
        note: rule.note.clone(),
    }
}

/// Who may reach 8443: the explicit option, else the cluster's version, else what the profile says.
fn agent_access(config: &Config) -> Option<Access> {
    let by_version = || config.profile.cluster_version.as_ref().map(ClusterVersion::agent_port_access);
    config.profile.agent_port_8443.or_else(by_version).map(Access::from)
}

fn apply_options(config: &Config, classes: &mut [PortClass]) {
    let options = [(AGENT_PORT, agent_access(config)), (WEB_PORT, config.profile.web_port_8022.map(Access::from))];
    for (port, access) in options {
        let (Some(class), Some(access)) = (classes.iter_mut().find(|class| class.names(Protocol::Tcp, port)), access)
        else {
            continue;
        };
        class.access = access;
    }
}

/// The profile's classes that only audit.
fn audit(config: &Config, classes: &mut [PortClass]) -> Result<(), PolicyError> {
    for name in &config.profile.audit {
        let Some(class) = classes.iter_mut().find(|class| class.name == *name) else {
            let known: Vec<&str> = classes.iter().map(|class| class.name.as_str()).collect();
            let expected = if known.is_empty() { "none: it has no classes".to_owned() } else { one_of(&known) };
            return Err(PolicyError::UnknownClass { name: name.clone(), expected, config: config.origin.clone() });
        };
        class.audited = true;
    }
    Ok(())
}

/// Removes from the profile's classes what own rules decide.
fn take_over(config: &Config, classes: &mut Vec<PortClass>, warnings: &mut Vec<String>) {
    classes.retain(|class| {
        let replaced = config.rules.iter().any(|rule| rule.name == class.name);
        if replaced {
            warn_orphans(config, class, warnings);
        }
        !replaced
    });
    for class in classes.iter_mut() {
        class.ports = Protocol::ALL.iter().flat_map(|protocol| left_over(config, class, *protocol)).collect();
    }
    classes.retain(|class| !class.ports.is_empty());
}

/// The class's entries of one protocol that no own rule names.
fn left_over(config: &Config, class: &PortClass, protocol: Protocol) -> Vec<PortEntry> {
    let taking = config.rules.iter().filter(|rule| rule.protocols.contains(&protocol));
    let taken: PortSet = taking.flat_map(|rule| rule.ports.iter().copied()).collect();
    let named: PortSet = class.ranges(protocol).collect();
    named.difference(&taken).iter().map(|&ports| PortEntry { protocol, ports }).collect()
}

/// Ports that a replaced class had and that now nobody names: they pass.
fn warn_orphans(config: &Config, class: &PortClass, warnings: &mut Vec<String>) {
    let orphans: Vec<String> = Protocol::ALL
        .iter()
        .flat_map(|protocol| left_over(config, class, *protocol))
        .map(|entry| format!("{} {}", entry.protocol, entry.ports))
        .collect();
    if !orphans.is_empty() {
        warnings.push(format!(
            "rule {:?} replaces the profile's class of that name whole; no class names these ports now, so anyone reaches them: {}",
            class.name,
            orphans.join(", ")
        ));
    }
}

/// Options of the profile that decide nothing because own rules, or the profile `none`, leave them no port.
fn warn_idle_options(config: &Config, profile_classes: &[PortClass], warnings: &mut Vec<String>) {
    let options = [
        ("cluster_version", AGENT_PORT, config.profile.cluster_version.is_some()),
        ("agent_port_8443", AGENT_PORT, config.profile.agent_port_8443.is_some()),
        ("web_port_8022", WEB_PORT, config.profile.web_port_8022.is_some()),
    ];
    for (option, port, set) in options {
        let named = |protocol: &Protocol| profile_classes.iter().any(|class| class.names(*protocol, port));
        if set && !Protocol::ALL.iter().any(named) {
            let why = if config.profile.name == ProfileName::None {
                "the profile is \"none\"".to_owned()
            } else {
                format!("a rule of your own decides port {port}")
            };
            warnings.push(format!("profile.{option} has no effect: {why}"));
        }
    }
}

/// Classes that are to audit and deny nobody, or whose ports a rule of one's own decides.
fn warn_idle_audits(config: &Config, classes: &[PortClass], warnings: &mut Vec<String>) {
    for name in &config.profile.audit {
        if !classes.iter().any(|class| class.name == *name && class.from != Origin::Rule) {
            warnings.push(format!(
                "profile.audit has no effect on {name}: rules of your own decide its ports; say mode = \"audit\" there"
            ));
        }
    }
    for class in classes.iter().filter(|class| class.audited && class.access == Access::Public) {
        warnings.push(format!("class {} is to audit, and is public: it denies nobody", class.name));
    }
}
