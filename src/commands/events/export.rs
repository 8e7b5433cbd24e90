//! `nodewall events export`: evidence for other tools, batch by batch, so that a store larger than memory goes through.

use std::io::{BufWriter, Write as _};

use anyhow::Context as _;

use super::super::{
    FINE, Failure,
    evidence_out::{self, Target},
};
use crate::{
    cli::{Common, ExportArgs, ExportFormat},
    evidence::{
        node::Node,
        pcapng::Captures,
        record::EventKind,
        select,
        store::{Filter, Numbered, Reader, StoreError},
    },
    state::StateDir,
};

/// Written at once.
const BUFFER_BYTES: usize = 256 << 10;

pub(in super::super) fn run(common: &Common, args: &ExportArgs) -> Result<u8, Failure> {
    let filter = filter(args)?;
    let (state, reader) = evidence_out::open(common)?;
    let target = Target::open(&args.write, args.format == ExportFormat::Pcapng)?;
    match args.format {
        ExportFormat::Pcapng => pcapng(&state, &reader, &filter, target)?,
        ExportFormat::Ecs => return Err(Failure::other(anyhow::anyhow!("not yet"))),
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
        ports: args.ports.clone(),
        sources: args.sources.clone(),
        reasons: args.reasons.clone(),
        outcome: args.outcome,
        ..Filter::default()
    })
}

/// Calls `each` with every batch that may hold something, oldest first.
fn batches(
    reader: &Reader,
    filter: &Filter,
    mut each: impl FnMut(Numbered) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let other = |error: StoreError| Failure::other(error.into());
    let mut seq = filter.since_unix_ns.map_or(Ok(0), |since| reader.seq_before(since)).map_err(other)?;
    // What comes in meanwhile is another export's.
    let last = reader.last_seq().map_err(other)?;
    while seq < last {
        let found = reader.numbered_after(seq).map_err(other)?;
        let Some(end) = found.last().map(|batch| batch.seq) else { break };
        found.into_iter().filter(|batch| batch.seq <= last).try_for_each(&mut each)?;
        seq = end;
    }
    Ok(())
}

fn pcapng(state: &StateDir, reader: &Reader, filter: &Filter, target: Target) -> Result<(), Failure> {
    let is_stdout = target.is_stdout();
    let written = |result| Target::written(is_stdout, result);
    let policy = state.good()?.map(|good| good.policy_sha256);
    let mut policies = reader.events(filter).map_err(|error| Failure::other(error.into()))?;
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
        let wanted = captures.filter(|(_, capture)| select::wants(filter, &capture.key, capture.unix_ns));
        let losses = batch.losses.iter().filter(|loss| select::in_time(filter, loss.first_unix_ns, loss.last_unix_ns));
        written(file.merged(wanted.map(|(id, capture)| (Some(id), capture)), losses))
    })?;
    written(file.finish().and_then(|mut out| out.flush()))
}
