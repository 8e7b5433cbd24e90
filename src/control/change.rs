//! One change of what is in force: compile whole, write down, load, swap one pointer, attach, pin. Everything that can be refused is refused before
//! the first kernel object changes; what fails after that is undone, so that the last good state stands. It must not read a configuration.

use std::{net::IpAddr, path::PathBuf};

use ipnet::IpNet;
use node_ebpf_common::{PolicyImage, maps::RowRecord};

use super::{
    block_list::Blocks,
    error::AgentError,
    state_files::readable,
    surroundings::{Surroundings, own_addresses, refuse_occupied, select},
    trial_file::is_panic_open,
};
use crate::control::{Desired, Good};
use nodewall_datapath::{self as datapath, Attached, DatapathError, Entry, Loaded, Maps, PinDir, Target};
use nodewall_host::{
    net::{self, Network, Selection, Uncovered},
    state::{Clock, PolicyLock, StateDir},
};
use nodewall_policy::{
    Compiled, Facts, Lengths, PeerTable, Policy, RowTable, compile,
    config::{AttachMode, Mode},
};
use nodewall_text::hex;

/// Where nodewall keeps things on this node.
#[derive(Clone, Debug)]
pub struct Site {
    /// What outlives a process.
    pub state: StateDir,
    /// The pin directory.
    pub bpffs: PathBuf,
    /// In-kernel log messages.
    pub kernel_log: bool,
}

/// What was done to an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachAction {
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
    pub outcome: AttachAction,
    /// Why what leaves there is not counted; `None`: it is. Filtering does not depend on it.
    pub uncounted: Option<String>,
}

/// A change that is in force.
pub struct Applied {
    /// What was asked for.
    pub desired: Desired,
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
    /// Blocked sources.
    pub blocked: usize,
    /// It audits, and the policy before it enforced.
    pub(crate) opens: bool,
    /// The loaded object, for its log and for interfaces to come. Enforcement does not depend on it.
    pub loaded: Loaded,
}

impl Applied {
    /// The policy's meaning.
    pub fn policy(&self) -> &Policy {
        &self.desired.policy
    }

    /// Interfaces whose outbound traffic is not counted, each with why.
    pub(crate) fn uncounted(&self) -> Vec<String> {
        self.interfaces.iter().filter_map(|interface| interface.uncounted.clone()).collect()
    }
}

/// Whether the policy must be on disk before it comes into force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Persist {
    /// An operator's new policy: refused when it can not be written down, for the next start would bring back another.
    Required,
    /// A return to a policy, a repair, an interface: must happen, also on a full disk.
    IfPossible,
}

/// Which sources are blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blocking {
    /// Those of the list, unless a panic-open has lifted them.
    AsListed,
    /// Those of the list: a panic-open ends.
    Restored,
    /// None: a panic-open begins.
    Lifted,
}

/// Refuses, or not.
pub(crate) type Judge<'a> = &'a dyn Fn(&PolicyImage, &[IpAddr], Option<&Good>) -> Result<(), AgentError>;

/// What is to come into force.
pub(crate) struct Request<'a> {
    pub(crate) desired: Desired,
    pub(crate) persist: Persist,
    pub(crate) blocking: Blocking,
    /// Judges before anything changes; gets the compiled image, the node's own addresses and the last good policy.
    pub(crate) judge: Judge<'a>,
    /// Whether the policy that this one replaces becomes the one to roll back to.
    pub(crate) keep_previous: bool,
    /// Somebody decided what is to be in force, rather than kept it: what the configuration file said before that no longer counts.
    pub(crate) decides: bool,
}

/// Judges nothing.
#[expect(clippy::unnecessary_wraps, reason = "the shape of a judge")]
pub(crate) fn unjudged(_: &PolicyImage, _: &[IpAddr], _: Option<&Good>) -> Result<(), AgentError> {
    Ok(())
}

/// The kernel's privileges, before anything is touched.
pub(crate) fn require_privilege() -> Result<(), AgentError> {
    let missing = datapath::missing_capabilities();
    if missing.is_empty() { Ok(()) } else { Err(DatapathError::Privilege { missing }.into()) }
}

/// Puts a policy into force. The caller holds the lock.
pub(crate) async fn put_in_force(site: &Site, _lock: &PolicyLock, request: Request<'_>) -> Result<Applied, AgentError> {
    require_privilege()?;
    let Request { desired, persist, blocking, judge, keep_previous, decides } = request;
    let before = Good::last(&site.state);
    if let Err(error) = &before {
        tracing::error!("the last good policy can not be read: {error}");
    }
    let before = before.ok().flatten();
    let network = net::snapshot().await?;
    let own_addresses = own_addresses(&network);
    let stored = before.as_ref().map_or(&[][..], |good| &good.attached);
    let selection = select(&desired, &network, stored)?;
    let live = Maps::live(&site.bpffs)?;
    refuse_occupied(&selection, &network, live.as_ref().map(|(pins, _)| pins), desired.attach_mode)?;
    let (old_rows, peers, live_generation) = match &live {
        Some((_, maps)) => (maps.rows()?, PeerTable::new(maps.peers()?), live_generation(maps)?),
        None => (Vec::new(), PeerTable::default(), None),
    };
    drop(live);
    // A number is never used again, also not after a boot.
    let generation = live_generation.max(before.as_ref().map(|good| good.generation)).unwrap_or(0) + 1;
    let now = Clock::now();
    let blocked = blocked(site, blocking, &now)?;
    let blocks = blocked.len();
    let facts = Facts { generation, now_ns: now.unix_ns, own_addresses, blocked, peers };
    let compiled = compile(&desired.policy, RowTable::new(old_rows.clone()), &facts)?;
    judge(&compiled.image, &facts.own_addresses, before.as_ref())?;

    let good = Good {
        generation,
        policy_sha256: hex(&compiled.image.policy_sha256),
        since_unix_ns: now.unix_ns,
        decided_unix_ns: before.as_ref().filter(|_| !decides).map_or(now.unix_ns, |before| before.decided_unix_ns),
        attached: selection.attach.iter().map(|s| s.name.clone()).chain(selection.missing.iter().cloned()).collect(),
        desired: desired.clone(),
    };
    if let Err(error) = write_down(site, &good, before.as_ref(), persist, keep_previous) {
        // The file may be there all the same: what failed can be the last flush.
        take_back(site, before.as_ref());
        return Err(error);
    }
    let installed = PinDir::create(&site.bpffs).map_err(AgentError::from).and_then(|pins| {
        let change = Change {
            desired: &desired,
            kernel_log: site.kernel_log,
            pins: &pins,
            selection: &selection,
            network: &network,
            old_rows: &old_rows,
            old_peers: &facts.peers,
            first: live_generation.is_none(),
        };
        let installed = change.install(&compiled);
        if installed.is_err() && change.first {
            // Nothing was in force before: leave no trace.
            let _ = pins.remove();
        }
        installed
    });
    let (loaded, interfaces) = match installed {
        Ok(done) => done,
        Err(error) => {
            take_back(site, before.as_ref());
            return Err(error);
        }
    };
    let attached = interfaces.iter().map(|i| i.if_index).collect();
    let enforced = before.is_some_and(|before| before.desired.policy.mode == Mode::Enforce);
    Ok(Applied {
        opens: enforced && desired.policy.mode == Mode::Audit,
        uncovered: net::uncovered(&network, &attached),
        policy_sha256: good.policy_sha256,
        lengths: compiled.lengths,
        generation,
        surroundings: Surroundings::new(&selection, &network).all_filtered(),
        interfaces,
        missing: selection.missing,
        blocked: blocks,
        loaded,
        desired,
    })
}

fn blocked(site: &Site, blocking: Blocking, now: &Clock) -> Result<Vec<IpNet>, AgentError> {
    let lifted = match blocking {
        Blocking::Lifted => true,
        Blocking::Restored => false,
        Blocking::AsListed => readable(is_panic_open(&site.state))?,
    };
    Ok(if lifted { Vec::new() } else { readable(Blocks::load(&site.state))?.prefixes(now) })
}

/// Before the swap, so that no power cut brings back a policy that was replaced long ago.
fn write_down(
    site: &Site,
    good: &Good,
    before: Option<&Good>,
    persist: Persist,
    keep_previous: bool,
) -> Result<(), AgentError> {
    let written = if keep_previous { good.save(&site.state, before) } else { site.state.save(good) };
    // The same policy under another number is on disk already, for all that a start needs.
    let needed = persist == Persist::Required && before.is_none_or(|before| before.desired != good.desired);
    match written {
        Err(error) if needed => Err(error.into()),
        Err(error) => {
            tracing::error!(
                "{error}; the policy comes into force all the same, and a start from this disk would not know it"
            );
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// The change failed: what is on disk must be what is in force.
fn take_back(site: &Site, before: Option<&Good>) {
    let restored = match before {
        Some(before) => site.state.save(before),
        None => Good::forget(&site.state),
    };
    if let Err(error) = restored {
        tracing::error!("{error}; a start from this disk would try the refused policy");
    }
}

struct Change<'a> {
    desired: &'a Desired,
    kernel_log: bool,
    pins: &'a PinDir,
    selection: &'a Selection,
    network: &'a Network,
    old_rows: &'a [RowRecord],
    old_peers: &'a PeerTable,
    /// No policy was in force before.
    first: bool,
}

impl Change<'_> {
    fn install(&self, compiled: &Compiled) -> Result<(Loaded, Vec<AppliedInterface>), AgentError> {
        let mut loaded = Loaded::new(Some(self.pins))?;
        loaded.load(Entry::filter(self.kernel_log, self.desired.policy.per_peer, self.desired.policy.evidence))?;
        let named = loaded.maps.write_rows(self.old_rows, compiled.rows.records());
        let named = named.and_then(|()| loaded.maps.write_peers(self.old_peers.records(), compiled.peers.records()));
        if let Err(error) = named.and_then(|()| loaded.maps.swap(&compiled.image)) {
            self.restore_names(&mut loaded, compiled);
            return Err(error.into());
        }
        match self.attach(&mut loaded) {
            Ok(interfaces) => Ok((loaded, interfaces)),
            Err(error) => {
                self.restore_names(&mut loaded, compiled);
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
        datapath::forget_dead(self.pins, |index| self.network.by_index(index).is_some())?;
        let mut interfaces: Vec<AppliedInterface> = Vec::new();
        for selected in &self.selection.attach {
            let target = Target { name: selected.name.clone(), if_index: selected.index };
            match attach_one(loaded, self.pins, &target, self.desired.attach_mode) {
                Ok(done) => interfaces.push(done),
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
        for interface in interfaces.iter().filter(|i| i.outcome == AttachAction::Attached) {
            let target = Target { name: interface.name.clone(), if_index: interface.if_index };
            let undone =
                datapath::detach(self.pins, &target).and_then(|_| datapath::detach_egress(self.pins, target.if_index));
            if let Err(error) = undone {
                tracing::error!("{}: can not undo the attachment: {error}", target.name);
            }
        }
    }

    /// Gives rows and slots their old names back. What this change gave away stays given away: its counters may have moved.
    fn restore_names(&self, loaded: &mut Loaded, compiled: &Compiled) {
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
        if let Err(error) = loaded.maps.restore_peers(self.old_peers.records()) {
            tracing::error!("whose the cells of the peer matrix are could not be restored: {error}");
        }
    }
}

pub(crate) fn attach_one(
    loaded: &mut Loaded,
    pins: &PinDir,
    target: &Target,
    mode: AttachMode,
) -> Result<AppliedInterface, DatapathError> {
    let mode = match mode {
        AttachMode::Native => datapath::Mode::Native,
        AttachMode::Generic => datapath::Mode::Generic,
    };
    let outcome = match datapath::attach(loaded, pins, target, mode)? {
        Attached::New => AttachAction::Attached,
        Attached::Replaced => AttachAction::Replaced,
    };
    let uncounted = count_outbound(loaded, pins, target);
    Ok(AppliedInterface { name: target.name.clone(), if_index: target.if_index, outcome, uncounted })
}

/// Counts what leaves by an interface. Why it is not counted is told, and nothing more: the filter stands without it.
pub(crate) fn count_outbound(loaded: &mut Loaded, pins: &PinDir, target: &Target) -> Option<String> {
    let error = datapath::attach_egress(loaded, pins, target, None).err()?;
    Some(format!("{}: what it sends is not counted: {error}", target.name))
}

fn live_generation(maps: &Maps) -> Result<Option<u64>, DatapathError> {
    match maps.policy() {
        Ok(image) => Ok(Some(image.generation)),
        Err(DatapathError::NoPolicy) => Ok(None),
        Err(error) => Err(error),
    }
}
