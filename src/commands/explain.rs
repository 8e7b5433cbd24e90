//! `nodewall explain`: the verdict for a source and a port, by the very function that the kernel runs.

use std::net::IpAddr;

use ipnet::IpNet;
use node_ebpf_common::{Decision, PolicyImage, decide, maps::RowRecord, policy::Source};
use serde::Serialize;

use super::{
    FINE, Failure, class_of,
    judged::{self, Judged},
    probe,
};
use crate::{
    cli::{Common, ExplainArgs, Format},
    config::show,
    policy::source_of,
    ui,
};

#[derive(Serialize)]
struct Report {
    verdict: &'static str,
    reason: &'static str,
    class: Option<String>,
    peer: Option<String>,
    generation: u64,
    mode: &'static str,
    why: &'static str,
}

pub(super) fn run(common: &Common, args: &ExplainArgs) -> Result<u8, Failure> {
    let Judged { image, rows } = judged::described_or_live(common)?;
    let frame = probe::frame(args.source, args.port, args.protocol);
    let decision = decide(frame.as_slice(), &image);
    let report = report(&decision, &image, &rows, args.source)?;
    match common.output {
        Format::Table => print_text(&report, args)?,
        Format::Json => ui::print_json(&report)?,
        Format::Jsonl => ui::print_jsonl([&report])?,
    }
    Ok(FINE)
}

fn report(decision: &Decision, image: &PolicyImage, rows: &[RowRecord], source: IpAddr) -> Result<Report, Failure> {
    let unknown = || Failure::other(anyhow::anyhow!("reason {} is of another version", decision.reason));
    let reason = decision.reason().ok_or_else(unknown)?;
    Ok(Report {
        verdict: decision.verdict().name(),
        reason: reason.name(),
        class: class_of(decision, rows),
        peer: (decision.peer != 0).then(|| peer(image, source, decision.peer)).flatten(),
        generation: image.generation,
        mode: if image.enforce == 0 { "audit" } else { "enforce" },
        why: reason.text(),
    })
}

/// The prefix that makes the source a peer: the shortest entry of the table that has the peer's number.
fn peer(image: &PolicyImage, source: IpAddr, number: u32) -> Option<String> {
    let frame: &[u8] = &[];
    let bits = |source| match source {
        Source::V4(_) => {
            image.length_v4.iter().take(image.lengths_v4 as usize).map(|l| l.length_plus_one).collect::<Vec<_>>()
        }
        Source::V6(..) => {
            image.length_v6.iter().take(image.lengths_v6 as usize).map(|l| l.length_plus_one as u32).collect()
        }
    };
    let mut lengths = bits(source_of(source));
    lengths.reverse();
    lengths
        .into_iter()
        .filter_map(|plus_one| IpNet::new(source, (plus_one.saturating_sub(1)) as u8).ok())
        .find(|net| {
            let found = image.source(frame, source_of(net.trunc().addr()), true);
            (found >> 32) as u32 & 0xffff == number
        })
        .map(|net| show(&net.trunc()))
}

fn print_text(report: &Report, args: &ExplainArgs) -> anyhow::Result<()> {
    let class = report.class.as_deref().map_or(String::new(), |c| format!(" ({c})"));
    let peer = report.peer.as_deref().map_or(String::new(), |p| format!(", peer {p}"));
    ui::print_line(&format!(
        "{} -> {}/{}{class}: {}, reason {}{peer}",
        args.source, args.protocol, args.port, report.verdict, report.reason
    ))?;
    ui::print_line(report.why)?;
    let note = if report.mode == "audit" { "; audit mode: nothing is dropped" } else { "" };
    ui::print_line(&format!("policy generation {}{note}", report.generation))
}
