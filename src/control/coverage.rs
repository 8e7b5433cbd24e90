//! Coverage: which interfaces carry the program. What is wanted (the configuration and the network) is compared with what the kernel says, interface by
//! interface, and the difference is made. What one interface refuses is that interface's alone: the others are covered, and no policy waits for it.

mod account;
mod remembered;
mod retries;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use self::account::{can_overlap, live_mode};
pub use self::{
    account::{CoverageState, InterfaceCoverage},
    remembered::Remembered,
};
pub(crate) use self::{
    account::{History, account},
    retries::Retries,
};
use super::{change::Site, error::AgentError, state_files::note, surroundings::select};
use crate::control::Desired;
use nodewall_datapath::{self as datapath, Attached, DatapathError, Hook, Layer, Link, Loaded, Mode, PinDir, Target};
use nodewall_host::{
    net::{self, Network, Selection},
    state::{PolicyLock, StateDir},
};
use nodewall_policy::config::AttachMode;

/// What was done to an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachAction {
    /// It was open until now.
    Attached,
    /// Its program was replaced by this one, without a gap.
    Replaced,
    /// It is covered as it was.
    Kept,
}

/// Which interfaces carry the program.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    /// As the kernel shows them.
    pub interfaces: Vec<InterfaceCoverage>,
    /// What was done to those that are covered, by index.
    pub actions: BTreeMap<u32, AttachAction>,
    /// Interfaces that were let go just now, for nobody asks for them any more.
    pub released: Vec<String>,
    /// What is wrong beside single interfaces.
    pub problems: Vec<String>,
    /// How long those stood open that were attached, since the change was noticed.
    pub(crate) gaps: Vec<(String, Duration)>,
    /// Interfaces, by index, that kept their program and lacked the outbound counter, which is there again.
    pub(crate) recounted: BTreeSet<u32>,
}

impl Coverage {
    /// The covered ones.
    pub fn covered(&self) -> impl Iterator<Item = &InterfaceCoverage> {
        self.interfaces.iter().filter(|interface| interface.is_covered())
    }

    /// What was done to the covered ones, by their names.
    pub fn done(&self) -> impl Iterator<Item = (&str, AttachAction)> {
        self.covered().map(|interface| {
            let action = interface.if_index.and_then(|index| self.actions.get(&index));
            (interface.name.as_str(), action.copied().unwrap_or(AttachAction::Kept))
        })
    }

    /// All that is not as it should be.
    pub(crate) fn alarms(&self) -> Vec<String> {
        self.interface_alarms().into_iter().chain(self.problems.iter().cloned()).collect()
    }

    /// What of it single interfaces lack.
    pub(crate) fn interface_alarms(&self) -> Vec<String> {
        self.interfaces.iter().filter_map(InterfaceCoverage::problem).collect()
    }

    /// Whether links have changed.
    pub(crate) fn changed(&self) -> bool {
        !self.recounted.is_empty()
            || !self.released.is_empty()
            || self.actions.values().any(|action| *action != AttachAction::Kept)
    }
}

/// The account of every interface as of now, for who changes nothing. `desired`: what is in force, or would be.
pub fn look(
    pins: Option<&PinDir>,
    state: Option<&StateDir>,
    desired: Option<&Desired>,
    network: &Network,
) -> Result<Vec<InterfaceCoverage>, AgentError> {
    let remembered = state.map(Remembered::load).transpose()?.unwrap_or_default();
    let selection = desired.map(|desired| select(desired, network, &remembered.0).unwrap_or_default());
    let mut interfaces = account(network, pins, desired.zip(selection.as_ref()))?;
    if let Some(history) = state.and_then(StateDir::read_note::<History>) {
        history.tell(&mut interfaces);
    }
    Ok(interfaces)
}

/// What is done with interfaces that carry a program of ours already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// They get this one.
    Exchange,
    /// They keep it.
    Keep,
}

/// Makes the coverage that `desired` wants. `since`: when the change that this follows was noticed.
///
/// # Errors
/// Where it can not be told what there is. What one interface refuses is no error.
pub(crate) async fn cover(
    site: &Site,
    _lock: &PolicyLock,
    desired: &Desired,
    loaded: &mut Loaded,
    (program, retries, since): (Program, &mut Retries, Instant),
) -> Result<Coverage, AgentError> {
    let mut network = net::snapshot().await?;
    let remembered = Remembered::load(&site.state)?;
    let mut coverage = Coverage::default();
    let selection = select(desired, &network, &remembered.0).unwrap_or_else(|error| {
        coverage.problems.push(error.to_string());
        Selection::default()
    });
    let pins = PinDir::create(&site.bpffs)?;
    datapath::forget_dead(&pins, |index| network.by_index(index).is_some())?;
    let mut work = Work {
        // Where they can not be read, attaching says why. Filtering does not wait for it.
        counted: datapath::outlets(&pins).unwrap_or_default().iter().map(|outlet| outlet.if_index).collect(),
        links: datapath::links(&pins)?,
        state: &site.state,
        pins: &pins,
        network: &network,
        loaded,
        program,
        answers: BTreeMap::new(),
    };
    for selected in &selection.attach {
        let Some(target) = network.by_index(selected.index).map(target_of) else { continue };
        if retries.is_waiting(target.if_index, Instant::now()) {
            continue;
        }
        match work.cover(&target, desired.attach_mode_of(&target.name)) {
            Ok(action) => {
                retries.covered(target.if_index);
                if action == AttachAction::Kept
                    && !work.answers.contains_key(&target.if_index)
                    && !work.counted.contains(&target.if_index)
                {
                    coverage.recounted.insert(target.if_index);
                }
                if action == AttachAction::Attached {
                    coverage.gaps.push((target.name.clone(), since.elapsed()));
                }
                coverage.actions.insert(target.if_index, action);
            }
            Err(error) => {
                retries.failed(target.if_index, Instant::now());
                work.answers.insert(target.if_index, error.to_string());
            }
        }
    }
    let wanted: BTreeSet<u32> = selection.attach.iter().map(|selected| selected.index).collect();
    let mut kept = Vec::new();
    if !wanted.is_empty() {
        kept = work.release_others(&wanted, &remembered.0, &mut coverage);
        if !coverage.released.is_empty() {
            note(&site.state, "release", &coverage.released.join(", "), None);
        }
    }
    let answers = work.answers;
    if coverage.changed() {
        network = net::snapshot().await?;
    }
    coverage.interfaces = account(&network, Some(&pins), Some((desired, &selection)))?;
    History::note(&site.state, &mut coverage.interfaces, &answers, retries);
    let names = selection.attach.into_iter().map(|selected| selected.name).chain(selection.missing);
    Remembered(names.chain(kept).collect()).save(&site.state, &remembered);
    Ok(coverage)
}

/// One reconciliation.
struct Work<'a> {
    state: &'a StateDir,
    pins: &'a PinDir,
    network: &'a Network,
    loaded: &'a mut Loaded,
    program: Program,
    /// Our links.
    links: Vec<Link>,
    /// Interfaces whose outbound traffic is counted.
    counted: BTreeSet<u32>,
    /// What interfaces refused, by index.
    answers: BTreeMap<u32, String>,
}

impl Work<'_> {
    fn cover(&mut self, target: &Target, mode: AttachMode) -> Result<AttachAction, DatapathError> {
        let action = self.cover_inbound(target, mode)?;
        // Filtering does not depend on it.
        if (action != AttachAction::Kept || !self.counted.contains(&target.if_index))
            && let Err(error) = datapath::attach_egress(self.loaded, self.pins, target, None)
        {
            self.answers.insert(target.if_index, format!("what it sends is not counted: {error}"));
        }
        Ok(action)
    }

    fn cover_inbound(&mut self, target: &Target, mode: AttachMode) -> Result<AttachAction, DatapathError> {
        let link = self.network.by_index(target.if_index);
        let ours: Vec<&Link> = self.links.iter().filter(|ours| ours.if_index == target.if_index).collect();
        // Adopted only where the kernel shows that very program on that interface.
        let live: Vec<AttachMode> = ours.iter().filter_map(|ours| live_mode(link?, ours)).collect();
        let xdp = link.and_then(|link| link.xdp.as_ref());
        let foreign = xdp.filter(|xdp| ours.iter().all(|ours| ours.program_id != xdp.program_id));
        if let Some(xdp) = foreign.filter(|_| mode != AttachMode::Tc) {
            return Err(DatapathError::occupied(&target.name, xdp.program_id));
        }
        // The link went to another namespace with its device, or somebody detached it: it covers nothing here.
        if xdp.is_none() && ours.iter().any(|ours| ours.hook == Hook::Xdp) {
            datapath::detach_other(self.pins, target, Mode::Tc)?;
        }
        match live.first() {
            _ if live.contains(&mode) => {
                if live.len() > 1 {
                    // A change of the mode that did not come to its end.
                    datapath::detach_other(self.pins, target, hook(mode))?;
                }
                if self.program == Program::Keep {
                    return Ok(AttachAction::Kept);
                }
            }
            // What the operator's own command or a start asks for. By itself nothing changes a mode.
            Some(_) if self.program == Program::Keep => return Ok(AttachAction::Kept),
            Some(live) => {
                self.change_mode(target, *live, mode)?;
                return Ok(AttachAction::Replaced);
            }
            None => {}
        }
        Ok(match self.attach(target, hook(mode))? {
            Attached::New => AttachAction::Attached,
            Attached::Replaced => AttachAction::Replaced,
        })
    }

    fn change_mode(&mut self, target: &Target, live: AttachMode, mode: AttachMode) -> Result<(), DatapathError> {
        let name = &target.name;
        let (change, changed) = if can_overlap(live, mode) {
            self.attach(target, hook(mode))?;
            let began = Instant::now();
            datapath::detach_other(self.pins, target, hook(mode))?;
            let both = began.elapsed().as_secs_f64() * 1e3;
            let change = format!(
                "{name} went from {live} to {mode} mode; it was filtered all the time, for {both:.1} ms in both, and what passed then is counted twice"
            );
            (change, Ok(()))
        } else {
            self.change_xdp_mode(target, live, mode)?
        };
        tracing::warn!("{change}");
        note(self.state, "attach", &change, None);
        changed
    }

    /// The kernel runs no XDP program by two modes of one interface: ours is let go first, for a moment that is open, and put back where the new mode is refused.
    /// Returns what is to be told, and the refusal.
    fn change_xdp_mode(
        &mut self,
        target: &Target,
        live: AttachMode,
        mode: AttachMode,
    ) -> Result<(String, Result<(), DatapathError>), DatapathError> {
        let began = Instant::now();
        datapath::detach(self.pins, target)?;
        let attached = self.attach(target, hook(mode));
        if attached.is_err() {
            self.attach(target, hook(live))?;
        }
        let stood_open = began.elapsed().as_secs_f64() * 1e3;
        let name = &target.name;
        let change = match &attached {
            Ok(_) => format!("{name} went from {live} to {mode} mode; it stood open for {stood_open:.1} ms"),
            Err(_) => format!(
                "{name} refused the {mode} mode and is filtered in the {live} one again; it stood open for {stood_open:.1} ms"
            ),
        };
        Ok((change, attached.map(drop)))
    }

    /// A bond takes no XDP program while a slave carries one: ours is let go first, for a moment that is open, and put back where the bond refuses.
    fn attach(&mut self, target: &Target, mode: Mode) -> Result<Attached, DatapathError> {
        let is_bond = self.network.by_index(target.if_index).is_some_and(|link| link.kind == "bond");
        let carries_ours = |port: &&net::Link| self.links.iter().any(|link| link.if_index == port.index);
        let slaves: Vec<Target> =
            self.network.ports_of(target.if_index).filter(|_| is_bond).filter(carries_ours).map(target_of).collect();
        let before = if mode == Mode::Tc { &[][..] } else { &slaves };
        for slave in before {
            datapath::detach(self.pins, slave)?;
        }
        let attached = datapath::attach(self.loaded, self.pins, target, mode);
        for slave in &slaves {
            // The bond counts what leaves by its slaves.
            let settled = match &attached {
                Ok(_) => datapath::detach(self.pins, slave)
                    .and_then(|_| datapath::detach_egress(self.pins, slave.if_index))
                    .map(drop),
                Err(_) if before.is_empty() => Ok(()),
                Err(_) => datapath::attach(self.loaded, self.pins, slave, mode).map(drop),
            };
            if let Err(error) = settled {
                tracing::error!("{error}");
            } else if attached.is_ok() {
                self.links.retain(|link| link.if_index != slave.if_index);
            }
        }
        attached
    }

    /// Lets go of interfaces that were asked for by their names and are not any more; one that was renamed stays filtered. Returns those that could not be let
    /// go.
    fn release_others(&self, wanted: &BTreeSet<u32>, remembered: &[String], coverage: &mut Coverage) -> Vec<String> {
        let mut kept = Vec::new();
        let ours: BTreeSet<u32> = self.links.iter().map(|link| link.if_index).collect();
        for &if_index in ours.difference(wanted) {
            let Some(link) = self.network.by_index(if_index).filter(|link| remembered.contains(&link.name)) else {
                continue;
            };
            let target = target_of(link);
            match datapath::detach(self.pins, &target).and_then(|_| datapath::detach_egress(self.pins, if_index)) {
                Ok(_) => coverage.released.push(target.name),
                Err(error) => {
                    coverage.problems.push(format!("{}: it can not be released: {error}", target.name));
                    kept.push(target.name);
                }
            }
        }
        kept
    }
}

fn target_of(link: &net::Link) -> Target {
    let layer = if link.layer_3() { Layer::Ip } else { Layer::Ethernet };
    Target { name: link.name.clone(), if_index: link.index, layer }
}

const fn hook(mode: AttachMode) -> Mode {
    match mode {
        AttachMode::Native => Mode::Native,
        AttachMode::Tc => Mode::Tc,
        AttachMode::Generic => Mode::Generic,
    }
}
