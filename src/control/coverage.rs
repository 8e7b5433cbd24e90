//! Coverage: which interfaces carry the program. What is wanted (the configuration and the network) is compared with what the kernel says, interface by
//! interface, and the difference is made. What one interface refuses is that interface's alone: the others are covered, and no policy waits for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{
    change::Site,
    error::AgentError,
    state_files::{note, readable},
    surroundings::select,
};
use crate::control::{Desired, Good};
use nodewall_datapath::{self as datapath, Attached, DatapathError, Loaded, Mode, PinDir, Target};
use nodewall_host::{
    net::{self, Network, Uncovered},
    state::{PolicyLock, StateDir, Stored},
};
use nodewall_policy::config::AttachMode;

/// Wait before an interface that could not be covered is tried again, at first and at most. A change of the network tries at once.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

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

/// An interface that is filtered now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoveredInterface {
    /// Name.
    pub name: String,
    /// Index.
    pub if_index: u32,
    /// What was done.
    pub outcome: AttachAction,
    /// Why what leaves there is not counted; `None`: it is. Filtering does not depend on it.
    pub uncounted: Option<String>,
}

/// An interface that should be filtered, and is not, or not as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailingInterface {
    /// Name.
    pub name: String,
    /// Index.
    pub if_index: u32,
    /// Why, with the interface's name and what helps.
    pub reason: String,
}

/// Which interfaces carry the program.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    /// Filtered interfaces.
    pub interfaces: Vec<CoveredInterface>,
    /// Interfaces that could not be covered.
    pub failing: Vec<FailingInterface>,
    /// Interfaces that are configured and not there; attached when they appear.
    pub missing: Vec<String>,
    /// Interfaces that were let go, for nobody asks for them any more.
    pub released: Vec<String>,
    /// Addressed Ethernet interfaces that nothing covers.
    pub uncovered: Vec<Uncovered>,
    /// How long those stood open that were attached, since the change was noticed.
    pub(crate) gaps: Vec<(String, Duration)>,
    /// What leaves by an interface is counted again.
    pub(crate) recounted: bool,
    /// What is wrong beside single interfaces.
    pub(crate) problems: Vec<String>,
}

impl Coverage {
    /// All that is not as it should be.
    pub(crate) fn alarms(&self) -> Vec<String> {
        self.failing.iter().map(|interface| interface.reason.clone()).chain(self.problems()).collect()
    }

    /// What is wrong beside single interfaces, and what keeps outbound traffic from being counted.
    pub fn problems(&self) -> Vec<String> {
        let uncounted = self.interfaces.iter().filter_map(|interface| interface.uncounted.clone());
        self.problems.iter().cloned().chain(uncounted).collect()
    }

    /// Whether links have changed.
    pub(crate) fn changed(&self) -> bool {
        let touched = self.interfaces.iter().any(|interface| interface.outcome != AttachAction::Kept);
        self.recounted || touched || !self.released.is_empty()
    }

    /// Whether everything that is wanted is covered.
    pub fn is_whole(&self) -> bool {
        self.failing.is_empty() && self.missing.is_empty() && self.problems.is_empty()
    }
}

/// The interfaces that were covered or waited for. At a boot nothing is addressed yet, and where none are configured these are attached.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Remembered(pub Vec<String>);

impl Stored for Remembered {
    const FILE: &'static str = "interfaces.state";
}

impl Remembered {
    /// Those of the last time. An older version wrote them beside the last good policy.
    pub fn load(state: &StateDir) -> Result<Self, AgentError> {
        if let Some(remembered) = readable(state.load::<Self>())? {
            return Ok(remembered);
        }
        let good = Good::last(state).ok().flatten();
        Ok(Self(good.map(|good| good.attached).unwrap_or_default()))
    }

    /// A full disk must not keep an interface open.
    fn save(self, state: &StateDir, before: &Self) {
        if self != *before
            && let Err(error) = state.save(&self)
        {
            tracing::error!("{error}; a start from this disk would not know which interfaces were attached");
        }
    }
}

/// When the interfaces that could not be covered are tried again.
#[derive(Debug, Default)]
pub(crate) struct Retries(BTreeMap<u32, Retry>);

#[derive(Debug)]
struct Retry {
    at: Instant,
    wait: Duration,
    reason: String,
}

impl Retries {
    /// Why it is not tried yet.
    fn pending(&self, if_index: u32, now: Instant) -> Option<&str> {
        self.0.get(&if_index).filter(|retry| now < retry.at).map(|retry| retry.reason.as_str())
    }

    fn failed(&mut self, if_index: u32, reason: &str, now: Instant) {
        let wait = self.0.get(&if_index).map_or(RETRY, |retry| (retry.wait * 2).min(RETRY_MAX));
        self.0.insert(if_index, Retry { at: now + wait, wait, reason: reason.to_owned() });
    }

    /// All are tried at the next look.
    pub(crate) fn forget(&mut self) {
        self.0.clear();
    }
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
    let network = net::snapshot().await?;
    let remembered = Remembered::load(&site.state)?;
    let mut coverage = Coverage::default();
    let selection = select(desired, &network, &remembered.0).unwrap_or_else(|error| {
        coverage.problems.push(error.to_string());
        net::Selection::default()
    });
    let pins = PinDir::create(&site.bpffs)?;
    datapath::forget_dead(&pins, |index| network.by_index(index).is_some())?;
    let mut work = Work {
        mode: desired.attach_mode,
        // Where they can not be read, attaching says why. Filtering does not wait for it.
        counted: datapath::outlets(&pins).unwrap_or_default().iter().map(|outlet| outlet.if_index).collect(),
        links: datapath::links(&pins)?.iter().map(|link| (link.if_index, link.program_id)).collect(),
        pins: &pins,
        network: &network,
        loaded,
        program,
    };
    let now = Instant::now();
    for selected in &selection.attach {
        let target = Target { name: selected.name.clone(), if_index: selected.index };
        if let Some(reason) = retries.pending(target.if_index, now) {
            coverage.fail(&target, reason.to_owned());
            continue;
        }
        match work.cover(&target) {
            Ok(covered) => {
                retries.0.remove(&target.if_index);
                coverage.recounted |= covered.outcome == AttachAction::Kept
                    && covered.uncounted.is_none()
                    && !work.counted.contains(&target.if_index);
                if covered.outcome == AttachAction::Attached {
                    coverage.gaps.push((target.name.clone(), since.elapsed()));
                }
                coverage.problems.extend(work.other_mode(&target));
                coverage.interfaces.push(covered);
            }
            Err(error) => {
                retries.failed(target.if_index, &error.to_string(), now);
                coverage.fail(&target, error.to_string());
            }
        }
    }
    coverage.problems.extend(selection.refused.iter().map(|refused| format!("{}: {}", refused.name, refused.why)));
    coverage.missing = selection.missing;
    let wanted: BTreeSet<u32> = selection.attach.iter().map(|selected| selected.index).collect();
    let mut kept = Vec::new();
    if !wanted.is_empty() {
        kept = work.release_others(&wanted, &remembered.0, &mut coverage);
        if !coverage.released.is_empty() {
            note(&site.state, "release", &coverage.released.join(", "), None);
        }
    }
    let covered = coverage.interfaces.iter().map(|interface| interface.if_index).collect();
    coverage.uncovered = net::uncovered(&network, &covered);
    let names = selection.attach.into_iter().map(|selected| selected.name).chain(coverage.missing.iter().cloned());
    Remembered(names.chain(kept).collect()).save(&site.state, &remembered);
    Ok(coverage)
}

impl Coverage {
    fn fail(&mut self, target: &Target, reason: String) {
        self.failing.push(FailingInterface { name: target.name.clone(), if_index: target.if_index, reason });
    }
}

/// Names of the interfaces that carry a program of ours right now.
pub async fn filtered_interfaces(site: &Site) -> Result<Vec<String>, AgentError> {
    let Some(pins) = PinDir::open(&site.bpffs)? else { return Ok(Vec::new()) };
    let network = net::snapshot().await?;
    let links = datapath::links(&pins)?;
    Ok(links.iter().filter_map(|link| network.by_index(link.if_index).map(|link| link.name.clone())).collect())
}

/// One reconciliation.
struct Work<'a> {
    mode: AttachMode,
    pins: &'a PinDir,
    network: &'a Network,
    loaded: &'a mut Loaded,
    program: Program,
    /// Program ids of our links, by interface index.
    links: BTreeMap<u32, u32>,
    /// Interfaces whose outbound traffic is counted.
    counted: BTreeSet<u32>,
}

impl Work<'_> {
    fn cover(&mut self, target: &Target) -> Result<CoveredInterface, DatapathError> {
        let ours = self.links.get(&target.if_index).copied();
        let running =
            self.network.by_index(target.if_index).and_then(|link| link.xdp.as_ref()).map(|xdp| xdp.program_id);
        let outcome = match (ours, running) {
            // Adopted only where the kernel shows that very program on that interface.
            (Some(ours), Some(running)) if ours == running && self.program == Program::Keep => AttachAction::Kept,
            (Some(_) | None, Some(running)) if ours != Some(running) => {
                return Err(DatapathError::Occupied { interface: target.name.clone(), program_id: running });
            }
            (ours, _) => {
                if ours.is_some() && running.is_none() {
                    // The link went to another namespace with its device, or somebody detached it: it covers nothing here.
                    datapath::detach(self.pins, target)?;
                }
                match datapath::attach(self.loaded, self.pins, target, mode(self.mode))? {
                    Attached::New => AttachAction::Attached,
                    Attached::Replaced => AttachAction::Replaced,
                }
            }
        };
        let uncounted = if outcome == AttachAction::Kept && self.counted.contains(&target.if_index) {
            None
        } else {
            let refused = datapath::attach_egress(self.loaded, self.pins, target, None).err();
            refused.map(|error| format!("{}: what it sends is not counted: {error}", target.name))
        };
        Ok(CoveredInterface { name: target.name.clone(), if_index: target.if_index, outcome, uncounted })
    }

    /// Why it is covered in another mode than the configured one: nodewall does not open an interface in passing.
    fn other_mode(&self, target: &Target) -> Option<String> {
        let xdp = self.network.by_index(target.if_index)?.xdp.as_ref()?;
        (xdp.mode != self.mode).then(|| {
            AgentError::ModeChange {
                interface: target.name.clone(),
                live: xdp.mode.as_str(),
                wanted: self.mode.as_str(),
            }
            .to_string()
        })
    }

    /// Lets go of interfaces that were asked for by their names and are not any more; one that was renamed stays filtered. Returns those that could not be let
    /// go.
    fn release_others(&self, wanted: &BTreeSet<u32>, remembered: &[String], coverage: &mut Coverage) -> Vec<String> {
        let mut kept = Vec::new();
        for &if_index in self.links.keys().filter(|index| !wanted.contains(index)) {
            let Some(link) = self.network.by_index(if_index).filter(|link| remembered.contains(&link.name)) else {
                continue;
            };
            let target = Target { name: link.name.clone(), if_index };
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

const fn mode(mode: AttachMode) -> Mode {
    match mode {
        AttachMode::Native => Mode::Native,
        AttachMode::Generic => Mode::Generic,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodewall_policy::{
        Policy,
        config::{Config, Mode},
    };

    /// The last good policy as an older version wrote it.
    #[derive(Debug, Serialize, Deserialize)]
    #[serde(transparent)]
    struct OldGood(serde_json::Value);

    impl Stored for OldGood {
        const FILE: &'static str = Good::FILE;
    }

    #[test]
    fn the_interfaces_that_an_older_version_wrote_down_are_known() {
        let parent = tempfile::tempdir().unwrap();
        let state = StateDir::create(&parent.path().join("state")).unwrap();
        assert_eq!(Remembered::load(&state).unwrap(), Remembered::default());
        let desired = Desired {
            policy: Policy::from_config(&Config::embedded()).unwrap(),
            configured_mode: Mode::Audit,
            interfaces: Vec::new(),
            attach_mode: AttachMode::Native,
            allow_lockout: false,
        };
        let good = Good {
            generation: 3,
            policy_sha256: "00".into(),
            since_unix_ns: 7,
            decided_unix_ns: 7,
            attached: Vec::new(),
            desired,
        };
        let mut old = serde_json::to_value(&good).unwrap();
        old["attached"] = serde_json::json!(["eth0", "bond0"]);
        state.save(&OldGood(old)).unwrap();
        assert_eq!(Good::last(&state).unwrap().unwrap().generation, 3);
        let known = Remembered(vec!["eth0".into(), "bond0".into()]);
        assert_eq!(Remembered::load(&state).unwrap(), known);
        Remembered(vec!["eth1".into()]).save(&state, &known);
        assert_eq!(Remembered::load(&state).unwrap(), Remembered(vec!["eth1".into()]));
    }

    #[test]
    fn an_interface_that_refuses_is_tried_less_and_less_often() {
        let (mut retries, start) = (Retries::default(), Instant::now());
        let mut now = start;
        for wait_s in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(retries.pending(7, now), None);
            retries.failed(7, "no queues", now);
            let wait = Duration::from_secs(wait_s);
            assert_eq!(retries.pending(7, now + wait.mul_f32(0.99)), Some("no queues"), "{wait_s}");
            now += wait;
        }
        assert_eq!(retries.pending(8, start), None);
        retries.forget();
        assert_eq!(retries.pending(7, start), None);
    }
}
