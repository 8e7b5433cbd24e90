//! `nodewall events show`: one record whole. Of a captured frame its headers and its bytes.

use anyhow::anyhow;
use serde::Serialize;
use serde_json::Value;

use super::{FINE, Failure, UNVERIFIED, store};
use crate::{
    cli::{Common, Format, Kind, ShowArgs},
    evidence::{
        layers::{Layer, hex_dump, layers},
        record::Capture,
        store::Filter,
    },
    ui,
    view::evidence::{CaptureRow, EventRow, FlowRow, LossRow},
};

/// A captured frame with all that is known of it.
#[derive(Serialize)]
struct Frame {
    #[serde(flatten)]
    row: CaptureRow,
    /// Its headers, the outermost first.
    layers: Vec<Layer>,
    /// Its bytes, hexadecimal.
    frame: String,
}

pub(super) fn run(common: &Common, args: &ShowArgs) -> Result<u8, Failure> {
    let (_, reader) = store(common)?;
    let filter = Filter { ids: vec![args.id.number], ..Filter::default() };
    let zone = &args.tz;
    let shown = match args.id.kind {
        Kind::Flows => reader.flows(&filter)?.first().map(|flow| show(common, &FlowRow::of(flow, zone), None)),
        Kind::Losses => reader.losses(&filter)?.first().map(|loss| show(common, &LossRow::of(loss, zone), None)),
        Kind::Events => reader.events(&filter)?.first().map(|event| show(common, &EventRow::of(event, zone), None)),
        Kind::Captures => reader.captures(&filter)?.first().map(|stored| {
            let capture = &stored.record;
            let layers = layers(&capture.frame, capture.original_bytes);
            let frame = Frame {
                row: CaptureRow::of(stored, zone),
                layers,
                frame: capture.frame.iter().map(|byte| format!("{byte:02x}")).collect(),
            };
            show(common, &frame, Some((&frame, capture)))
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

fn show(common: &Common, record: &impl Serialize, frame: Option<(&Frame, &Capture)>) -> anyhow::Result<()> {
    match common.output {
        Format::Json => return ui::print_json(record),
        Format::Jsonl => return ui::print_jsonl([record]),
        Format::Table => {}
    }
    let Some((Frame { row, layers, .. }, capture)) = frame else {
        let fields = serde_json::to_value(record)?;
        print_fields(fields.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value)))?;
        return if fields.get("source_verified").is_some() { ui::print_line(UNVERIFIED) } else { Ok(()) };
    };
    let fields = serde_json::to_value(row)?;
    print_fields(fields.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value)))?;
    for layer in layers {
        ui::print_line("")?;
        ui::print_line(layer.layer)?;
        print_fields(layer.fields.iter().map(|(name, value)| (*name, value)))?;
    }
    ui::print_line("")?;
    hex_dump(&capture.frame).iter().try_for_each(|line| ui::print_line(line))?;
    let missing = (capture.original_bytes as usize).saturating_sub(capture.frame.len());
    if missing > 0 {
        ui::print_line(&format!("{missing} more bytes were not kept"))?;
    }
    ui::print_line("")?;
    ui::print_line(UNVERIFIED)
}

/// A name and its value a line; text of several lines (a policy's) as several, below its name.
fn print_fields<'a>(fields: impl Iterator<Item = (&'a str, &'a Value)>) -> anyhow::Result<()> {
    for (name, value) in fields {
        let text = match value {
            Value::Null => "-".to_owned(),
            Value::String(text) if name == "text" => {
                ui::print_line(&format!("  {name}"))?;
                text.lines().try_for_each(|line| ui::print_line(&format!("    {}", ui::plain(line))))?;
                continue;
            }
            Value::String(text) => ui::plain(text).into_owned(),
            value => ui::plain(&value.to_string()).into_owned(),
        };
        ui::print_line(&format!("  {name:<22} {text}"))?;
    }
    Ok(())
}
