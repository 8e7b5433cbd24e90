//! `nodewall check`: the compiled policy, without the kernel.

use serde::Serialize;

use super::{FINE, Failure, judging::Basis, meant, print, read_config};
use crate::{cli::Common, ui};
use nodewall_policy::{
    Facts, Policy, PortClass, RowTable, compile,
    config::{Config, PortRange, Protocol, Trust, show},
};
use nodewall_text::hex;

#[derive(Serialize)]
struct Report {
    basis: Basis,
    config: String,
    profile: String,
    mode: String,
    tunnels: String,
    later_fragments: String,
    /// As configured; empty: the default set.
    interfaces: Vec<String>,
    attach_mode: String,
    single_node: bool,
    policy_sha256: String,
    classes: Vec<Class>,
    peers: Vec<String>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct Class {
    name: String,
    access: String,
    audited: bool,
    ports: Vec<String>,
    also_allow: Vec<String>,
    from: String,
    note: Option<String>,
    #[serde(skip)]
    short_ports: String,
}

pub(super) fn run(common: &Common) -> Result<u8, Failure> {
    // As a reload reads it: a file that others may write is refused here, too.
    let config = read_config(common, Trust::OwnerOnly)?;
    let policy = meant(common, &config)?;
    let compiled = compile(&policy, RowTable::default(), &Facts::default())?;
    let report = report(&config, &policy, hex(&compiled.image.policy_sha256));
    print(common, &report, print_table)?;
    // A policy that can not be enforced as it stands is no good configuration, though it compiles.
    if !config.peers.has_sources() {
        policy.require_peers()?;
    }
    Ok(FINE)
}

fn report(config: &Config, policy: &Policy, policy_sha256: String) -> Report {
    Report {
        basis: Basis::ByTheFile,
        config: policy.source.config.to_string(),
        profile: policy.source.profile.to_string(),
        mode: policy.mode.to_string(),
        tunnels: policy.tunnels.to_string(),
        later_fragments: policy.later_fragments.to_string(),
        interfaces: config.interfaces.iter().map(ToString::to_string).collect(),
        attach_mode: config.attach_mode.to_string(),
        single_node: policy.single_node,
        policy_sha256,
        classes: policy
            .classes
            .iter()
            .map(|class| Class {
                name: class.name.clone(),
                access: class.access.to_string(),
                audited: class.audited,
                ports: class.ports.iter().map(|entry| format!("{}/{}", entry.protocol, entry.ports)).collect(),
                also_allow: class.also_allow.iter().map(show).collect(),
                from: class.from.to_string(),
                note: class.note.clone(),
                short_ports: short_ports(class),
            })
            .collect(),
        peers: policy.peers.iter().map(show).collect(),
        warnings: policy.warnings.clone(),
    }
}

/// Ports for people: the protocol stands only where the two differ.
fn short_ports(class: &PortClass) -> String {
    let tcp: Vec<PortRange> = class.ranges(Protocol::Tcp).collect();
    let udp: Vec<PortRange> = class.ranges(Protocol::Udp).collect();
    if tcp == udp {
        return tcp.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    }
    class.ports.iter().map(|entry| format!("{}/{}", entry.protocol, entry.ports)).collect::<Vec<_>>().join(" ")
}

fn print_table(report: &Report) -> anyhow::Result<()> {
    let rows = report.classes.iter().map(|class| {
        vec![
            class.name.clone(),
            if class.audited { format!("{}, audited", class.access) } else { class.access.clone() },
            class.short_ports.clone(),
            class.also_allow.join(" "),
            class.from.clone(),
        ]
    });
    ui::print_table(&["class", "access", "ports", "also allow", "from"], &[], rows)?;
    ui::print_line("")?;
    let interfaces = if report.interfaces.is_empty() { "default".into() } else { report.interfaces.join(" ") };
    let peers = if report.peers.is_empty() { "none".into() } else { report.peers.join(" ") };
    for (name, value) in [
        ("answer", &"by the file; `nodewall plan` compares it with what is in force".to_owned()),
        ("config", &report.config),
        ("profile", &report.profile),
        ("mode", &report.mode),
        ("interfaces", &interfaces),
        ("attach mode", &report.attach_mode),
        ("tunnels", &report.tunnels),
        ("fragments", &report.later_fragments),
        ("peers", &peers),
        ("sha256", &report.policy_sha256),
    ] {
        ui::print_line(&format!("{name:<11} {value}"))?;
    }
    for warning in &report.warnings {
        ui::print_line(&format!("warning: {warning}"))?;
    }
    Ok(())
}
