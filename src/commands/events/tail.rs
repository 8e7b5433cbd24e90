//! `nodewall events tail`: what is recorded from now on, until it is interrupted or nobody reads it any more.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use serde::Serialize;

use super::{EndSignals, FINE, Failure, block_on, is_closed, store};
use crate::{
    cli::{Common, Output, RecordId, RecordKind, TailArgs},
    ui,
    view::evidence::{CaptureRow, EventRow, FlowRow, LossRow, Row},
};
use nodewall_evidence::{
    store::{FILE, Filter, Reader, Stored},
    when::Zone,
};
use nodewall_text::out::stdout;

/// How often the store is asked.
const EVERY: Duration = Duration::from_millis(500);
/// Records that are asked for at once: bounds memory, however long this process was stopped.
const AT_ONCE: i64 = 512;

pub(in crate::commands) fn run(common: &Common, args: &TailArgs) -> Result<u8, Failure> {
    let (directory, reader) = store(common)?;
    let mut follower = Follower::begin(directory, reader, args, common.output)?;
    block_on(async {
        let mut end = EndSignals::listen()?;
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = end.come() => return Ok(FINE),
                _ = ticks.tick() => {
                    if is_closed(stdout()) {
                        return Ok(FINE);
                    }
                    follower.step()?;
                }
            }
        }
    })?
}

/// How far the store was followed.
struct Follower<'a> {
    directory: PathBuf,
    reader: Reader,
    /// A store that was set aside leaves its name to another file.
    file: Option<u64>,
    /// The last record shown of each kind, in the order of [`KINDS`].
    shown: [i64; 4],
    args: &'a TailArgs,
    output: Output,
}

/// Within a batch what was done comes first: it may explain the rest.
const KINDS: [RecordKind; 4] = [RecordKind::Events, RecordKind::Flows, RecordKind::Captures, RecordKind::Losses];

/// One line: its batch, then its place within.
type Line = ((u64, usize, i64), String);

impl<'a> Follower<'a> {
    fn begin(directory: PathBuf, reader: Reader, args: &'a TailArgs, output: Output) -> Result<Self, Failure> {
        let mut follower = Self { file: file_number(&directory), directory, reader, shown: [0; 4], args, output };
        let last_seq = follower.reader.last_seq()?;
        follower.shown = follower.last_ids(last_seq)?;
        Ok(follower)
    }

    /// The last number of each kind up to a batch.
    fn last_ids(&self, last_seq: u64) -> Result<[i64; 4], Failure> {
        let mut ids = [0; 4];
        for (kind, id) in KINDS.iter().zip(&mut ids) {
            // A batch may have come since: then what is shown next begins with it.
            let newest = Filter { limit: Some(1), ..Filter::default() };
            let (number, seq) = self.newest(*kind, &newest)?;
            *id = if seq <= last_seq { number } else { self.last_before(*kind, number, last_seq)? };
        }
        Ok(ids)
    }

    fn last_before(&self, kind: RecordKind, mut number: i64, last_seq: u64) -> Result<i64, Failure> {
        while number > 0 {
            number -= 1;
            let (found, seq) = self.newest(kind, &Filter { ids: vec![number], ..Filter::default() })?;
            if found == 0 || seq <= last_seq {
                return Ok(number);
            }
        }
        Ok(0)
    }

    /// Number and batch of the first record that a filter finds; zeroes: none.
    fn newest(&self, kind: RecordKind, filter: &Filter) -> Result<(i64, u64), Failure> {
        fn of<T>(found: &[Stored<T>]) -> (i64, u64) {
            found.first().map_or((0, 0), |stored| (stored.id, stored.seq))
        }
        Ok(match kind {
            RecordKind::Flows => of(&self.reader.flows(filter)?),
            RecordKind::Captures => of(&self.reader.captures(filter)?),
            RecordKind::Losses => of(&self.reader.losses(filter)?),
            RecordKind::Events => of(&self.reader.events(filter)?),
        })
    }

    /// Shows what is new.
    fn step(&mut self) -> Result<(), Failure> {
        self.reopen_if_replaced()?;
        let last_seq = self.reader.last_seq()?;
        let last = self.last_ids(last_seq)?;
        loop {
            let mut lines: Vec<Line> = Vec::new();
            let mut is_done = true;
            for (place, kind) in KINDS.into_iter().enumerate() {
                let (Some(shown), Some(last)) = (self.shown.get_mut(place), last.get(place)) else { continue };
                let from = *shown + 1;
                let to = (*last).min(*shown + AT_ONCE);
                if from > to {
                    continue;
                }
                *shown = to;
                is_done &= to == *last;
                self.read(kind, place, from, to, &mut lines)?;
            }
            lines.sort_by_key(|(order, _)| *order);
            let mut out = ui::Lines::new();
            lines.iter().try_for_each(|(_, line)| out.print(line))?;
            out.finish()?;
            if is_done {
                return Ok(());
            }
        }
    }

    fn reopen_if_replaced(&mut self) -> Result<(), Failure> {
        let file = file_number(&self.directory);
        if file == self.file || file.is_none() {
            return Ok(());
        }
        if let Some(reader) = Reader::open(&self.directory)? {
            tracing::warn!("the store was set aside and a new one begun; `nodewall status` may say why");
            (self.reader, self.file, self.shown) = (reader, file, [0; 4]);
        }
        Ok(())
    }

    fn read(&self, kind: RecordKind, place: usize, from: i64, to: i64, lines: &mut Vec<Line>) -> Result<(), Failure> {
        let matching = &self.args.matching;
        if matches!(kind, RecordKind::Losses | RecordKind::Events) && !matching.is_all() {
            return Ok(());
        }
        let filter = Filter { ids: (from..=to).collect(), ..matching.filter() };
        let reader = &self.reader;
        match kind {
            RecordKind::Flows => self.lines(kind, place, &reader.flows(&filter)?, FlowRow::of, lines),
            RecordKind::Captures => self.lines(kind, place, &reader.captures(&filter)?, CaptureRow::of, lines),
            RecordKind::Losses => self.lines(kind, place, &reader.losses(&filter)?, LossRow::of, lines),
            RecordKind::Events => self.lines(kind, place, &reader.events(&filter)?, EventRow::of, lines),
        }?;
        Ok(())
    }

    fn lines<T, R: Row>(
        &self,
        kind: RecordKind,
        place: usize,
        found: &[Stored<T>],
        row: fn(&Stored<T>, &Zone) -> R,
        lines: &mut Vec<Line>,
    ) -> anyhow::Result<()> {
        for stored in found {
            let row = row(stored, &self.args.tz);
            let line = match self.output {
                Output::Table | Output::Csv => plain_line(RecordId { kind, number: stored.id }, &row),
                Output::Json | Output::Jsonl => {
                    ui::json_line(&Tailed { kind: word(kind), row }).context("can not show a record")?
                }
            };
            lines.push(((stored.seq, place, stored.id), line));
        }
        Ok(())
    }
}

/// A record that says of which kind it is.
#[derive(Serialize)]
struct Tailed<R> {
    kind: &'static str,
    #[serde(flatten)]
    row: R,
}

const fn word(kind: RecordKind) -> &'static str {
    match kind {
        RecordKind::Flows => "flow",
        RecordKind::Captures => "capture",
        RecordKind::Losses => "loss",
        RecordKind::Events => "event",
    }
}

/// The cells of a table's row, one after the other: a table's width is not known before its end.
fn plain_line(id: RecordId, row: &impl Row) -> String {
    let rest = row.table().get(1..).unwrap_or_default().join("  ");
    format!("{:<7} {rest}", id.to_string())
}

fn file_number(directory: &Path) -> Option<u64> {
    fs::metadata(directory.join(FILE)).ok().map(|data| data.ino())
}
