//! The configuration as a whole: every table's part, and its defaults.
//!
//! Owns the top level's keys. Must not read a file (that is `file`), or know flags (`overrides`).

use std::collections::BTreeMap;
use std::path::PathBuf;

use ipnet::IpNet;

use super::enums::{AttachMode, InterfaceAttach, LaterFragments, Mode, ProfileAccess, ProfileName, Tunnels};
use super::error::{ConfigErrors, ValueError};
use super::evidence::{self, Evidence};
use super::export::{self, Export};
use super::formats::Interface;
use super::given::{List, Text};
use super::interface::InterfacePattern;
use super::interface_peers::InterfacePeers;
use super::interface_table;
use super::ledger::{self, Ledger};
use super::mission_control::{self, MissionControl, MissionLink};
use super::origin::ConfigOrigin;
use super::peers::{self, Peers};
use super::port::PortSet;
use super::problems::Problems;
use super::push::{self, Push};
use super::rule::{self, Rule};
use super::schema::{RawFile, RawProfile};
use super::source_count::SourceCount;
use super::text::{self, ConfigText};
use super::trusted::{MAX_FILE_BYTES, refuse_large};
use super::version::ClusterVersion;

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
    /// `[[interface]]`: what differs on single interfaces, by their names.
    pub interface_attach: BTreeMap<String, InterfaceAttach>,
    /// `[[interface]]`: who may come in by single interfaces, where not every peer may.
    pub interface_peers: BTreeMap<String, InterfacePeers>,
    /// `single_node`; default false. True: having no peers is right.
    pub single_node: bool,
    /// `tunnels`; default peers.
    pub tunnels: Tunnels,
    /// `later_fragments`; default all.
    pub later_fragments: LaterFragments,
    /// `allow_lockout`; default false.
    pub allow_lockout: bool,
    /// `lockout_ports`: ports that no policy may close unless `allow_lockout`, besides those of [`LOCKOUT_PORTS`].
    pub lockout_ports: PortSet,
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
    /// `[ledger]`.
    pub ledger: Ledger,
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
    /// `audit`: classes that only audit, in the order written, no duplicates.
    pub audit: Vec<String>,
}

/// `[counters]`: what is counted beyond what always is. It opens and closes nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// `per_peer`; default true. True: the traffic of each port is counted for each peer, too.
    pub per_peer: bool,
}

impl Config {
    /// The configuration that needs no file: every default.
    pub fn embedded() -> Self {
        // Nothing is written, so nothing can be refused.
        let mut problems = Problems::new(ConfigText { file: "", text: "" });
        Self::of(RawFile::default(), ConfigOrigin::Embedded, &mut problems)
    }

    /// Reads a configuration's text. `file` is how errors name it.
    ///
    /// Errors of shape (syntax, types, unknown keys) end the reading at the first; all refused values are then reported at once.
    pub fn parse(text: &str, file: &str) -> Result<Self, ConfigErrors> {
        let result = Self::parse_text(text, file);
        // Whatever a test has read is also shown to the schema: the two must not say different things.
        #[cfg(test)]
        super::tests::schema::judge(text, &result);
        result
    }

    fn parse_text(text: &str, file: &str) -> Result<Self, ConfigErrors> {
        refuse_large(text.len() as u64, MAX_FILE_BYTES)
            .map_err(|error| ConfigErrors::whole(file, error.message, error.help))?;
        let source = ConfigText { file, text };
        let raw = text::read(source)?;
        let mut problems = Problems::new(source);
        let config = Self::of(raw, ConfigOrigin::Named(PathBuf::from(file)), &mut problems);
        problems.finish()?;
        Ok(config)
    }

    /// What is refused is noted in `problems`, and then the result is not to be used.
    fn of(raw: RawFile, origin: ConfigOrigin, problems: &mut Problems<'_>) -> Self {
        let mut sources = SourceCount::default();
        let allow_lockout = raw.allow_lockout.or(false);
        let lockout_ports = rule::lockout_ports(raw.lockout_ports, problems);
        let guarded = (!allow_lockout).then_some(&lockout_ports);
        let profile = profile(raw.profile.0, problems);
        let interfaces = interfaces(raw.interfaces, problems);
        let single = interface_table::interfaces(raw.interface, &interfaces, problems);
        let (mission_control, mission_link) =
            mission_control::mission_control(raw.mission_control.0, profile.name, problems);
        Self {
            origin,
            mode: raw.mode.or(Mode::Enforce),
            interface_attach: single.attach,
            interface_peers: single.peers,
            interfaces,
            attach_mode: raw.attach_mode.or(AttachMode::Native),
            single_node: raw.single_node.or(false),
            tunnels: raw.tunnels.or(Tunnels::Peers),
            later_fragments: raw.later_fragments.or(LaterFragments::All),
            allow_lockout,
            mission_control,
            profile,
            peers: peers::peers(raw.peers.0, &mut sources, problems),
            export: export::export(raw.export.0, problems),
            push: raw.push.spanned().and_then(|table| push::push(table, problems)),
            mission_link,
            counters: Counters { per_peer: raw.counters.0.per_peer.or(true) },
            evidence: evidence::evidence(raw.evidence.0, problems),
            ledger: ledger::ledger(raw.ledger.0, problems),
            rules: rule::rules(raw.rule, guarded, &mut sources, problems),
            lockout_ports,
        }
    }

    /// What the rules let in besides their access, duplicates counted once; sorted.
    pub fn allowed_sources(&self) -> Vec<IpNet> {
        let mut sources: Vec<IpNet> = self.rules.iter().flat_map(|rule| rule.also_allow.iter().copied()).collect();
        sources.sort_unstable();
        sources.dedup();
        sources
    }
}

fn interfaces(raw: List<Text<Interface>>, problems: &mut Problems<'_>) -> Vec<InterfacePattern> {
    if let Some(span) = raw.empty_span() {
        let error = ValueError::new("an empty list protects nothing; expected at least one such as \"eth0\"");
        let help = "leave the key out for the default: every way into this host";
        problems.refuse(&span, error.help(help));
    }
    problems.distinct(raw, usize::MAX)
}

fn profile(raw: RawProfile, problems: &mut Problems<'_>) -> Profile {
    Profile {
        name: raw.name.or(ProfileName::DynatraceManaged),
        cluster_version: problems.take(raw.cluster_version),
        agent_port_8443: raw.agent_port_8443.value(),
        web_port_8022: raw.web_port_8022.value(),
        audit: problems.distinct(raw.audit, usize::MAX),
    }
}
