//! `nodewall events list`: denied flows, captured frames, losses and events, or sums of flows; in every format.

use std::ops::ControlFlow;

use anyhow::anyhow;
use serde::Serialize;

use super::{FINE, Failure, UNVERIFIED, store, table};
use crate::{
    cli::{Common, GroupBy, ListArgs, Output, RecordKind},
    ui,
    view::{
        evidence::{CaptureRow, EventRow, FlowRow, LossRow, Row},
        evidence_sums::{ByHour, ByPort, BySource, Group, LossSum, Summing, by_loss},
    },
};
use nodewall_evidence::{
    store::{Filter, Reader, StoreError, Stored},
    when::Zone,
};
use nodewall_host::state::Clock;
use nodewall_text::plain;

/// In a table without a limit: what a person may scroll through.
const TABLE_LIMIT: usize = 1_000;

/// Records that are held at once on their way to lines.
const PAGE: usize = 1 << 16;

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

pub(in crate::commands) fn run(common: &Common, args: &ListArgs) -> Result<u8, Failure> {
    let now = Clock::now().unix_ns;
    let since = args.since.as_ref().map(|since| since.start(now, &args.tz)).transpose().map_err(Failure::usage)?;
    let until = args.until.as_ref().map(|until| until.end(now, &args.tz)).transpose().map_err(Failure::usage)?;
    if since.zip(until).is_some_and(|(since, until)| since > until) {
        return Err(Failure::usage(anyhow!("--since is after --until: nothing can be in between")));
    }
    if args.kind != RecordKind::Flows && args.group_by.is_some() {
        return Err(Failure::usage(anyhow!("--group-by sums flows: leave --kind out")));
    }
    if matches!(args.kind, RecordKind::Losses | RecordKind::Events) && !args.matching.is_all() {
        let text = "losses and events have no port, source, reason or outcome: leave out --port, --source, --reason and --outcome";
        return Err(Failure::usage(anyhow!(text)));
    }
    let (_, reader) = store(common)?;
    let filter = Filter { since_unix_ns: since, until_unix_ns: until, ..args.matching.filter() };
    Question { reader, args, output: common.output, filter }.answer()?;
    Ok(FINE)
}

impl Question<'_> {
    fn answer(&self) -> Result<(), Failure> {
        if let Some(group_by) = self.args.group_by {
            return match group_by {
                GroupBy::Source => self.sums::<BySource>("sources"),
                GroupBy::Port => self.sums::<ByPort>("ports"),
                GroupBy::Hour => self.sums::<ByHour>("hours"),
            };
        }
        match self.args.kind {
            RecordKind::Flows => self.list("flows", Reader::flows, FlowRow::of),
            RecordKind::Captures => self.list("captures", Reader::captures, CaptureRow::of),
            RecordKind::Losses => self.list("losses", Reader::losses, LossRow::of),
            RecordKind::Events => self.list("events", Reader::events, EventRow::of),
        }
    }

    /// A document holds all of its records; of lines no more than a page is held, and the store is let go while they are written: the reader of a pipe may be
    /// slow, and a long look at the store keeps its log from shrinking.
    fn list<T, R: Row>(
        &self,
        kind: &'static str,
        page: impl Fn(&Reader, &Filter) -> Result<Vec<Stored<T>>, StoreError>,
        row: fn(&Stored<T>, &Zone) -> R,
    ) -> Result<(), Failure> {
        let mut lines = Rows::<R>::new(self.output)?;
        let mut filter = self.filter.clone();
        let mut left = self.limit();
        loop {
            let size = left.map_or(PAGE, |left| left.min(PAGE));
            // One more than is shown: so it is known whether there is more.
            filter.limit = Some(size + 1);
            let mut found = page(&self.reader, &filter)?;
            let is_last = found.len() <= size;
            found.truncate(size);
            filter.below = found.last().map(|last| last.id);
            left = left.map(|left| left - found.len());
            for stored in &found {
                lines.push(row(stored, &self.args.tz))?;
            }
            if is_last || left == Some(0) {
                return self.end(kind, lines, !is_last);
            }
        }
    }

    fn sums<G: Group<Row: Row>>(&self, kind: &'static str) -> Result<(), Failure> {
        let mut sums = Summing::<G>::new(&self.args.tz);
        self.reader.each_flow(&self.filter, |flow| {
            sums.add(&flow.record);
            ControlFlow::Continue(())
        })?;
        let limit = self.limit().unwrap_or(usize::MAX);
        let rows = sums.rows(limit.saturating_add(1));
        let truncated = rows.len() > limit;
        let mut lines = Rows::new(self.output)?;
        rows.into_iter().take(limit).try_for_each(|row| lines.push(row))?;
        self.end(kind, lines, truncated)
    }

    fn limit(&self) -> Option<usize> {
        let asked = self.args.limit.map(|limit| limit as usize);
        asked.or_else(|| (self.output == Output::Table).then_some(TABLE_LIMIT))
    }

    fn losses(&self) -> Result<Vec<LossSum>, Failure> {
        let Filter { since_unix_ns, until_unix_ns, .. } = self.filter;
        Ok(by_loss(&self.reader.losses(&Filter { since_unix_ns, until_unix_ns, ..Filter::default() })?))
    }

    fn end<R: Row>(&self, kind: &'static str, rows: Rows<R>, truncated: bool) -> Result<(), Failure> {
        match rows {
            Rows::Held(records) if self.output == Output::Table => self.print_table(&records)?,
            Rows::Held(records) => {
                let [since, until] =
                    [self.filter.since_unix_ns, self.filter.until_unix_ns].map(|at| at.map(|at| self.args.tz.show(at)));
                ui::print_json(&Document { kind, since, until, truncated, records: &records, losses: self.losses()? })?;
            }
            Rows::Lines(mut out, _) => out.finish()?,
        }
        if truncated {
            let limit = self.limit().unwrap_or(usize::MAX);
            tracing::warn!("there are more {kind} than these {limit}: ask for less at once, or raise --limit");
        }
        Ok(())
    }

    fn print_table<R: Row>(&self, rows: &[R]) -> Result<(), Failure> {
        let losses = self.losses()?;
        if rows.is_empty() {
            ui::print_line("nothing of the kind is recorded")?;
        } else {
            table(rows)?;
        }
        ui::print_line("")?;
        for LossSum { loss, is_of_captures, packets, bytes } in losses {
            let amount = if is_of_captures {
                format!("{packets} captures")
            } else {
                format!("{packets} packets, {bytes} bytes")
            };
            ui::print_line(&format!("Not in the evidence of this time: {loss}: {amount}"))?;
        }
        ui::print_line(UNVERIFIED)?;
        Ok(())
    }
}

/// Rows on their way out.
enum Rows<R> {
    /// Until all are there.
    Held(Vec<R>),
    Lines(ui::Lines, fn(&R) -> anyhow::Result<String>),
}

impl<R: Row> Rows<R> {
    fn new(output: Output) -> anyhow::Result<Self> {
        Ok(match output {
            Output::Table | Output::Json => Self::Held(Vec::new()),
            Output::Jsonl => Self::Lines(ui::Lines::new(), |row| ui::json_line(row)),
            Output::Csv => {
                let mut out = ui::Lines::new();
                out.print(R::CSV)?;
                Self::Lines(out, |row| Ok(row.csv()?.iter().map(|cell| csv_cell(cell)).collect::<Vec<_>>().join(",")))
            }
        })
    }

    fn push(&mut self, row: R) -> anyhow::Result<()> {
        match self {
            Self::Held(rows) => rows.push(row),
            Self::Lines(out, text) => out.print(&text(&row)?)?,
        }
        Ok(())
    }
}

/// Safe for a terminal, and for a spreadsheet: what it would take for a formula gets a quote before. Always one line, so that commas and quotes are all that
/// RFC 4180 has to say.
fn csv_cell(cell: &str) -> String {
    let cell = plain(cell);
    let mark = if cell.starts_with(['=', '+', '-', '@']) { "'" } else { "" };
    if cell.contains([',', '"']) { format!("\"{mark}{}\"", cell.replace('"', "\"\"")) } else { format!("{mark}{cell}") }
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
            ("a,b", "\"a,b\""),
            ("=\"x\"", "\"'=\"\"x\"\"\""),
            ("", ""),
        ] {
            assert_eq!(csv_cell(cell), written);
        }
    }
}
