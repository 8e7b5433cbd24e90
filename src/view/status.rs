//! What is in force, where, and whether it is all that should be: what `status -o json` prints and every exporter shows. It must not print.

use std::{path::Path, time::Duration};

use serde::Serialize;

use crate::{
    control::{
        self, AgentError, Blocks, Good, Health, Holder, InterfaceCoverage, Left, Refused, Repair, Talkers, Trial,
        TrialKind, holders,
    },
    peers::{PeerState, Registry, SourceName},
    view::{mission_control::Reached, open_tunnel::OpenTunnel, ports, push_health::PushHealth},
};

use nodewall_datapath::{DatapathError, ImageFacts, Maps, PinDir};
use nodewall_evidence::recorder::RecorderStatus;
use nodewall_host::{
    net::{self, Network},
    state::{Clock, Stamp, StateDir, StateError},
};
use nodewall_policy::{config::show, mode_in_words};
use nodewall_text::hex;

/// The live system at one time.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Status {
    /// `enforce` or `audit`; `null`: no policy is in force.
    pub mode: Option<&'static str>,
    /// Classes that only audit while the rest is enforced.
    pub audited: Vec<String>,
    /// Number of the policy image in force.
    pub generation: Option<u64>,
    /// Hash of what the image was made from, in hex.
    pub policy_sha256: Option<String>,
    /// Those that are wanted, filtered or ways in; the covered ones first.
    pub interfaces: Vec<InterfaceCoverage>,
    /// Peers of the image in force, prefixes counted as one.
    pub peers: u32,
    /// Sources that are dropped everywhere.
    pub blocks: Vec<Blocked>,
    /// What is on trial.
    pub trial: Option<OnTrial>,
    /// The change that was refused last, if none was accepted since.
    pub refused: Option<Refused>,
    /// What will change by itself, the soonest first.
    pub will_change: Vec<WillChange>,
    /// Peers that ceased to be such within the last hour, each in a sentence.
    pub left_peers: Vec<String>,
    /// Of those, the ones that had talked with this node within the hour before: they were cut off.
    pub cut_peers: u64,
    /// The file's mode as it was read last, where it is another than the one in force: an operator's word, or a trial.
    pub file_mode: Option<String>,
    /// `null`: no agent runs.
    pub agent: Option<Agent>,
    /// Repairs since the agent started last.
    pub repairs: u64,
    /// How the push to the vendor is doing; `null`: none is configured.
    pub push: Option<PushHealth>,
    /// How the recording of evidence is doing; `null`: it never was, or is off.
    pub evidence: Option<RecorderStatus>,
    /// What `doctor --mission-control` found last; `null`: it was never asked.
    pub mission_control: Option<Reached>,
    /// There are no problems.
    pub healthy: bool,
    /// The tunnels that anyone may send into, though the policy keeps them for peers.
    pub open_tunnels: Vec<OpenTunnel>,
    /// Why it is not healthy, each with what to do.
    pub problems: Vec<String>,
    /// Those of them that `interfaces` does not tell.
    #[serde(skip)]
    pub other_problems: Vec<String>,
}

/// Something that time alone will change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WillChange {
    /// `peer`, `block` or `trial`.
    pub what: &'static str,
    /// Whose, and what becomes of it.
    pub then: String,
    /// Until then.
    pub seconds_left: u64,
    /// A peer that talked with this node within the last hour: it will be cut off.
    pub talks: bool,
}

/// A source that is dropped everywhere.
#[derive(Clone, Debug, Serialize)]
pub struct Blocked {
    /// Address or prefix.
    pub source: String,
    /// `null`: until it is taken back.
    pub seconds_left: Option<u64>,
    /// In the operator's words.
    pub reason: Option<String>,
    /// Who blocked it.
    pub by: String,
}

/// A change that goes back by itself.
#[derive(Clone, Debug, Serialize)]
pub struct OnTrial {
    /// The command that began it.
    pub kind: TrialKind,
    /// Until it goes back.
    pub seconds_left: u64,
    /// The mode it goes back to.
    pub back_to_mode: String,
    /// Who began it.
    pub by: String,
    /// Who ends it when its time is over.
    pub held_by: Vec<Holder>,
}

impl Status {
    /// The mode for people: what of it audits is said with it.
    pub fn mode_in_words(&self) -> Option<String> {
        self.mode.map(|mode| mode_in_words(mode, &self.audited))
    }
}

impl OnTrial {
    /// Those who hold it, in a sentence.
    pub fn held_by(&self) -> String {
        let names: Vec<_> = self.held_by.iter().map(|holder| holder.name()).collect();
        if names.is_empty() { "nobody".into() } else { names.join(", ") }
    }
}

/// The running agent.
#[derive(Clone, Debug, Serialize)]
pub struct Agent {
    /// Its process id.
    pub pid: u32,
    /// That is one of another process namespace: it runs in a container, or this command does.
    pub elsewhere: bool,
    /// When it started, Unix time.
    pub started_unix_ns: u64,
    /// The last thing it set right.
    pub last_repair: Option<Repair>,
    /// Interfaces that appeared since it started.
    pub interfaces_reattached: u64,
    /// How long they stood open: the 99th percentile of the last thousand.
    pub reattach_gap_p99_ns: u64,
    /// The longest.
    pub reattach_gap_max_ns: u64,
}

/// How often what is wrong is looked at again while somebody is making a change, and how far apart.
const LOOKS: u32 = 50;
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// What is in force, with the network that it was seen in. `state`: the state directory, where there is one and it can be read.
///
/// A look takes several calls, between which a change may be made: what is wrong is told when nobody was making one.
pub async fn look(bpffs: &Path, state: Option<&StateDir>) -> Result<(Status, Network), AgentError> {
    let mut looks = 1;
    loop {
        let before = standstill(state);
        let network = net::snapshot().await?;
        let status = look_once(bpffs, state, &network)?;
        let is_settled = before.is_some() && before == standstill(state);
        if status.healthy || is_settled || looks == LOOKS {
            return Ok((status, network));
        }
        looks += 1;
        tokio::time::sleep(LOOK_AGAIN_AFTER).await;
    }
}

/// What tells one standstill from another; `None`: somebody is making a change.
fn standstill(state: Option<&StateDir>) -> Option<Vec<Option<Stamp>>> {
    let Some(state) = state else { return Some(Vec::new()) };
    (!state.is_changing()).then(|| control::stamps(state).into())
}

fn look_once(bpffs: &Path, state: Option<&StateDir>, network: &Network) -> Result<Status, AgentError> {
    let mut report = match Maps::live(bpffs)? {
        None => hidden(network, nothing_in_force()),
        Some((pins, maps)) => match maps.in_force_facts() {
            Ok(image) => {
                let open_tunnels = OpenTunnel::read(&maps, network)?;
                Status { open_tunnels, ..in_force((&pins, &maps), &image, state, network)? }
            }
            Err(DatapathError::NoPolicy) => nothing_in_force(),
            Err(error) => return Err(error.into()),
        },
    };
    if let Some(state) = state {
        add_state(&mut report, state);
    }
    let interfaces = report.interfaces.iter().filter_map(InterfaceCoverage::problem);
    let tunnels = report.open_tunnels.iter().map(OpenTunnel::problem);
    let unread = network.udp_tunnels_unread().filter(|_| report.mode.is_some()).map(|why| {
        format!("which UDP ports foo-over-UDP unpacks cannot be read: {why}; what it unpacks may go round the filter")
    });
    report.problems = interfaces.chain(tunnels).chain(unread).chain(report.other_problems.iter().cloned()).collect();
    report.healthy = report.problems.is_empty();
    Ok(report)
}

fn nothing_in_force() -> Status {
    Status {
        other_problems: vec!["no policy is in force; `nodewall apply` or `nodewall run` puts one into force".into()],
        ..Status::default()
    }
}

/// Nothing is pinned; what runs all the same is told.
fn hidden(network: &Network, mut status: Status) -> Status {
    for (link, xdp) in network.links().filter_map(|link| Some((link, link.xdp.as_ref()?))) {
        let error = DatapathError::occupied(&link.name, xdp.program_id);
        if matches!(error, DatapathError::Unpinned { .. }) {
            status.other_problems.push(error.to_string());
        }
    }
    status
}

fn in_force(
    (pins, maps): (&PinDir, &Maps),
    image: &ImageFacts,
    state: Option<&StateDir>,
    network: &Network,
) -> Result<Status, AgentError> {
    // A damaged file is told where the state is read; what runs is shown all the same.
    let good = state.and_then(|state| Good::last(state).ok().flatten());
    let interfaces = control::look(Some(pins), state, good.as_ref().map(|good| &good.desired), network)?;
    let policy_sha256 = hex(&image.policy_sha256);
    // The image tells it, too; copying that takes a millisecond.
    let audited = match good.filter(|good| good.policy_sha256 == policy_sha256) {
        Some(good) => good.desired.policy.audited().into_iter().map(str::to_owned).collect(),
        None => ports::audited(maps)?,
    };
    let mut other_problems = Vec::new();
    if !interfaces.iter().any(InterfaceCoverage::is_covered) {
        other_problems.push("no interface is filtered; `nodewall apply` attaches".into());
    }
    Ok(Status {
        mode: Some(if image.enforce { "enforce" } else { "audit" }),
        generation: Some(image.generation),
        audited,
        policy_sha256: Some(policy_sha256),
        interfaces,
        peers: image.peers,
        other_problems,
        ..Status::default()
    })
}

/// Peers that leave, blocks and trials that end.
fn add_changes(report: &mut Status, state: &StateDir, now: &Clock) {
    let registry = readable(Registry::load(state), report);
    let talkers = Talkers::before(state, now);
    let mut changes: Vec<WillChange> = Vec::new();
    for entry in registry.entries(now).into_iter().filter(|entry| entry.state.counts()) {
        let Some(left) = entry.left else { continue };
        // It stays a peer as long as a source knows it besides.
        if entry.state == PeerState::Active && entry.sources.iter().any(|source| *source != SourceName::operator()) {
            continue;
        }
        let then = format!("peer {} is none any more", show(&entry.prefix));
        changes.push(WillChange {
            what: "peer",
            then,
            seconds_left: left.as_secs(),
            talks: talkers.talk(&entry.prefix),
        });
    }
    for block in &report.blocks {
        let Some(seconds_left) = block.seconds_left else { continue };
        let then = format!("{} is no longer blocked", block.source);
        changes.push(WillChange { what: "block", then, seconds_left, talks: false });
    }
    if let Some(trial) = &report.trial {
        let then = format!("{} ends, mode {} again", trial.kind.command(), trial.back_to_mode);
        changes.push(WillChange { what: "trial", then, seconds_left: trial.seconds_left, talks: false });
    }
    changes.sort_by_key(|change| change.seconds_left);
    report.will_change = changes;
    let left = state.read_note::<Left>().unwrap_or_default();
    report.left_peers = left.lately(now).map(ToString::to_string).collect();
    report.cut_peers = left.lately(now).filter(|left| left.talked).count() as u64;
}

/// No agent: what was in force stays, and follows nothing.
pub const NO_AGENT: &str = "no agent runs: the policy stays, and what it follows is frozen: own addresses, learnt peers and when they end, blocks' ends, interfaces that \
     appear, repairs, evidence; start the service, or `nodewall run`";

/// What the state directory tells besides.
fn add_state(report: &mut Status, state: &StateDir) {
    let now = Clock::now();
    let blocks = readable(Blocks::load(state), report);
    report.blocks = blocks
        .current(&now)
        .map(|block| Blocked {
            source: show(&block.prefix),
            seconds_left: block.until.as_ref().map(|until| until.left(&now).as_secs()),
            reason: block.reason.clone(),
            by: block.who.to_string(),
        })
        .collect();
    if let Some(trial) = readable(state.load::<Trial>(), report) {
        if trial.kind == TrialKind::PanicOpen {
            report.other_problems.push("the node is open: nothing is dropped, blocks are lifted (panic-open)".into());
        }
        let on_trial = OnTrial {
            kind: trial.kind,
            seconds_left: trial.deadline.left(&now).as_secs(),
            back_to_mode: trial.back_to.desired.policy.mode.to_string(),
            by: trial.who.to_string(),
            held_by: holders(state, &trial),
        };
        if trial.is_over(&now) {
            report.other_problems.push(format!(
                "{} should have ended, and is held by {}; `nodewall rollback` ends it",
                trial.kind.command(),
                on_trial.held_by()
            ));
        }
        report.trial = Some(on_trial);
    }
    add_changes(report, state, &now);
    if let Some(good) = readable(Good::last(state), report).filter(|_| report.mode.is_some()) {
        let file_mode = good.desired.configured_mode.as_str();
        report.file_mode = report.mode.filter(|mode| *mode != file_mode).map(|_| file_mode.to_owned());
        if report.policy_sha256.as_ref().is_some_and(|kernel| *kernel != good.policy_sha256) {
            report.other_problems.push(
                "the kernel has another policy than the disk, which a boot would bring back; `nodewall apply` makes them one".into(),
            );
        }
    }
    report.refused = state.read_note::<Refused>();
    if let Some(refused) = report.refused.as_ref().filter(|refused| refused.unattended) {
        report.other_problems.push(format!("{} was refused: {}", refused.attempt, refused.error));
    }
    report.mission_control = state.read_note::<Reached>();
    let health = state.read_note::<Health>().unwrap_or_default();
    report.repairs = health.repairs;
    report.agent = state.agent().map(|agent| {
        report.other_problems.extend(health.alarms.iter().cloned());
        report.push = state.read_note::<PushHealth>().filter(|_| health.pushes);
        report.evidence = state.read_note::<RecorderStatus>().filter(|_| health.records);
        report.other_problems.extend(report.push.as_ref().and_then(PushHealth::alarm));
        let outputs = report.evidence.iter().flat_map(|evidence| &evidence.outputs);
        report.other_problems.extend(outputs.filter_map(|output| output.problem(&now)));
        Agent {
            pid: agent.pid(),
            elsewhere: agent.is_elsewhere(),
            started_unix_ns: health.started_unix_ns,
            interfaces_reattached: health.gaps.count,
            reattach_gap_p99_ns: health.gaps.p99_ns(),
            reattach_gap_max_ns: health.gaps.max_ns,
            last_repair: health.last_repair,
        }
    });
    if report.agent.is_none() && report.mode.is_some() {
        report.other_problems.push(NO_AGENT.into());
    }
}

/// What can not be read is a problem to show, not a reason to show nothing.
fn readable<T: Default>(read: Result<T, StateError>, report: &mut Status) -> T {
    read.unwrap_or_else(|error| {
        report.other_problems.push(error.to_string());
        T::default()
    })
}
