//! Configuration text to meaning: `nodewall.toml` and the command line's overrides become a [`Config`], or errors that name
//! file, line, column and what was expected.
//!
//! Owns the format and every refusal that the text alone decides. Must not know the profiles' ports (that is `policy`), and does no
//! I/O but reading the file named.

mod address;
mod counters;
mod error;
mod evidence;
mod export;
mod file;
mod interface;
mod manual;
mod mission_control;
mod mission_link;
mod overrides;
mod peers;
mod port;
mod push;
mod rule;
mod schema;
mod trusted;
mod version;
mod word;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use ipnet::IpNet;

pub use self::address::{
    MAX_ADDRESSES, MAX_PREFIXES, MIN_PEER_PREFIX_V4_BITS, MIN_PEER_PREFIX_V6_BITS, check_peer, parse_allowed,
    parse_blocked, parse_bound, parse_peer, parse_prefix, show,
};
pub use self::counters::Counters;
pub use self::error::{ConfigError, ConfigErrors, ValueError};
pub use self::evidence::{
    DEFAULT_CAPTURE_BYTES, DEFAULT_CAPTURES_PER_SECOND, DEFAULT_EVIDENCE_AGE, DEFAULT_EVIDENCE_BYTES,
    DEFAULT_OUTPUT_BYTES, DEFAULT_OUTPUT_KEEP, Evidence, EvidenceOutput, MAX_OUTPUTS, Syslog,
};
pub use self::export::{DEFAULT_LISTEN, Export, ExportTls, parse_listen};
pub use self::file::{ConfigOrigin, DEFAULT_PATH, MAX_FILE_BYTES, resolve};
pub use self::interface::InterfacePattern;
pub use self::manual::{Chosen, Key, Keys, SCHEMA, commented_file};
pub use self::mission_control::{
    MAX_MISSION_CONTROL_ADDRESSES, MISSION_CONTROL_ADDRESSES, MISSION_CONTROL_PORT, MissionControl,
};
pub use self::mission_link::{DEFAULT_MISSION_CONTROL_HOST, MissionLink, Proxy};
pub use self::overrides::Overrides;
pub use self::peers::{
    DEFAULT_API_INTERVAL, DEFAULT_HTTP_SD_INTERVAL, DEFAULT_REMOVAL_DELAY, DynatraceApi, HttpSd, MAX_DNS_NAMES,
    NamedPeer, PeerOrigin, Peers,
};
pub use self::port::PortRange;
pub use self::push::{DEFAULT_PUSH_INTERVAL, DEFAULT_PUSH_URL, Push};
pub(crate) use self::rule::RuleFile;
pub use self::rule::{LOCKOUT_PORTS, MAX_RULE_GROUPS, MAX_RULE_NAME_BYTES, RESERVED_RULE_NAMES, Rule};
pub use self::trusted::Trust;
pub use self::trusted::read_trusted;
pub use self::version::ClusterVersion;
pub use self::word::{
    Access, AttachMode, LaterFragments, Mode, OutputKind, ProfileAccess, ProfileName, Protocol, SyslogTransport,
    Tunnels,
};

pub use self::address::SourceCount;
use self::error::{Problems, Source};
use self::schema::{List, RawFile, RawProfile};

/// A configuration, checked as far as the text alone decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where it came from.
    pub origin: ConfigOrigin,
    /// `mode`; default enforce.
    pub mode: Mode,
    /// `interfaces`, in the order written, no duplicates. Empty: the default set.
    pub interfaces: Vec<InterfacePattern>,
    /// `attach_mode`; default native.
    pub attach_mode: AttachMode,
    /// `single_node`; default false. True: having no peers is right.
    pub single_node: bool,
    /// `tunnels`; default peers.
    pub tunnels: Tunnels,
    /// `later_fragments`; default all.
    pub later_fragments: LaterFragments,
    /// `allow_lockout`; default false.
    pub allow_lockout: bool,
    /// `lockout_ports`: ports that no policy may close unless `allow_lockout`, besides those of [`LOCKOUT_PORTS`]; ascending, in the fewest ranges.
    pub lockout_ports: Vec<PortRange>,
    /// `[profile]`.
    pub profile: Profile,
    /// `[peers]`.
    pub peers: Peers,
    /// `[mission_control]`.
    pub mission_control: MissionControl,
    /// `[export]`.
    pub export: Export,
    /// `[push]`; `None`: nothing is pushed.
    pub push: Option<Push>,
    /// `[mission_control]`: how it is reached.
    pub mission_link: MissionLink,
    /// `[counters]`.
    pub counters: Counters,
    /// `[evidence]`.
    pub evidence: Evidence,
    /// `[[rule]]`, in the order written.
    pub rules: Vec<Rule>,
}

/// `[profile]`: which of the vendor's tables, and its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// `name`; default `dynatrace-managed`.
    pub name: ProfileName,
    /// `cluster_version`; decides 8443 where `agent_port_8443` does not.
    pub cluster_version: Option<ClusterVersion>,
    /// `agent_port_8443`; wins over the version.
    pub agent_port_8443: Option<ProfileAccess>,
    /// `web_port_8022`.
    pub web_port_8022: Option<ProfileAccess>,
}

impl Default for Profile {
    fn default() -> Self {
        Self { name: ProfileName::DynatraceManaged, cluster_version: None, agent_port_8443: None, web_port_8022: None }
    }
}

impl Config {
    /// The configuration that needs no file: every default.
    pub fn embedded() -> Self {
        Self {
            origin: ConfigOrigin::Embedded,
            mode: Mode::Enforce,
            interfaces: Vec::new(),
            attach_mode: AttachMode::Native,
            single_node: false,
            tunnels: Tunnels::Peers,
            later_fragments: LaterFragments::All,
            allow_lockout: false,
            lockout_ports: Vec::new(),
            profile: Profile::default(),
            peers: Peers::default(),
            mission_control: MissionControl::of_profile(ProfileName::DynatraceManaged),
            export: Export::default(),
            push: None,
            mission_link: MissionLink::default(),
            counters: Counters::default(),
            evidence: Evidence::default(),
            rules: Vec::new(),
        }
    }

    /// Reads a configuration's text. `file` is how errors name it.
    ///
    /// Errors of shape (syntax, types, unknown keys) end the reading at the first; all refused values are then reported at once.
    pub fn parse(text: &str, file: &str) -> Result<Self, ConfigErrors> {
        let result = Self::parse_text(text, file);
        // Whatever a test has read is also shown to the schema: the two must not say different things.
        #[cfg(test)]
        tests::schema::judge(text, &result);
        result
    }

    fn parse_text(text: &str, file: &str) -> Result<Self, ConfigErrors> {
        file::refuse_large(text.len() as u64, file)?;
        let source = Source { file, text };
        let raw: RawFile = schema::read(source)?;
        let mut problems = Problems::new(source);
        let mut sources = SourceCount::default();
        let lockout_ports = rule::lockout_ports(raw.lockout_ports, &mut problems);
        let closable = if raw.allow_lockout.unwrap_or(false) { None } else { Some(lockout_ports.as_slice()) };
        let profile = profile(raw.profile.0, &mut problems);
        let mut mission = raw.mission_control.0;
        let (enabled, addresses) = (mission.enabled, mission.addresses.take());
        let mission_link = mission_link::mission_link(mission, &mut problems);
        let config = Self {
            origin: ConfigOrigin::Named(PathBuf::from(file)),
            mode: raw.mode.unwrap_or(Mode::Enforce),
            interfaces: interfaces(raw.interfaces, &mut problems),
            attach_mode: raw.attach_mode.unwrap_or(AttachMode::Native),
            single_node: raw.single_node.unwrap_or(false),
            tunnels: raw.tunnels.unwrap_or(Tunnels::Peers),
            later_fragments: raw.later_fragments.unwrap_or(LaterFragments::All),
            allow_lockout: raw.allow_lockout.unwrap_or(false),
            mission_control: mission_control::mission_control(
                enabled,
                addresses,
                &mission_link,
                profile.name,
                &mut problems,
            ),
            profile,
            peers: peers::peers(raw.peers.0, &mut sources, &mut problems),
            export: export::export(raw.export.0, &mut problems),
            push: raw.push.and_then(|table| push::push(&table.span(), table.into_inner().0, &mut problems)),
            mission_link,
            counters: counters::counters(&raw.counters.0),
            evidence: evidence::evidence(raw.evidence.0, &mut problems),
            rules: rule::rules(raw.rule, closable, &mut sources, &mut problems),
            lockout_ports,
        };
        problems.finish()?;
        Ok(config)
    }
}

impl Config {
    /// What the rules let in besides their access, duplicates counted once; sorted.
    pub fn allowed_sources(&self) -> Vec<IpNet> {
        let mut sources: Vec<IpNet> = self.rules.iter().flat_map(|rule| rule.also_allow.iter().copied()).collect();
        sources.sort_unstable();
        sources.dedup();
        sources
    }
}

fn interfaces(raw: Option<List<String>>, problems: &mut Problems<'_>) -> Vec<InterfacePattern> {
    let Some(raw) = raw else { return Vec::new() };
    if raw.get_ref().is_empty() {
        problems.push(&raw.span(), || {
            (
                "interfaces: an empty list protects nothing; expected at least one such as \"eth0\"".to_owned(),
                Some("leave the key out for the default: every addressed Ethernet interface".to_owned()),
            )
        });
    }
    let mut patterns: Vec<InterfacePattern> = Vec::new();
    for entry in raw.into_inner() {
        match entry.get_ref().parse() {
            Ok(pattern) if patterns.contains(&pattern) => {}
            Ok(pattern) => patterns.push(pattern),
            Err(error) => problems.value(&entry.span(), "interfaces", error),
        }
    }
    patterns
}

fn profile(raw: RawProfile, problems: &mut Problems<'_>) -> Profile {
    let cluster_version = raw.cluster_version.and_then(|version| match version.get_ref().0.parse() {
        Ok(version) => Some(version),
        Err(error) => {
            problems.value(&version.span(), "profile.cluster_version", error);
            None
        }
    });
    Profile {
        name: raw.name.unwrap_or(ProfileName::DynatraceManaged),
        cluster_version,
        agent_port_8443: raw.agent_port_8443,
        web_port_8022: raw.web_port_8022,
    }
}
