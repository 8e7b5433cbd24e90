//! `nodewall replay`: each frame's verdict, reason and class, by the host's or the kernel's copy of the one verdict function.

use std::cell::Cell;

use node_ebpf_common::{
    Decision, PolicyImage, Shape, decide,
    frame::{Cut, Received},
    maps::RowRecord,
};
use serde::Serialize;

use super::{
    FINE, Failure, class_of,
    judging::{self, JudgingPolicy},
};
use crate::{
    cli::{Common, Engine, Output, ReplayArgs},
    ui,
};
use nodewall_capture::{CapturedFrame, Frames};
use nodewall_datapath::KernelEngine;

/// Verdict and reason of a frame that was cut before a header that they depend on.
const CUT: &str = "cut";
/// What a packet can be long, with all that may stand before it: as much as the kernel is asked about. What a file claims beyond that changes no verdict.
const LONGEST_BYTES: usize = 65_535 + 128;

#[derive(Serialize)]
struct Line {
    frame: u64,
    verdict: &'static str,
    reason: &'static str,
    class: Option<String>,
}

/// `None`: it was cut.
type Judge<'a> = Box<dyn FnMut(&CapturedFrame) -> Result<Option<Decision>, Failure> + 'a>;

pub(super) fn run(common: &Common, args: &ReplayArgs) -> Result<u8, Failure> {
    let JudgingPolicy { image, rows, .. } = judging::described_live_or_default(common)?;
    let image = &image;
    let mut judge: Judge<'_> = match args.engine {
        Engine::Host => {
            let if_index = judging::index_of(args.in_interface.as_deref())?;
            Box::new(move |frame| Ok(on_host(frame, if_index, image)))
        }
        Engine::Kernel if args.in_interface.is_some() => {
            return Err(anyhow::anyhow!(
                "--in-interface and --engine kernel exclude each other: the kernel's test run comes in by no interface"
            )
            .into());
        }
        Engine::Kernel => {
            let mut engine = KernelEngine::new(image, Shape::ANSWERS, None)?;
            Box::new(move |frame| {
                // Whether a header is missing only the host can tell; what is behind the headers changes no verdict.
                let Some(_) = on_host(frame, 0, image) else { return Ok(None) };
                let mut whole = frame.data.to_vec();
                whole.resize(whole.len().max((frame.original_len as usize).min(LONGEST_BYTES)), 0);
                Ok(Some(engine.decide(&whole)?))
            })
        }
    };
    let mut cut = 0;
    let frames = Frames::open(&args.file).map_err(anyhow::Error::new)?;
    let mut lines = frames.map(|frame| {
        let frame = frame.map_err(anyhow::Error::new)?;
        let decision = judge(&frame)?;
        cut += u64::from(decision.is_none());
        Ok::<_, Failure>(line(frame.index, decision.as_ref(), &rows)?)
    });
    // Out as they come: a capture may be larger than memory. What was judged before an error (a cut file) is printed all the same.
    let mut out = ui::Values::new(common.output == Output::Json);
    let ended = lines.try_for_each(|line| {
        let line = line?;
        let text = if common.output == Output::Table { text(&line) } else { ui::json_line(&line)? };
        out.print(text).map_err(Failure::from)
    });
    drop(lines);
    out.finish()?;
    if cut > 0 {
        tracing::warn!(
            "{cut} frames were cut before a header that their verdict depends on: capture more of each (`tcpdump -s 256`)"
        );
    }
    ended.map(|()| FINE)
}

/// By its length on the wire: what was cut off is there.
fn on_host(frame: &CapturedFrame, if_index: u32, image: &PolicyImage) -> Option<Decision> {
    let is_missed = Cell::new(false);
    let kept = Received { frame: &frame.data, if_index };
    let decision = decide(&Cut::new(kept, frame.original_len as usize, &is_missed), image);
    (!is_missed.get()).then_some(decision)
}

fn line(frame: u64, decision: Option<&Decision>, rows: &[RowRecord]) -> anyhow::Result<Line> {
    let Some(decision) = decision else { return Ok(Line { frame, verdict: CUT, reason: CUT, class: None }) };
    let unknown = || anyhow::anyhow!("frame {frame}: counter cell {} is of another version", decision.cell);
    let reason = decision.reason().ok_or_else(unknown)?;
    Ok(Line { frame, verdict: decision.verdict().name(), reason: reason.name(), class: class_of(decision, rows) })
}

fn text(line: &Line) -> String {
    format!("{:>8}  {:<4}  {:<20}  {}", line.frame, line.verdict, line.reason, line.class.as_deref().unwrap_or("-"))
}
