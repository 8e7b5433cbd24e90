//! `nodewall status`: what is in force, where, and whether it is all that should be.

use super::{DEGRADED, FINE, Failure, block_on, print};
use crate::{
    cli::Common,
    control::CoverageState,
    ui,
    view::{
        push_health::Totals,
        status::{self, Status},
    },
};
use nodewall_evidence::output::OutputStatus;
use nodewall_host::state::StateDir;
use nodewall_policy::config::AttachMode;

pub(super) fn run(common: &Common) -> Result<u8, Failure> {
    let state = StateDir::open(&common.state_dir)?;
    let (report, _) = block_on(status::look(&common.bpffs, state.as_ref()))??;
    print(common, &report, print_table)?;
    Ok(if report.healthy { FINE } else { DEGRADED })
}

fn print_table(report: &Status) -> anyhow::Result<()> {
    let or_none = |value: Option<String>| value.unwrap_or_else(|| "none".into());
    let agent = report.agent.as_ref().map_or("not running".into(), |agent| {
        let elsewhere = if agent.elsewhere { " in another process namespace, a container's or the host's" } else { "" };
        format!("pid {}{elsewhere}", agent.pid)
    });
    for (name, value) in [
        (
            "mode",
            or_none(report.mode_in_words().map(|mode| match &report.file_mode {
                Some(file) => format!("{mode} (by the file: {file})"),
                None => mode,
            })),
        ),
        ("generation", or_none(report.generation.map(|g| g.to_string()))),
        ("policy", or_none(report.policy_sha256.clone())),
        ("peers", report.peers.to_string()),
        ("agent", agent),
        ("repairs", report.repairs.to_string()),
        ("healthy", if report.healthy { "yes" } else { "no" }.into()),
    ] {
        ui::print_line(&format!("{name:<11} {value}"))?;
    }
    if !report.interfaces.is_empty() {
        // What has no part in it is told by `doctor`, and in JSON.
        let told = report.interfaces.iter().filter(|i| i.state != CoverageState::NotEligible || i.wrong);
        let rows = told.map(|i| {
            let program = i.program_id.map_or_else(|| "-".to_owned(), |id| id.to_string());
            let attached = i.attach_mode.map_or("-", AttachMode::as_str);
            vec![i.name.clone(), i.state.as_str().to_owned(), attached.to_owned(), program]
        });
        ui::print_line("")?;
        ui::print_table(&["interface", "state", "attached", "program"], &[3], rows)?;
    }
    if let Some(trial) = &report.trial {
        let left = humantime::format_duration(std::time::Duration::from_secs(trial.seconds_left));
        ui::print_line(&format!("on trial: by {}; goes back to mode {} in {left}", trial.by, trial.back_to_mode))?;
        ui::print_line(&format!("on trial: held by {}", trial.held_by()))?;
    }
    for change in report.will_change.iter().filter(|change| change.what == "peer") {
        let left = humantime::format_duration(std::time::Duration::from_secs(change.seconds_left));
        let talks = if change.talks { "; it talks with this node, and will be cut off" } else { "" };
        ui::print_line(&format!("in {left}: {}{talks}", change.then))?;
    }
    for left in &report.left_peers {
        ui::print_line(&format!("lately: {left}"))?;
    }
    for block in &report.blocks {
        let until = block.seconds_left.map_or_else(String::new, |left_s| {
            format!(" for {} more", humantime::format_duration(std::time::Duration::from_secs(left_s)))
        });
        let reason = block.reason.as_deref().map_or(String::new(), |reason| format!(": {reason}"));
        ui::print_line(&format!("blocked: {}{until}, by {}{reason}", block.source, block.by))?;
    }
    if let Some(push) = &report.push {
        let doing = push.last_error.as_deref().map_or_else(|| "well".to_owned(), |error| format!("failing: {error}"));
        ui::print_line(&format!("push: to {}: {doing}; {} lines wait", push.url, push.waiting_lines))?;
        let Totals { lost, last_loss, .. } = &push.totals;
        if let Some(why) = last_loss {
            ui::print_line(&format!("push: lost: {} packets, {} bytes; the last: {why}", lost.packets, lost.bytes))?;
        }
    }
    if let Some(evidence) = &report.evidence {
        let [only_counted, not_captured] = evidence.lost();
        ui::print_line(&format!(
            "evidence: {} frames against the policy: {} in flows, {only_counted} only counted (`nodewall events list`)",
            evidence.flow_packets + only_counted,
            evidence.flow_packets
        ))?;
        ui::print_line(&format!(
            "evidence: of flows' first frames {} are captured, {not_captured} not",
            evidence.captures
        ))?;
        if let Some(problem) = &evidence.captures_problem {
            ui::print_line(&format!("evidence: frames are not captured: {problem}"))?;
        }
        for OutputStatus { name, sent, waiting, lost, error, .. } in &evidence.outputs {
            let doing = error.as_deref().map_or_else(|| "works".to_owned(), |error| format!("takes nothing: {error}"));
            ui::print_line(&format!("evidence: {name}: {doing}; {sent} lines sent, {waiting} wait, {lost} lost"))?;
        }
    }
    if let Some(refused) = report.refused.as_ref().filter(|refused| !refused.unattended) {
        ui::print_line(&format!("refused: {}: {}", refused.attempt, refused.error))?;
    }
    for problem in &report.problems {
        ui::print_line(&format!("problem: {problem}"))?;
    }
    Ok(())
}
