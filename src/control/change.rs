//! One change of the policy in force: compile whole, judge, write down, store one word. Everything that can be refused is refused before the first kernel
//! object changes; what fails after that is undone, so that the last good policy stands. It loads no program, touches no link and looks at no interface:
//! that is `program` and `coverage`, whose failures are their own. It must not read a configuration.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use ipnet::IpNet;
use node_ebpf_common::maps::RowRecord;

use super::{
    block_list::Blocks, error::AgentError, guard::Guard, state_files::readable, surroundings::Surroundings,
    trial_file::is_panic_open,
};
use crate::control::{Desired, Good};
use nodewall_datapath::{self as datapath, DatapathError, Maps};
use nodewall_host::{
    net,
    state::{Clock, PolicyLock, StateDir},
};
use nodewall_policy::{Compiled, Facts, Lengths, PeerTable, Policy, RowTable, compile, config::Mode};
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

/// A policy that is in force.
#[derive(Clone, Debug)]
pub struct InForce {
    /// What was asked for.
    pub desired: Desired,
    /// Number of the policy image.
    pub generation: u64,
    /// SHA-256 of the policy, in hexadecimal.
    pub policy_sha256: String,
    /// What of the host it was compiled with.
    pub(crate) surroundings: Surroundings,
    /// Distinct prefix lengths in the source tables.
    pub lengths: Lengths,
    /// Blocked sources.
    pub blocked: usize,
    /// It audits, and the policy before it enforced.
    pub(crate) opens: bool,
}

impl InForce {
    /// The policy's meaning.
    pub fn policy(&self) -> &Policy {
        &self.desired.policy
    }
}

/// Who stands behind a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// An operator or the configuration: it must be on disk before it comes into force, for the next start would bring back another, and the policy before it
    /// becomes the one to roll back to.
    Decided,
    /// The same, until a trial ends; then the policy before it comes back from the trial's own file.
    OnTrial,
    /// Nobody anew: a return, a repair, a change of what a policy is made of. It must happen, also on a full disk, and what the configuration file said before
    /// it still counts.
    Kept,
}

/// Which sources are blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blocking {
    /// Those of the list, unless a panic-open has lifted them.
    AsListed,
    /// Those of the list: a panic-open ends.
    Restored,
    /// None: a panic-open begins.
    Lifted,
}

/// What is to come into force.
pub(crate) struct Request {
    pub(super) desired: Desired,
    standing: Standing,
    blocking: Blocking,
    guard: Option<Guard>,
    mode_since: Option<u64>,
}

impl Request {
    const fn new(desired: Desired, standing: Standing) -> Self {
        Self { desired, standing, blocking: Blocking::AsListed, guard: None, mode_since: None }
    }

    /// What somebody decided, for good.
    pub(super) const fn decided(desired: Desired) -> Self {
        Self::new(desired, Standing::Decided)
    }

    /// What somebody decided, until a trial ends.
    pub(super) const fn on_trial(desired: Desired) -> Self {
        Self::new(desired, Standing::OnTrial)
    }

    /// What is in force already.
    pub(super) const fn kept(desired: Desired) -> Self {
        Self::new(desired, Standing::Kept)
    }

    /// What was in force before a trial, with its blocks. An audit goes on where the trial broke in.
    pub(super) fn back_to(good: &Good) -> Self {
        let mode_since = Some(good.mode_since_unix_ns);
        Self { blocking: Blocking::Restored, mode_since, ..Self::kept(good.desired.clone()) }
    }

    /// Nothing changes unless the guard lets it.
    pub(super) fn guarded(self, guard: Guard) -> Self {
        Self { guard: Some(guard), ..self }
    }

    /// No source is blocked: a panic-open begins.
    pub(super) fn lifting_blocks(self) -> Self {
        Self { blocking: Blocking::Lifted, ..self }
    }
}

/// The kernel's privileges, before anything is touched.
pub(crate) fn require_privilege() -> Result<(), AgentError> {
    let missing = datapath::missing_capabilities();
    if missing.is_empty() { Ok(()) } else { Err(DatapathError::Privilege { missing }.into()) }
}

/// Puts a policy into force where nodewall runs already. The caller holds the lock.
pub(crate) async fn put_in_force(site: &Site, lock: &PolicyLock, request: Request) -> Result<InForce, AgentError> {
    require_privilege()?;
    let (_, mut maps) = Maps::live(&site.bpffs)?.ok_or(AgentError::NothingRuns)?;
    swap(site, lock, &mut maps, request).await
}

/// Puts a policy into these maps. The caller holds the lock.
pub(super) async fn swap(
    site: &Site,
    _lock: &PolicyLock,
    maps: &mut Maps,
    request: Request,
) -> Result<InForce, AgentError> {
    let Request { desired, standing, blocking, guard, mode_since } = request;
    let before = Good::last(&site.state);
    if let Err(error) = &before {
        tracing::error!("the last good policy can not be read: {error}");
    }
    let before = before.ok().flatten();
    let surroundings = Surroundings::of(&net::snapshot().await?, &desired.policy);
    let old = Names { rows: maps.rows()?, peers: PeerTable::new(maps.peers()?) };
    let live_generation = live_generation(maps)?;
    // A number is never used again, also not after a boot.
    let generation = live_generation.max(before.as_ref().map(|good| good.generation)).unwrap_or(0) + 1;
    let now = Clock::now();
    let blocked = blocked(site, blocking, &now)?;
    let blocks = blocked.len();
    let facts = Facts { generation, now_ns: now.unix_ns, blocked, peers: old.peers.clone(), ..surroundings.facts() };
    let began = Instant::now();
    let compiled = compile(&desired.policy, RowTable::new(old.rows.clone()), &facts)?;
    let compile_us = began.elapsed().as_micros();
    if let Some(guard) = guard {
        guard.judge(&desired, &compiled.image, &facts.own_addresses, before.as_ref())?;
    }

    let decided = standing != Standing::Kept;
    let good = Good {
        generation,
        policy_sha256: hex(&compiled.image.policy_sha256),
        since_unix_ns: now.unix_ns,
        decided_unix_ns: before.as_ref().filter(|_| !decided).map_or(now.unix_ns, |before| before.decided_unix_ns),
        mode_since_unix_ns: mode_since.unwrap_or_else(|| {
            let same = before.as_ref().filter(|before| before.desired.policy.mode == desired.policy.mode);
            same.map_or(now.unix_ns, |before| before.mode_since_unix_ns)
        }),
        attached: Vec::new(),
        desired: desired.clone(),
    };
    let began = Instant::now();
    let written = write_down(site, &good, before.as_ref(), standing);
    let state_us = began.elapsed().as_micros();
    match written.and_then(|()| Ok(old.replace(maps, &compiled)?)) {
        Ok(took) => {
            let (write_us, grace_us) = (took.write.as_micros(), took.grace.as_micros());
            tracing::debug!(generation, compile_us, state_us, write_us, grace_us, "the policy was changed");
        }
        Err(error) => {
            // The file may be there all the same: what failed can be the last flush.
            take_back(site, before.as_ref());
            return Err(error);
        }
    }
    let enforced = before.is_some_and(|before| before.desired.policy.mode == Mode::Enforce);
    Ok(InForce {
        opens: enforced && desired.policy.mode == Mode::Audit,
        policy_sha256: good.policy_sha256,
        surroundings,
        lengths: compiled.lengths,
        generation,
        blocked: blocks,
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
fn write_down(site: &Site, good: &Good, before: Option<&Good>, standing: Standing) -> Result<(), AgentError> {
    let written = match standing {
        Standing::Decided => good.save(&site.state, before),
        Standing::OnTrial | Standing::Kept => site.state.save(good),
    };
    // The same policy under another number is on disk already, for all that a start needs.
    let needed = standing != Standing::Kept && before.is_none_or(|before| before.desired != good.desired);
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

/// How long the kernel's side of a change took.
struct Took {
    /// Filling the maps.
    write: Duration,
    /// Until no packet met the image before it any more.
    grace: Duration,
}

/// What the counters and the cells of the peer matrix are called before a change.
struct Names {
    rows: Vec<RowRecord>,
    peers: PeerTable,
}

impl Names {
    /// Puts the compiled names and the image in the place of what there is.
    fn replace(&self, maps: &mut Maps, compiled: &Compiled) -> Result<Took, DatapathError> {
        let began = Instant::now();
        let written = maps
            .write_rows(&self.rows, compiled.rows.records())
            .and_then(|()| maps.write_peers(self.peers.records(), compiled.peers.records()))
            .and_then(|()| maps.fill(&compiled.image));
        let write = began.elapsed();
        let replaced = written.and_then(|filled| maps.put(filled));
        if replaced.is_err() {
            self.restore(maps, compiled);
        }
        replaced.map(|()| Took { write, grace: began.elapsed().saturating_sub(write) })
    }

    /// Gives rows and slots their old names back. What this change gave away stays given away: its counters may have moved.
    fn restore(&self, maps: &mut Maps, compiled: &Compiled) {
        let new = compiled.rows.records();
        let restored: Vec<RowRecord> = new
            .iter()
            .enumerate()
            .map(|(n, new)| match self.rows.get(n) {
                Some(old) if old.protocol != 0 => *old,
                _ => RowRecord { active: 0, ..*new },
            })
            .collect();
        if let Err(error) = maps.write_rows(new, &restored) {
            tracing::error!("the names of the counter rows could not be restored: {error}");
        }
        if let Err(error) = maps.restore_peers(self.peers.records()) {
            tracing::error!("whose the cells of the peer matrix are could not be restored: {error}");
        }
    }
}

fn live_generation(maps: &Maps) -> Result<Option<u64>, AgentError> {
    match maps.in_force_facts() {
        Ok(facts) => Ok(Some(facts.generation)),
        Err(DatapathError::NoPolicy) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
