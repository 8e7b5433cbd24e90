//! `nodewall status`: what is in force, where, and whether it is all that should be.

use std::collections::BTreeSet;

use node_ebpf_common::PolicyImage;
use serde::Serialize;

use super::{DEGRADED, FINE, Failure, block_on};
use crate::{
    cli::{Common, Format},
    config::show,
    datapath::{self, DatapathError, Maps, PinDir},
    net::{self, Network, XdpMode},
    policy::hex,
    state::{Clock, Refused, Repair, StateDir, StateError, TrialKind},
    ui,
};

#[derive(Serialize)]
pub(super) struct Report {
    /// `null`: no policy is in force.
    pub(super) mode: Option<&'static str>,
    pub(super) generation: Option<u64>,
    pub(super) policy_sha256: Option<String>,
    pub(super) interfaces: Vec<Interface>,
    pub(super) peers: u32,
    /// Sources that are dropped everywhere.
    blocks: Vec<Blocked>,
    /// What is on trial.
    trial: Option<OnTrial>,
    /// The change that was refused last, if none was accepted since.
    pub(super) refused: Option<Refused>,
    /// `null`: no agent runs.
    pub(super) agent: Option<Agent>,
    /// Repairs since the agent started last.
    repairs: u64,
    healthy: bool,
    /// Why it is not healthy, each with what to do.
    pub(super) problems: Vec<String>,
}

#[derive(Serialize)]
pub(super) struct Blocked {
    source: String,
    /// `null`: until it is taken back.
    seconds_left: Option<u64>,
    reason: Option<String>,
    by: String,
}

#[derive(Serialize)]
pub(super) struct OnTrial {
    kind: TrialKind,
    seconds_left: u64,
    back_to_mode: String,
    by: String,
}

#[derive(Serialize)]
pub(super) struct Agent {
    pub(super) pid: u32,
    last_repair: Option<Repair>,
    /// Interfaces that appeared since it started, and how long they stood open.
    interfaces_reattached: u64,
    reattach_gap_p99_ns: u64,
    reattach_gap_max_ns: u64,
}

#[derive(Serialize)]
pub(super) struct Interface {
    pub(super) name: String,
    pub(super) attach_mode: &'static str,
    pub(super) program_id: u32,
}

pub(super) fn run(common: &Common) -> Result<u8, Failure> {
    let network = block_on(net::snapshot())??;
    let mut report = look(common, &network)?;
    if let Some(state) = StateDir::open(&common.state_dir)? {
        add_state(&mut report, &state);
    }
    match common.output {
        Format::Table => print_table(&report)?,
        Format::Json => ui::print_json(&report)?,
        Format::Jsonl => ui::print_jsonl([&report])?,
    }
    Ok(if report.healthy { FINE } else { DEGRADED })
}

/// What is in force on the interfaces of `network`, without what the state directory tells.
pub(super) fn look(common: &Common, network: &Network) -> Result<Report, DatapathError> {
    let Some((pins, maps)) = Maps::live(&common.bpffs)? else { return Ok(nothing_in_force()) };
    match maps.policy() {
        Ok(image) => report(&pins, &image, network),
        Err(DatapathError::NoPolicy) => Ok(nothing_in_force()),
        Err(error) => Err(error),
    }
}

fn nothing_in_force() -> Report {
    Report {
        mode: None,
        generation: None,
        policy_sha256: None,
        interfaces: Vec::new(),
        peers: 0,
        blocks: Vec::new(),
        trial: None,
        refused: None,
        agent: None,
        repairs: 0,
        healthy: false,
        problems: vec!["no policy is in force; `nodewall apply` or `nodewall run` puts one into force".into()],
    }
}

fn report(pins: &PinDir, image: &PolicyImage, network: &Network) -> Result<Report, DatapathError> {
    let (mut interfaces, mut problems, mut attached) = (Vec::new(), Vec::new(), BTreeSet::new());
    for pinned in datapath::links(pins)? {
        let Some(link) = network.by_index(pinned.if_index) else {
            problems.push(format!(
                "{}: its interface is gone; `nodewall apply` attaches it anew when it is back",
                pinned.pin.display()
            ));
            continue;
        };
        match &link.xdp {
            Some(xdp) if xdp.program_id == pinned.program_id => {
                attached.insert(link.index);
                interfaces.push(Interface {
                    name: link.name.clone(),
                    attach_mode: if xdp.mode == XdpMode::Generic { "generic" } else { "native" },
                    program_id: xdp.program_id,
                });
            }
            Some(xdp) => problems.push(format!("{}: program {} runs there instead of ours", link.name, xdp.program_id)),
            None => problems
                .push(format!("{}: nothing is attached there any more; `nodewall detach`, then apply", link.name)),
        }
    }
    if interfaces.is_empty() {
        problems.push("no interface is filtered; `nodewall apply` attaches".into());
    }
    problems.extend(
        net::uncovered(network, &attached).into_iter().map(|u| format!("{} is not filtered: {}", u.name, u.why)),
    );
    Ok(Report {
        mode: Some(if image.enforce == 0 { "audit" } else { "enforce" }),
        generation: Some(image.generation),
        policy_sha256: Some(hex(&image.policy_sha256)),
        interfaces,
        peers: u32::from(image.peers),
        blocks: Vec::new(),
        trial: None,
        refused: None,
        agent: None,
        repairs: 0,
        healthy: problems.is_empty(),
        problems,
    })
}

/// What the state directory tells besides.
pub(super) fn add_state(report: &mut Report, state: &StateDir) {
    let now = Clock::now();
    let blocks = readable(state.blocks(), report);
    report.blocks = blocks
        .current(&now)
        .map(|block| Blocked {
            source: show(&block.prefix),
            seconds_left: block.until.as_ref().map(|until| until.left(&now).as_secs()),
            reason: block.reason.clone(),
            by: block.who.to_string(),
        })
        .collect();
    if let Some(trial) = readable(state.trial(), report) {
        if trial.is_over(&now) {
            report.problems.push(format!(
                "{} should have ended: no agent and no countdown runs; `nodewall rollback` ends it",
                trial.kind.command()
            ));
        }
        if trial.kind == TrialKind::PanicOpen {
            report.problems.push("the node is open: nothing is dropped, blocks are lifted (panic-open)".into());
        }
        report.trial = Some(OnTrial {
            kind: trial.kind,
            seconds_left: trial.deadline.left(&now).as_secs(),
            back_to_mode: trial.back_to.desired.policy.mode.to_string(),
            by: trial.who.to_string(),
        });
    }
    report.refused = state.refused();
    if let Some(refused) = report.refused.as_ref().filter(|refused| refused.unattended) {
        report.problems.push(format!("{} was refused: {}", refused.attempt, refused.error));
    }
    let health = state.health().unwrap_or_default();
    report.repairs = health.repairs;
    report.agent = state.agent().map(|pid| {
        report.problems.extend(health.alarms.iter().cloned());
        Agent {
            pid,
            interfaces_reattached: health.gaps.count,
            reattach_gap_p99_ns: health.gaps.p99_ns(),
            reattach_gap_max_ns: health.gaps.max_ns,
            last_repair: health.last_repair,
        }
    });
    report.healthy = report.problems.is_empty();
}

/// What can not be read is a problem to show, not a reason to show nothing.
fn readable<T: Default>(read: Result<T, StateError>, report: &mut Report) -> T {
    read.unwrap_or_else(|error| {
        report.problems.push(error.to_string());
        T::default()
    })
}

fn print_table(report: &Report) -> anyhow::Result<()> {
    let or_none = |value: Option<String>| value.unwrap_or_else(|| "none".into());
    for (name, value) in [
        ("mode", or_none(report.mode.map(Into::into))),
        ("generation", or_none(report.generation.map(|g| g.to_string()))),
        ("policy", or_none(report.policy_sha256.clone())),
        ("peers", report.peers.to_string()),
        ("agent", report.agent.as_ref().map_or("not running".into(), |agent| format!("pid {}", agent.pid))),
        ("repairs", report.repairs.to_string()),
        ("healthy", if report.healthy { "yes" } else { "no" }.into()),
    ] {
        ui::print_line(&format!("{name:<11} {value}"))?;
    }
    if !report.interfaces.is_empty() {
        let rows =
            report.interfaces.iter().map(|i| vec![i.name.clone(), i.attach_mode.to_string(), i.program_id.to_string()]);
        ui::print_line("")?;
        ui::print_line(&ui::table(&["interface", "attached", "program"], &[2], rows))?;
    }
    if let Some(trial) = &report.trial {
        let left = humantime::format_duration(std::time::Duration::from_secs(trial.seconds_left));
        ui::print_line(&format!("on trial: by {}; goes back to mode {} in {left}", trial.by, trial.back_to_mode))?;
    }
    for block in &report.blocks {
        let until = block.seconds_left.map_or_else(String::new, |left_s| {
            format!(" for {} more", humantime::format_duration(std::time::Duration::from_secs(left_s)))
        });
        let reason = block.reason.as_deref().map_or(String::new(), |reason| format!(": {reason}"));
        ui::print_line(&format!("blocked: {}{until}, by {}{reason}", block.source, block.by))?;
    }
    if let Some(refused) = report.refused.as_ref().filter(|refused| !refused.unattended) {
        ui::print_line(&format!("refused: {}: {}", refused.attempt, refused.error))?;
    }
    for problem in &report.problems {
        ui::print_line(&format!("problem: {problem}"))?;
    }
    Ok(())
}
