//! `nodewall events show`: one record whole. Of a captured frame its headers and its bytes.

use anyhow::Context as _;
use serde::Serialize;

use super::{FINE, Failure, UNVERIFIED, print, store};
use crate::{
    cli::{Common, RecordKind, ShowArgs},
    ui,
    view::evidence::{CaptureRow, EventRow, FlowRow, LossRow, Row},
};
use nodewall_evidence::{
    layers::{Layer, hex_dump, layers},
    record::Capture,
    store::Filter,
};
use nodewall_text::hex;

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
        RecordKind::Flows => {
            reader.flows(&filter)?.first().map(|flow| print(common, &FlowRow::of(flow, zone), print_record))
        }
        RecordKind::Losses => {
            reader.losses(&filter)?.first().map(|loss| print(common, &LossRow::of(loss, zone), print_record))
        }
        RecordKind::Events => {
            reader.events(&filter)?.first().map(|event| print(common, &EventRow::of(event, zone), print_record))
        }
        RecordKind::Captures => reader.captures(&filter)?.first().map(|stored| {
            let capture = &stored.record;
            let layers = layers(&capture.frame, capture.original_bytes);
            let frame = hex(&capture.frame);
            let whole = Whole { row: CaptureRow::of(stored, zone), layers, frame };
            print(common, &whole, |whole| print_capture(whole, capture))
        }),
    };
    let id = args.id;
    shown.with_context(|| {
        format!("there is no record {id}; it may be older than what is kept, `nodewall events list` says what there is")
    })??;
    Ok(FINE)
}

fn print_record<R: Row>(row: &R) -> anyhow::Result<()> {
    print_row(row)?;
    if R::CSV.contains("source_unverified") { print_unverified() } else { Ok(()) }
}

fn print_capture(whole: &Whole, capture: &Capture) -> anyhow::Result<()> {
    print_row(&whole.row)?;
    for layer in &whole.layers {
        ui::print_line("")?;
        ui::print_line(layer.layer)?;
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
    print_unverified()
}

fn print_unverified() -> anyhow::Result<()> {
    ui::print_line("")?;
    ui::print_line(UNVERIFIED)
}

/// Everything of a record, a line each; text of several lines (a policy's) as several, below its name.
fn print_row<R: Row>(row: &R) -> anyhow::Result<()> {
    for (name, text) in R::CSV.split(',').zip(row.csv()?) {
        if name == "text" && !text.is_empty() {
            ui::print_line(name)?;
            text.lines().try_for_each(|line| ui::print_line(&format!("  {line}")))?;
        } else {
            print_field(name, &text)?;
        }
    }
    Ok(())
}

fn print_field(name: &str, text: &str) -> anyhow::Result<()> {
    let text = if text.is_empty() { "-" } else { text };
    ui::print_line(&format!("{name:<24}{text}"))
}
