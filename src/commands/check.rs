//! `nodewall check`: the compiled policy, without the kernel.

use serde::Serialize;

use super::{FINE, Failure, read_policy};
use crate::{
    cli::{Common, Format},
    config::show,
    policy::{Facts, Policy, RowTable, compile, hex},
    ui,
};

#[derive(Serialize)]
struct Report {
    config: String,
    profile: String,
    mode: String,
    tunnels: String,
    policy_sha256: String,
    classes: Vec<Class>,
    peers: Vec<String>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct Class {
    name: String,
    access: String,
    ports: Vec<String>,
    also_allow: Vec<String>,
    from: String,
    note: Option<String>,
}

pub(super) fn run(common: &Common) -> Result<u8, Failure> {
    let (_, policy) = read_policy(common)?;
    let compiled = compile(&policy, RowTable::default(), &Facts::default())?;
    let report = report(&policy, hex(&compiled.image.policy_sha256));
    match common.output {
        Format::Table => print_table(&report)?,
        Format::Json => ui::print_json(&report)?,
        Format::Jsonl => ui::print_jsonl([&report])?,
    }
    // A policy that can not be enforced as it stands is no good configuration, though it compiles.
    policy.require_peers()?;
    Ok(FINE)
}

fn report(policy: &Policy, policy_sha256: String) -> Report {
    Report {
        config: policy.source.config.to_string(),
        profile: policy.source.profile.to_string(),
        mode: policy.mode.to_string(),
        tunnels: policy.tunnels.to_string(),
        policy_sha256,
        classes: policy
            .classes
            .iter()
            .map(|class| Class {
                name: class.name.clone(),
                access: class.access.to_string(),
                ports: class.ports.iter().map(|entry| format!("{}/{}", entry.protocol, entry.ports)).collect(),
                also_allow: class.also_allow.iter().map(show).collect(),
                from: class.from.to_string(),
                note: class.note.clone(),
            })
            .collect(),
        peers: policy.peers.iter().map(show).collect(),
        warnings: policy.warnings.clone(),
    }
}

fn print_table(report: &Report) -> anyhow::Result<()> {
    let rows = report.classes.iter().map(|class| {
        vec![class.name.clone(), class.access.clone(), class.ports.join(" "), class.also_allow.join(" "), class.from.clone()]
    });
    ui::print_line(&ui::table(&["class", "access", "ports", "also allow", "from"], &[], rows))?;
    ui::print_line("")?;
    let peers = if report.peers.is_empty() { "none".into() } else { report.peers.join(" ") };
    for (name, value) in [
        ("config", &report.config),
        ("mode", &report.mode),
        ("tunnels", &report.tunnels),
        ("peers", &peers),
        ("sha256", &report.policy_sha256),
    ] {
        ui::print_line(&format!("{name:<8} {value}"))?;
    }
    for warning in &report.warnings {
        ui::print_line(&format!("warning: {warning}"))?;
    }
    Ok(())
}
