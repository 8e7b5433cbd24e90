//! `nodewall replay`: each frame's verdict, reason and class, by the host's or the kernel's copy of the one verdict function.

use node_ebpf_common::{Decision, Shape, decide, frame::Received, maps::RowRecord};
use serde::Serialize;

use super::{
    FINE, Failure, class_of,
    judging::{self, JudgingPolicy},
};
use crate::{
    cli::{Common, Engine, Output, ReplayArgs},
    ui,
};
use nodewall_capture::Frames;
use nodewall_datapath::KernelEngine;

#[derive(Serialize)]
struct Line {
    frame: u64,
    verdict: &'static str,
    reason: &'static str,
    class: Option<String>,
}

type Judge<'a> = Box<dyn FnMut(&[u8]) -> Result<Decision, Failure> + 'a>;

pub(super) fn run(common: &Common, args: &ReplayArgs) -> Result<u8, Failure> {
    let JudgingPolicy { image, rows, .. } = judging::described_live_or_default(common)?;
    let mut judge: Judge<'_> = match args.engine {
        Engine::Host => {
            let if_index = judging::index_of(args.in_interface.as_deref())?;
            let image = &image;
            Box::new(move |frame| Ok(decide(&Received { frame, if_index }, image)))
        }
        Engine::Kernel if args.in_interface.is_some() => {
            return Err(anyhow::anyhow!(
                "--in-interface and --engine kernel exclude each other: the kernel's test run comes in by no interface"
            )
            .into());
        }
        Engine::Kernel => {
            let mut engine = KernelEngine::new(&image, Shape::ANSWERS, None)?;
            Box::new(move |frame| Ok(engine.decide(frame)?))
        }
    };
    let frames = Frames::open(&args.file).map_err(anyhow::Error::new)?;
    let mut lines = frames.map(|frame| {
        let frame = frame.map_err(anyhow::Error::new)?;
        Ok(line(frame.index, &judge(&frame.data)?, &rows)?)
    });
    // What was judged before an error (a cut file) is printed all the same.
    if common.output == Output::Json {
        let mut judged = Vec::new();
        let ended = lines.try_for_each(|line| line.map(|line| judged.push(line)));
        ui::print_json(&judged)?;
        return ended.map(|()| FINE);
    }
    // Lines of text go out as they come: a capture may be larger than memory.
    let mut out = ui::Lines::new();
    let ended = lines.try_for_each(|line| {
        let line = line?;
        let text = if common.output == Output::Jsonl { ui::json_line(&line)? } else { text(&line) };
        out.print(&text).map_err(Failure::from)
    });
    out.finish()?;
    ended.map(|()| FINE)
}

fn line(frame: u64, decision: &Decision, rows: &[RowRecord]) -> anyhow::Result<Line> {
    let unknown = || anyhow::anyhow!("frame {frame}: counter cell {} is of another version", decision.cell);
    let reason = decision.reason().ok_or_else(unknown)?;
    Ok(Line { frame, verdict: decision.verdict().name(), reason: reason.name(), class: class_of(decision, rows) })
}

fn text(line: &Line) -> String {
    format!("{:>8}  {:<4}  {:<20}  {}", line.frame, line.verdict, line.reason, line.class.as_deref().unwrap_or("-"))
}
