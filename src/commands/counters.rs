//! `nodewall counters`: what was counted, per port, verdict and reason.

use super::{FINE, Failure, live};
use crate::{
    cli::{Common, Format},
    ui,
    view::counters::{Counters, Row},
};

pub(super) fn run(common: &Common) -> Result<u8, Failure> {
    let (_, maps) = live(common)?;
    let counters = Counters::read(&maps)?;
    match common.output {
        Format::Table => print_table(&counters.rows)?,
        Format::Json => ui::print_json(&counters)?,
        Format::Jsonl => ui::print_jsonl(counters.rows)?,
    }
    Ok(FINE)
}

fn print_table(rows: &[Row]) -> anyhow::Result<()> {
    let cells = rows.iter().map(|row| {
        let port = row.port.map(|p| p.to_string()).or_else(|| row.ports.clone());
        vec![
            row.class.clone().unwrap_or_else(|| "-".into()),
            port.unwrap_or_else(|| "-".into()),
            row.protocol.unwrap_or("-").into(),
            row.direction.into(),
            row.outcome.into(),
            row.reason.into(),
            row.packets.to_string(),
            row.bytes.to_string(),
        ]
    });
    let header = ["class", "port", "protocol", "direction", "outcome", "reason", "packets", "bytes"];
    ui::print_line(&ui::table(&header, &[6, 7], cells))
}
