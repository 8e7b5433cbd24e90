//! `nodewall explain`: the verdict for a source and a port, by the very function that the kernel runs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use node_ebpf_common::{Decision, PolicyImage, decide, frame::Received, maps::RowRecord};
use serde::Serialize;

use super::{
    FINE, Failure, class_of,
    judging::{self, Basis, JudgingPolicy},
    print,
};
use crate::{
    cli::{Common, ExplainArgs},
    control::{Good, Left},
    ui,
};
use nodewall_host::state::StateDir;
use nodewall_policy::{config::show, probe_frame};

#[derive(Serialize)]
struct Report {
    verdict: &'static str,
    reason: &'static str,
    class: Option<String>,
    peer: Option<String>,
    generation: u64,
    mode: &'static str,
    outcome: &'static str,
    why: &'static str,
    basis: Basis,
    /// How it ceased to be a peer, if it was one lately.
    left: Option<String>,
}

pub(super) fn run(common: &Common, args: &ExplainArgs) -> Result<u8, Failure> {
    let JudgingPolicy { image, rows, basis } = judging::described_or_live(common)?;
    let frame = probe_frame(args.source, args.port, args.protocol);
    let if_index = judging::index_of(args.in_interface.as_deref())?;
    let decision = decide(&Received { frame: &frame, if_index }, &image);
    let left = if basis == Basis::InForce { left(common, args.source) } else { None };
    let report = Report { left, ..report(&decision, &image, &rows, basis)? };
    print(common, &report, |report| print_text(report, args))?;
    Ok(FINE)
}

fn report(decision: &Decision, image: &PolicyImage, rows: &[RowRecord], basis: Basis) -> anyhow::Result<Report> {
    let unknown = || anyhow::anyhow!("counter cell {} is of another version", decision.cell);
    let reason = decision.reason().ok_or_else(unknown)?;
    Ok(Report {
        verdict: decision.verdict().name(),
        reason: reason.name(),
        class: class_of(decision, rows),
        peer: (decision.peer() != 0).then(|| peer(image, decision.peer())).flatten(),
        generation: image.generation,
        mode: if image.enforce == 0 { "audit" } else { "enforce" },
        outcome: decision.outcome().ok_or_else(unknown)?.name(),
        why: reason.text(),
        basis,
        left: None,
    })
}

/// How a source that is no peer any more ceased to be one.
fn left(common: &Common, source: IpAddr) -> Option<String> {
    let state = StateDir::open(&common.state_dir).ok().flatten()?;
    let peers = Good::last(&state).ok().flatten()?.desired.policy.peers;
    let is_peer = peers.iter().any(|peer| peer.contains(&source));
    state.read_note::<Left>().filter(|_| !is_peer)?.of(source).map(ToString::to_string)
}

/// The prefix that makes the source a peer. Each has a number of its own, so it is the smallest prefix around all entries with the number: the
/// compiler may have written one prefix out as many longer ones.
fn peer(image: &PolicyImage, number: u32) -> Option<String> {
    let is_its = |value: u64| (value >> 32) as u32 & 0xffff == number;
    let v4 = image.slots_v4.iter().filter(|slot| is_its(slot.value)).filter_map(|slot| {
        let address = Ipv4Addr::from((slot.key as u32).to_le_bytes());
        IpNet::new(address.into(), prefix_bits(slot.key >> 32)?).ok()
    });
    let v6 = image.slots_v6.iter().filter(|slot| is_its(slot.value)).filter_map(|slot| {
        let address = u128::from(slot.lo) << 64 | u128::from(slot.hi);
        IpNet::new(Ipv6Addr::from(address.to_le_bytes()).into(), prefix_bits(slot.length_plus_one)?).ok()
    });
    let around = |mut around: IpNet, entry: IpNet| {
        while !around.contains(&entry) {
            around = around.supernet()?;
        }
        Some(around)
    };
    let mut entries = v4.chain(v6);
    let first = entries.next()?;
    entries.try_fold(first, around).map(|net| show(&net))
}

fn prefix_bits(length_plus_one: u64) -> Option<u8> {
    u8::try_from(length_plus_one.checked_sub(1)?).ok()
}

fn print_text(report: &Report, args: &ExplainArgs) -> anyhow::Result<()> {
    let class = report.class.as_deref().map_or(String::new(), |c| format!(" ({c})"));
    let peer = report.peer.as_deref().map_or(String::new(), |p| format!(", peer {p}"));
    ui::print_line(&format!(
        "{} -> {}/{}{class}: {}, reason {}{peer}",
        args.source, args.protocol, args.port, report.verdict, report.reason
    ))?;
    ui::print_line(report.why)?;
    if let Some(left) = &report.left {
        ui::print_line(left)?;
    }
    let note = match (report.mode, report.outcome) {
        ("audit", _) => "; audit mode: nothing is dropped",
        (_, "would_drop") => "; this class is audited: it is not dropped",
        _ => "",
    };
    match report.basis {
        Basis::InForce => ui::print_line(&format!("in force: policy generation {}{note}", report.generation)),
        Basis::ByTheFile => ui::print_line(&format!("by the file, whatever is in force{note}")),
    }
}
