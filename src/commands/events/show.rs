//! `nodewall events show`: one record whole. Of a captured frame its headers and its bytes.

use anyhow::anyhow;
use serde::Serialize;

use super::{FINE, Failure, UNVERIFIED, store};
use crate::{
    cli::{Common, Format, RecordKind, ShowArgs},
    ui,
    view::evidence::{CaptureRow, EventRow, FlowRow, LossRow, Row},
};
use nodewall_evidence::{
    layers::{Layer, hex_dump, layers},
    record::Capture,
    store::Filter,
};
use nodewall_text::{hex, plain};

/// A captured frame with all that is known of it.
#[derive(Serialize)]
struct Whole {
    #[serde(flatten)]
    row: CaptureRow,
    /// Its headers, the outermost first.
    layers: Vec<Layer>,
    /// Its bytes, hexadecimal.
    frame: String,
}

pub(in crate::commands) fn run(common: &Common, args: &ShowArgs) -> Result<u8, Failure> {
    let (_, reader) = store(common)?;
    let filter = Filter { ids: vec![args.id.number], ..Filter::default() };
    let zone = &args.tz;
    let shown = match args.id.kind {
        RecordKind::Flows => reader.flows(&filter)?.first().map(|flow| show(common, &FlowRow::of(flow, zone))),
        RecordKind::Losses => reader.losses(&filter)?.first().map(|loss| show(common, &LossRow::of(loss, zone))),
        RecordKind::Events => reader.events(&filter)?.first().map(|event| show(common, &EventRow::of(event, zone))),
        RecordKind::Captures => reader.captures(&filter)?.first().map(|stored| {
            let capture = &stored.record;
            let layers = layers(&capture.frame, capture.original_bytes);
            let frame = hex(&capture.frame);
            show_capture(common, &Whole { row: CaptureRow::of(stored, zone), layers, frame }, capture)
        }),
    };
    let none = || {
        let text =
            "there is no record {}; it may be older than what is kept, `nodewall events list` says what there is";
        Failure::other(anyhow!(text.replace("{}", &args.id.to_string())))
    };
    shown.ok_or_else(none)??;
    Ok(FINE)
}

/// Whether it was printed, as what programs read.
fn is_printed(common: &Common, record: &impl Serialize) -> anyhow::Result<bool> {
    match common.output() {
        Format::Table => return Ok(false),
        Format::Json => ui::print_json(record)?,
        Format::Jsonl => ui::print_jsonl([record])?,
    }
    Ok(true)
}

fn show<R: Row>(common: &Common, row: &R) -> anyhow::Result<()> {
    if is_printed(common, row)? {
        return Ok(());
    }
    print_row(row)?;
    if R::csv_head().contains(&"source_unverified") { ui::print_line(&format!("\n{UNVERIFIED}")) } else { Ok(()) }
}

fn show_capture(common: &Common, whole: &Whole, capture: &Capture) -> anyhow::Result<()> {
    if is_printed(common, whole)? {
        return Ok(());
    }
    print_row(&whole.row)?;
    for layer in &whole.layers {
        ui::print_line(&format!("\n{}", layer.layer))?;
        for (name, value) in &layer.fields {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            print_field(&format!("  {name}"), &text)?;
        }
    }
    ui::print_line("")?;
    hex_dump(&capture.frame).iter().try_for_each(|line| ui::print_line(line))?;
    let missing = (capture.original_bytes as usize).saturating_sub(capture.frame.len());
    if missing > 0 {
        ui::print_line(&format!("{missing} more bytes were not kept"))?;
    }
    ui::print_line(&format!("\n{UNVERIFIED}"))
}

/// Everything of a record, a line each; text of several lines (a policy's) as several, below its name.
fn print_row<R: Row>(row: &R) -> anyhow::Result<()> {
    for (name, text) in R::csv_head().into_iter().zip(row.csv()) {
        if name == "text" && !text.is_empty() {
            ui::print_line(name)?;
            text.lines().try_for_each(|line| ui::print_line(&format!("  {}", plain(line))))?;
        } else {
            print_field(name, &text)?;
        }
    }
    Ok(())
}

fn print_field(name: &str, text: &str) -> anyhow::Result<()> {
    let text = if text.is_empty() { "-".into() } else { plain(text) };
    ui::print_line(&format!("{name:<24}{text}"))
}
