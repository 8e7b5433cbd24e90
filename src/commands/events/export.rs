//! `nodewall events export`: evidence for other tools, batch by batch, so that a store larger than memory goes through.

use std::io::{BufWriter, Write as _};

use anyhow::Context as _;

use super::super::{
    FINE, Failure,
    evidence_out::{self, Target},
};
use crate::{
    cli::{Common, ExportArgs, ExportFormat},
    control::Good,
};
use nodewall_evidence::{
    ecs::Lines,
    node::Node,
    pcapng::Captures,
    record::{Batch, Capture, EventKind},
    store::{Filter, Numbered, Reader},
};
use nodewall_host::state::StateDir;

/// Written at once.
const BUFFER_BYTES: usize = 256 << 10;

pub(in super::super) fn run(common: &Common, args: &ExportArgs) -> Result<u8, Failure> {
    let filter = filter(args)?;
    let (state, reader) = evidence_out::open(common)?;
    let target = Target::open(&args.write, args.format == ExportFormat::Pcapng)?;
    match args.format {
        ExportFormat::Pcapng => pcapng(&state, &reader, &filter, target)?,
        ExportFormat::Ecs => ecs(&reader, &filter, target)?,
    }
    Ok(FINE)
}

fn filter(args: &ExportArgs) -> Result<Filter, Failure> {
    let now = evidence_out::now_unix_ns();
    let since = args.since.as_ref().map(|when| when.start(now, &args.tz)).transpose();
    let until = args.until.as_ref().map(|when| when.end(now, &args.tz)).transpose();
    Ok(Filter {
        since_unix_ns: since.context("--since")?,
        until_unix_ns: until.context("--until")?,
        ..args.only.filter()
    })
}

/// Calls `each` with every batch that may hold something, oldest first.
fn batches(
    reader: &Reader,
    filter: &Filter,
    mut each: impl FnMut(Numbered) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut seq = filter.since_unix_ns.map_or(Ok(0), |since| reader.seq_before(since))?;
    // What comes in meanwhile is another export's.
    let last = reader.last_seq()?;
    while seq < last {
        let found = reader.numbered_after(seq)?;
        let Some(end) = found.last().map(|batch| batch.seq) else { break };
        found.into_iter().filter(|batch| batch.seq <= last).try_for_each(&mut each)?;
        seq = end;
    }
    Ok(())
}

fn pcapng(state: &StateDir, reader: &Reader, filter: &Filter, target: Target) -> Result<(), Failure> {
    let is_stdout = target.is_stdout();
    let written = |result| Target::written(is_stdout, result);
    let policy = Good::last(state)?.map(|good| good.policy_sha256);
    let mut policies = reader.events(filter)?;
    policies.retain(|event| event.record.kind == EventKind::Policy);
    // Oldest first; a comment holds 64 KiB, and nobody reads more of them.
    let comments = policies.iter().take(64).rev().map(|event| format!("policy: {}", event.record.detail)).collect();
    let out = BufWriter::with_capacity(BUFFER_BYTES, target);
    let mut file = match Captures::new(out, &Node::here(), policy.as_deref(), comments) {
        Ok(file) => file,
        Err(error) => return written(Err(error)),
    };
    batches(reader, filter, |Numbered { first_capture, batch, .. }| {
        let captures = (first_capture..).zip(&batch.captures);
        let wanted = captures.filter(|(_, capture)| wants_capture(filter, capture));
        let losses = batch.losses.iter().filter(|loss| filter.in_time(loss.first_unix_ns, loss.last_unix_ns));
        written(file.merged(wanted.map(|(id, capture)| (Some(id), capture)), losses))
    })?;
    written(file.finish().and_then(|mut out| out.flush()))
}

fn ecs(reader: &Reader, filter: &Filter, target: Target) -> Result<(), Failure> {
    let is_stdout = target.is_stdout();
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, target);
    let lines = Lines::new(Node::here());
    batches(reader, filter, |Numbered { seq, batch, .. }| {
        let result = wanted(&lines, seq, &batch, filter).try_for_each(|line| writeln!(out, "{line}"));
        Target::written(is_stdout, result)
    })?;
    Target::written(is_stdout, out.flush())
}

fn wants_capture(filter: &Filter, capture: &Capture) -> bool {
    filter.in_time(capture.unix_ns, capture.unix_ns) && filter.is_of(&capture.key)
}

/// Lines of what the filter wants, with the ids that they have among all.
fn wanted<'a>(lines: &'a Lines, seq: u64, batch: &'a Batch, filter: &'a Filter) -> impl Iterator<Item = String> + 'a {
    let in_time = |first, last| filter.in_time(first, last);
    let flows = (0..)
        .zip(&batch.flows)
        .filter(move |(_, flow)| in_time(flow.first_unix_ns, flow.last_unix_ns) && filter.is_of(&flow.key));
    let captures = (0..).zip(&batch.captures).filter(|(_, capture)| wants_capture(filter, capture));
    let losses = (0..).zip(&batch.losses).filter(move |(_, loss)| in_time(loss.first_unix_ns, loss.last_unix_ns));
    let events = (0..).zip(&batch.events).filter(move |(_, event)| in_time(event.unix_ns, event.unix_ns));
    let flows = flows.map(move |(n, flow)| lines.flow(seq, n, flow));
    let captures = captures.map(move |(n, capture)| lines.capture(seq, n, capture));
    let losses = losses.map(move |(n, loss)| lines.loss(seq, n, loss));
    flows.chain(captures).chain(losses).chain(events.map(move |(n, event)| lines.event(seq, n, event)))
}
