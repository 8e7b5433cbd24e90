//! One change, from configuration to kernel: compile whole, load, swap one pointer, attach, pin. Everything that can be refused is refused before
//! the first kernel object changes; what fails after that is undone, so that the last good state stands.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use node_ebpf_common::maps::RowRecord;

use super::{
    error::AgentError,
    state::{Record, StateDir},
};
use crate::{
    config::{AttachMode, Config, Mode},
    datapath::{self, Attached, DatapathError, Entry, Loaded, Maps, PinDir, Target},
    net::{self, Link, Network, Selection, Uncovered, XdpMode},
    policy::{Compiled, Facts, Lengths, Policy, RowTable, compile, hex},
};

/// What to apply, and where.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The configuration under the command line.
    pub config: Config,
    /// The pin directory.
    pub bpffs: PathBuf,
    /// In-kernel log messages.
    pub kernel_log: bool,
}

/// What was done to an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was open until now.
    Attached,
    /// Its program was replaced by this one, without a gap.
    Replaced,
}

/// An interface that is filtered now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedInterface {
    /// Name.
    pub name: String,
    /// Index.
    pub if_index: u32,
    /// What was done.
    pub outcome: Outcome,
}

/// What of the host's network a policy depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Indices of the interfaces to attach.
    attach: BTreeSet<u32>,
    /// Those of them that nothing filters. An interface that was deleted and came back under its old index is among them.
    unfiltered: BTreeSet<u32>,
    /// The node's own addresses.
    own_addresses: BTreeSet<IpAddr>,
}

/// The surroundings right now.
pub(super) async fn surroundings(settings: &Settings, state: &StateDir) -> Result<Surroundings, AgentError> {
    let network = net::snapshot().await?;
    let selection = select(&settings.config, &network, state)?;
    Ok(Surroundings::new(&selection, &network))
}

impl Surroundings {
    fn new(selection: &Selection, network: &Network) -> Self {
        let attach: BTreeSet<u32> = selection.attach.iter().map(|s| s.index).collect();
        let open = |index: &u32| network.by_index(*index).is_some_and(|link| link.xdp.is_none());
        let unfiltered = attach.iter().copied().filter(open).collect();
        Self { attach, unfiltered, own_addresses: own_addresses(network).into_iter().collect() }
    }

    /// The same once everything is attached.
    fn all_filtered(self) -> Self {
        Self { unfiltered: BTreeSet::new(), ..self }
    }
}

/// A change that is in force.
pub struct Applied {
    /// The policy's meaning.
    pub policy: Policy,
    /// Number of the policy image.
    pub generation: u64,
    /// SHA-256 of the policy, in hexadecimal.
    pub policy_sha256: String,
    /// The surroundings it was made for.
    pub surroundings: Surroundings,
    /// Filtered interfaces.
    pub interfaces: Vec<AppliedInterface>,
    /// Interfaces that are configured and not there; attached when they appear.
    pub missing: Vec<String>,
    /// Addressed Ethernet interfaces that nothing covers.
    pub uncovered: Vec<Uncovered>,
    /// Distinct prefix lengths in the source tables.
    pub lengths: Lengths,
    /// The loaded object, for its log. Enforcement does not depend on it.
    pub loaded: Loaded,
}

/// Who wants a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// An operator: a command, a start, a reload. Ends a detach.
    Operator,
    /// The agent, because the host's network changed. Respects a detach.
    Network,
}

/// Puts `settings` into force.
pub async fn apply(settings: &Settings, state: &StateDir, cause: Cause) -> Result<Applied, AgentError> {
    let missing = datapath::missing_capabilities();
    if !missing.is_empty() {
        return Err(DatapathError::Privilege { missing }.into());
    }
    let _change = state.lock_policy()?;
    // Under the lock: a detach can not slip in between.
    if cause == Cause::Network && state.is_detached() {
        return Err(AgentError::Detached);
    }
    let policy = Policy::from_config(&settings.config)?;
    let network = net::snapshot().await?;
    let own_addresses = own_addresses(&network);
    require_other_nodes(&policy, &own_addresses)?;
    let selection = select(&settings.config, &network, state)?;
    let live = Maps::live(&settings.bpffs)?;
    refuse_occupied(&selection, &network, live.as_ref().map(|(pins, _)| pins), settings.config.attach_mode)?;

    let (old_rows, generation) = match &live {
        Some((_, maps)) => (maps.rows()?, generation_after(maps)?),
        None => (Vec::new(), 1),
    };
    drop(live);
    let surroundings = Surroundings::new(&selection, &network).all_filtered();
    let facts = Facts { generation, now_ns: unix_time_ns(), own_addresses };
    let compiled = compile(&policy, RowTable::new(old_rows.clone()), &facts)?;

    let pins = PinDir::create(&settings.bpffs)?;
    let change = Change { settings, pins: &pins, selection: &selection, old_rows: &old_rows, first: generation == 1 };
    let installed = change.install(&compiled);
    let (loaded, interfaces) = match installed {
        Ok(done) => done,
        Err(error) => {
            if change.first {
                // Nothing was in force before: leave no trace.
                let _ = pins.remove();
            }
            return Err(error);
        }
    };
    let attached = interfaces.iter().map(|i| i.if_index).collect();
    let applied = Applied {
        uncovered: net::uncovered(&network, &attached),
        policy_sha256: hex(&compiled.image.policy_sha256),
        lengths: compiled.lengths,
        policy,
        generation,
        surroundings,
        interfaces,
        missing: selection.missing,
        loaded,
    };
    state.clear_detached()?;
    state.save(&record_of(&applied))?;
    Ok(applied)
}

struct Change<'a> {
    settings: &'a Settings,
    pins: &'a PinDir,
    selection: &'a Selection,
    old_rows: &'a [RowRecord],
    /// No policy was in force before.
    first: bool,
}

impl Change<'_> {
    fn install(&self, compiled: &Compiled) -> Result<(Loaded, Vec<AppliedInterface>), AgentError> {
        let mut loaded = Loaded::new(Some(self.pins))?;
        loaded.load(if self.settings.kernel_log { Entry::FilterLogged } else { Entry::Filter })?;
        loaded.maps.write_rows(self.old_rows, compiled.rows.records())?;
        let swapped = loaded.maps.swap(&compiled.image);
        if let Err(error) = swapped {
            self.restore_rows(&mut loaded, compiled);
            return Err(error.into());
        }
        match self.attach(&mut loaded) {
            Ok(interfaces) => Ok((loaded, interfaces)),
            Err(error) => {
                self.restore_rows(&mut loaded, compiled);
                if !self.first
                    && let Err(also) = loaded.maps.swap_back()
                {
                    tracing::error!("the previous policy could not be restored either: {also}");
                }
                Err(error)
            }
        }
    }

    fn attach(&self, loaded: &mut Loaded) -> Result<Vec<AppliedInterface>, AgentError> {
        datapath::forget_dead(self.pins)?;
        let mode = match self.settings.config.attach_mode {
            AttachMode::Native => datapath::Mode::Native,
            AttachMode::Generic => datapath::Mode::Generic,
        };
        let mut interfaces: Vec<AppliedInterface> = Vec::new();
        for selected in &self.selection.attach {
            let target = Target { name: selected.name.clone(), if_index: selected.index };
            match datapath::attach(loaded, self.pins, &target, mode) {
                Ok(done) => {
                    let outcome = match done {
                        Attached::New => Outcome::Attached,
                        Attached::Replaced => Outcome::Replaced,
                    };
                    interfaces.push(AppliedInterface { name: target.name, if_index: target.if_index, outcome });
                }
                Err(error) => {
                    self.undo(&interfaces);
                    return Err(error.into());
                }
            }
        }
        Ok(interfaces)
    }

    /// Detaches what this change attached. Interfaces that were filtered before stay filtered.
    fn undo(&self, interfaces: &[AppliedInterface]) {
        for interface in interfaces.iter().filter(|i| i.outcome == Outcome::Attached) {
            let target = Target { name: interface.name.clone(), if_index: interface.if_index };
            if let Err(error) = datapath::detach(self.pins, &target) {
                tracing::error!("{}: can not undo the attachment: {error}", target.name);
            }
        }
    }

    /// Gives the rows their old names back. Rows that this change gave away stay given away: their counters may have moved.
    fn restore_rows(&self, loaded: &mut Loaded, compiled: &Compiled) {
        let new = compiled.rows.records();
        let restored: Vec<RowRecord> = new
            .iter()
            .enumerate()
            .map(|(n, new)| match self.old_rows.get(n) {
                Some(old) if old.protocol != 0 => *old,
                _ => RowRecord { active: 0, ..*new },
            })
            .collect();
        if let Err(error) = loaded.maps.write_rows(new, &restored) {
            tracing::error!("the names of the counter rows could not be restored: {error}");
        }
    }
}

/// An address in doubt is left out: it may be a peer's, who must not be taken for a forger.
fn own_addresses(network: &Network) -> Vec<IpAddr> {
    network.links().flat_map(Link::own_addresses).collect()
}

/// Own addresses in the peer list do not make it a list of peers.
fn require_other_nodes(policy: &Policy, own: &[IpAddr]) -> Result<(), AgentError> {
    policy.require_peers()?;
    let other = |net: &ipnet::IpNet| net.prefix_len() != net.max_prefix_len() || !own.contains(&net.addr());
    if policy.mode == Mode::Enforce && !policy.single_node && !policy.peers.iter().any(other) {
        return Err(AgentError::OnlyOwnAddresses);
    }
    Ok(())
}

/// The interfaces to attach. Where none are configured, those of the last apply count besides the default: at boot nothing is addressed yet.
fn select(config: &Config, network: &Network, state: &StateDir) -> Result<Selection, AgentError> {
    if !config.interfaces.is_empty() {
        let patterns: Vec<String> = config.interfaces.iter().map(ToString::to_string).collect();
        return Ok(net::resolve(network, Some(&patterns))?);
    }
    let stored = state.record().map(|r| r.interfaces).unwrap_or_default();
    match net::resolve(network, None) {
        Ok(mut selection) => {
            let before = net::resolve(network, Some(&stored)).unwrap_or_default();
            for selected in before.attach {
                if selection.attach.iter().all(|s| s.index != selected.index) {
                    selection.attach.push(selected);
                }
            }
            selection.missing.extend(before.missing);
            Ok(selection)
        }
        Err(_) if !stored.is_empty() => Ok(net::resolve(network, Some(&stored))?),
        Err(error) => Err(error.into()),
    }
}

/// nodewall does not share an interface, and does not change the mode of an attachment in passing.
fn refuse_occupied(
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

fn generation_after(maps: &Maps) -> Result<u64, DatapathError> {
    match maps.policy() {
        Ok(image) => Ok(image.generation + 1),
        Err(DatapathError::NoPolicy) => Ok(1),
        Err(error) => Err(error),
    }
}

fn unix_time_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

fn record_of(applied: &Applied) -> Record {
    let mut interfaces: Vec<String> = applied.interfaces.iter().map(|i| i.name.clone()).collect();
    interfaces.extend(applied.missing.iter().cloned());
    Record { generation: applied.generation, policy_sha256: applied.policy_sha256.clone(), interfaces }
}
