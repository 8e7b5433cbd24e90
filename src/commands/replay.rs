//! `nodewall replay`: each frame's verdict, reason and class, by the host's or the kernel's copy of the one verdict function.

use node_ebpf_common::{Decision, PolicyImage, decide, maps::RowRecord};
use serde::Serialize;

use super::{FINE, Failure, class_of, live, read_policy};
use crate::{
    capture::Frames,
    cli::{Common, Engine, Format, ReplayArgs},
    datapath::{Entry, KernelEngine},
    policy::{Facts, RowTable, compile},
    ui,
};

#[derive(Serialize)]
struct Line {
    frame: u64,
    verdict: &'static str,
    reason: &'static str,
    class: Option<String>,
}

pub(super) fn run(common: &Common, args: &ReplayArgs) -> Result<u8, Failure> {
    let (image, rows) = policy(common)?;
    let mut judge: Box<dyn FnMut(&[u8]) -> Result<Decision, Failure>> = match args.engine {
        Engine::Host => Box::new(|frame| Ok(decide(frame, &*image))),
        Engine::Kernel => {
            let mut engine = KernelEngine::new(&image, Entry::Probe, None)?;
            Box::new(move |frame| Ok(engine.decide(frame)?))
        }
    };
    let mut lines = Vec::new();
    for frame in Frames::open(&args.file).map_err(anyhow::Error::new)? {
        let frame = frame.map_err(anyhow::Error::new)?;
        let line = line(frame.index, &judge(&frame.data)?, &rows)?;
        // Lines of text go out as they come: a capture may be larger than memory.
        match common.output {
            Format::Jsonl => ui::print_jsonl([&line])?,
            Format::Table => ui::print_line(&text(&line))?,
            Format::Json => lines.push(line),
        }
    }
    if common.output == Format::Json {
        ui::print_json(&lines)?;
    }
    Ok(FINE)
}

/// The policy in question: what the flags say, else what is in force, else the embedded default.
fn policy(common: &Common) -> Result<(Box<PolicyImage>, Vec<RowRecord>), Failure> {
    let named = common.config.is_some() || common.mode.is_some() || !common.peers.is_empty();
    if !named && common.bpffs.exists() {
        let (_, maps) = live(common)?;
        return Ok((maps.policy()?, maps.rows()?));
    }
    let (_, policy) = read_policy(common)?;
    let compiled = compile(&policy, RowTable::default(), &Facts::default())?;
    Ok((compiled.image, compiled.rows.records().to_vec()))
}

fn line(frame: u64, decision: &Decision, rows: &[RowRecord]) -> Result<Line, Failure> {
    let unknown = || Failure::other(anyhow::anyhow!("frame {frame}: reason {} is of another version", decision.reason));
    let reason = decision.reason().ok_or_else(unknown)?;
    Ok(Line { frame, verdict: decision.verdict().name(), reason: reason.name(), class: class_of(decision, rows) })
}

fn text(line: &Line) -> String {
    format!("{:>8}  {:<4}  {:<20}  {}", line.frame, line.verdict, line.reason, line.class.as_deref().unwrap_or("-"))
}
