//! `nodewall status`: what is in force, where, and whether it is all that should be.

use std::collections::BTreeSet;

use node_ebpf_common::PolicyImage;
use serde::Serialize;

use super::{DEGRADED, FINE, Failure, block_on};
use crate::{
    cli::{Common, Format},
    datapath::{self, DatapathError, Maps, PinDir},
    net::{self, Network, XdpMode},
    policy::hex,
    ui,
};

#[derive(Serialize)]
struct Report {
    /// `null`: no policy is in force.
    mode: Option<&'static str>,
    generation: Option<u64>,
    policy_sha256: Option<String>,
    interfaces: Vec<Interface>,
    peers: u32,
    healthy: bool,
    /// Why it is not healthy, each with what to do.
    problems: Vec<String>,
}

#[derive(Serialize)]
struct Interface {
    name: String,
    attach_mode: &'static str,
    program_id: u32,
}

pub(super) fn run(common: &Common) -> Result<u8, Failure> {
    let live = Maps::live(&common.bpffs)?;
    let network = block_on(net::snapshot())??;
    let report = match &live {
        None => nothing_in_force(),
        Some((pins, maps)) => match maps.policy() {
            Ok(image) => report(pins, &image, &network)?,
            Err(DatapathError::NoPolicy) => nothing_in_force(),
            Err(error) => return Err(error.into()),
        },
    };
    match common.output {
        Format::Table => print_table(&report)?,
        Format::Json => ui::print_json(&report)?,
        Format::Jsonl => ui::print_jsonl([&report])?,
    }
    Ok(if report.healthy { FINE } else { DEGRADED })
}

fn nothing_in_force() -> Report {
    Report {
        mode: None,
        generation: None,
        policy_sha256: None,
        interfaces: Vec::new(),
        peers: 0,
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
        peers: image.peers,
        healthy: problems.is_empty(),
        problems,
    })
}

fn print_table(report: &Report) -> anyhow::Result<()> {
    let or_none = |value: Option<String>| value.unwrap_or_else(|| "none".into());
    for (name, value) in [
        ("mode", or_none(report.mode.map(Into::into))),
        ("generation", or_none(report.generation.map(|g| g.to_string()))),
        ("policy", or_none(report.policy_sha256.clone())),
        ("peers", report.peers.to_string()),
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
    for problem in &report.problems {
        ui::print_line(&format!("problem: {problem}"))?;
    }
    Ok(())
}
