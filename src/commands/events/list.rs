//! `nodewall events list`: denied flows, captured frames, losses and events, or sums of flows; in every format.

use std::io;

use anyhow::Context as _;
use serde::Serialize;

use super::{FINE, Failure, UNVERIFIED, store, table};
use crate::{
    cli::{Common, GroupBy, Kind, ListArgs, Output},
    evidence::{
        store::{Filter, Reader},
        when::WhenError,
    },
    state::Clock,
    ui,
    view::{
        evidence::{CaptureRow, EventRow, FlowRow, LossRow, Row},
        evidence_sums::{LossSum, by_hour, by_loss, by_port, by_source},
    },
};

/// In a table without a limit: what a person may scroll through.
const TABLE_LIMIT: usize = 1_000;

/// A list as one document.
#[derive(Serialize)]
struct Document<'a, R> {
    /// What the records are: `flows`, `sources`, …
    kind: &'static str,
    since: Option<String>,
    until: Option<String>,
    /// There are more than `records` shows.
    truncated: bool,
    records: &'a [R],
    /// What is missing of the same time, whatever else was asked for.
    losses: Vec<LossSum>,
}

/// What is asked, with its times made instants.
struct Question<'a> {
    reader: Reader,
    args: &'a ListArgs,
    output: Output,
    filter: Filter,
}

pub(super) fn run(common: &Common, output: Output, args: &ListArgs) -> Result<u8, Failure> {
    let wrong = |error: WhenError| Failure::usage_text(error.to_string());
    let now = Clock::now().unix_ns;
    let since = args.since.as_ref().map(|since| since.start(now, &args.tz)).transpose().map_err(wrong)?;
    let until = args.until.as_ref().map(|until| until.end(now, &args.tz)).transpose().map_err(wrong)?;
    if since.zip(until).is_some_and(|(since, until)| since > until) {
        return Err(Failure::usage_text("--since is after --until: nothing can be in between".to_owned()));
    }
    if args.kind != Kind::Flows && args.group_by.is_some() {
        return Err(Failure::usage_text("--group-by sums flows: leave --kind out".to_owned()));
    }
    if matches!(args.kind, Kind::Losses | Kind::Events) && !args.matching.is_all() {
        let text = "losses and events have no port, source, reason or outcome: leave out --port, --source, --reason and --outcome";
        return Err(Failure::usage_text(text.to_owned()));
    }
    let (_, reader) = store(common)?;
    let filter = Filter { since_unix_ns: since, until_unix_ns: until, ..args.matching.filter() };
    Question { reader, args, output, filter }.answer()?;
    Ok(FINE)
}

impl Question<'_> {
    fn answer(&self) -> Result<(), Failure> {
        let zone = &self.args.tz;
        if let Some(group_by) = self.args.group_by {
            let flows = self.reader.flows(&self.filter)?;
            return match group_by {
                GroupBy::Source => self.print("sources", by_source(&flows, zone)),
                GroupBy::Port => self.print("ports", by_port(&flows, zone)),
                GroupBy::Hour => self.print("hours", by_hour(&flows, zone)),
            };
        }
        // One more than is shown: so it is known whether there is more.
        let filter = Filter { limit: self.limit().map(|limit| limit + 1), ..self.filter.clone() };
        match self.args.kind {
            Kind::Flows => self.print("flows", rows(&self.reader.flows(&filter)?, |flow| FlowRow::of(flow, zone))),
            Kind::Captures => {
                self.print("captures", rows(&self.reader.captures(&filter)?, |capture| CaptureRow::of(capture, zone)))
            }
            Kind::Losses => self.print("losses", rows(&self.reader.losses(&filter)?, |loss| LossRow::of(loss, zone))),
            Kind::Events => {
                self.print("events", rows(&self.reader.events(&filter)?, |event| EventRow::of(event, zone)))
            }
        }
    }

    fn limit(&self) -> Option<usize> {
        let asked = self.args.limit.map(|limit| limit as usize);
        asked.or_else(|| (self.output == Output::Table && self.args.group_by.is_none()).then_some(TABLE_LIMIT))
    }

    fn losses(&self) -> Result<Vec<LossSum>, Failure> {
        let Filter { since_unix_ns, until_unix_ns, .. } = self.filter;
        Ok(by_loss(&self.reader.losses(&Filter { since_unix_ns, until_unix_ns, ..Filter::default() })?))
    }

    fn print<R: Row>(&self, kind: &'static str, mut rows: Vec<R>) -> Result<(), Failure> {
        let limit = self.limit().unwrap_or(usize::MAX);
        let truncated = rows.len() > limit;
        rows.truncate(limit);
        let zone = &self.args.tz;
        match self.output {
            Output::Table => self.print_table(&rows)?,
            Output::Json => {
                let [since, until] =
                    [self.filter.since_unix_ns, self.filter.until_unix_ns].map(|at| at.map(|at| zone.show(at)));
                ui::print_json(&Document { kind, since, until, truncated, records: &rows, losses: self.losses()? })?;
            }
            Output::Jsonl => {
                let mut out = ui::Lines::new();
                rows.iter().try_for_each(|row| out.print(&ui::json_line(row)?))?;
                out.finish()?;
            }
            Output::Csv => print_csv(&rows)?,
        }
        if truncated {
            tracing::warn!("there are more {kind} than these {limit}: ask for less at once, or raise --limit");
        }
        Ok(())
    }

    fn print_table<R: Row>(&self, rows: &[R]) -> Result<(), Failure> {
        let losses = self.losses()?;
        if rows.is_empty() {
            ui::print_line("nothing of the kind is recorded")?;
        } else {
            ui::print_line(&table(rows))?;
        }
        ui::print_line("")?;
        for LossSum { loss, packets, bytes } in losses {
            ui::print_line(&format!("Not in the evidence of this time: {loss}: {packets} packets, {bytes} bytes"))?;
        }
        ui::print_line(UNVERIFIED)?;
        Ok(())
    }
}

fn rows<T, R>(stored: &[T], row: impl Fn(&T) -> R) -> Vec<R> {
    stored.iter().map(row).collect()
}

fn print_csv<R: Row>(rows: &[R]) -> anyhow::Result<()> {
    let mut out = csv::Writer::from_writer(Vec::new());
    let failed = "can not write CSV";
    out.write_record(R::CSV).context(failed)?;
    for row in rows {
        out.write_record(row.csv().iter().map(|cell| csv_cell(cell))).context(failed)?;
    }
    let text = out.into_inner().map_err(|error| io::Error::other(error.to_string())).context(failed)?;
    let mut out = ui::Lines::new();
    // No cell holds a line's end: they are escaped.
    String::from_utf8(text).context(failed)?.lines().try_for_each(|line| out.print(line))?;
    out.finish()
}

/// Safe for a terminal, and for a spreadsheet: what it would take for a formula gets a quote before.
fn csv_cell(cell: &str) -> String {
    let cell = ui::plain(cell);
    let is_formula = cell.starts_with(['=', '+', '-', '@']);
    if is_formula { format!("'{cell}") } else { cell.into_owned() }
}

#[cfg(test)]
mod tests {
    use super::csv_cell;

    #[test]
    fn no_cell_is_a_formula_or_moves_a_cursor() {
        for (cell, written) in [
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@x", "'@x"),
            ("\t=1", "\\t=1"),
            ("\u{1b}[2J\n", "\\u{1b}[2J\\n"),
            ("eth0", "eth0"),
            ("", ""),
        ] {
            assert_eq!(csv_cell(cell), written);
        }
    }
}
