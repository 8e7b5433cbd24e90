//! `nodewall events verify`: reads the whole store and says whether it is as it was written.

use serde::Serialize;

use super::{DEGRADED, FINE, Failure, directory, none, print};
use crate::{
    cli::{Common, VerifyArgs},
    ui,
};
use nodewall_evidence::{
    chain::Verdict,
    store::{Reader, StoreError},
};
use nodewall_text::hex;

/// The kind of fault that only a database has.
const UNREADABLE: &str = "unreadable";

#[derive(Serialize)]
struct Report {
    sound: bool,
    batches: u64,
    records: u64,
    first_batch: Option<u64>,
    last_batch: Option<u64>,
    /// Hash of the last sound batch.
    head: Option<String>,
    /// The head that was given, and found in the chain if it is sound.
    anchor: Option<String>,
    fault: Option<FaultReport>,
}

#[derive(Serialize)]
struct FaultReport {
    /// `altered`, `removed`, `inserted`; `unreadable`: the database is damaged.
    kind: &'static str,
    batch: Option<u64>,
    record: Option<String>,
    text: String,
}

pub(in crate::commands) fn run(common: &Common, args: VerifyArgs) -> Result<u8, Failure> {
    let anchor = args.head.map(|head| hex(&head));
    let unreadable = |problem: String| Report {
        sound: false,
        batches: 0,
        records: 0,
        first_batch: None,
        last_batch: None,
        head: None,
        anchor: anchor.clone(),
        fault: Some(FaultReport { kind: UNREADABLE, batch: None, record: None, text: problem }),
    };
    let directory = directory(common)?.ok_or_else(|| none(common))?;
    let verdict = Reader::open(&directory).and_then(|reader| reader.map(|reader| reader.verify(args.head)).transpose());
    let report = match verdict {
        Ok(verdict) => Report::of(verdict.ok_or_else(|| none(common))?, anchor),
        Err(error @ StoreError::Damaged { .. }) => unreadable(error.to_string()),
        Err(error) => return Err(error.into()),
    };
    print(common, &report, print_text)?;
    Ok(if report.sound { FINE } else { DEGRADED })
}

impl Report {
    fn of(verdict: Verdict, anchor: Option<String>) -> Self {
        let Verdict { batches, records, head, first_seq, last_seq, fault } = verdict;
        let some = |seq: u64| (batches > 0).then_some(seq);
        Self {
            sound: fault.is_none(),
            batches,
            records,
            first_batch: some(first_seq),
            last_batch: some(last_seq),
            head: Some(hex(&head)),
            anchor,
            fault: fault.map(|fault| FaultReport {
                kind: fault.kind(),
                batch: Some(fault.seq),
                record: fault.record.clone(),
                text: fault.to_string(),
            }),
        }
    }
}

fn print_text(report: &Report) -> anyhow::Result<()> {
    if let Some(FaultReport { kind: UNREADABLE, text, .. }) = &report.fault {
        ui::print_line("not sound: it can not be read")?;
        return ui::print_line(&format!("fault    {text}"));
    }
    let span = report.first_batch.zip(report.last_batch);
    let batches = span.map_or_else(String::new, |(first, last)| format!(" ({first} to {last})"));
    let what = if report.fault.is_some() { "sound up to a fault" } else { "sound" };
    ui::print_line(&format!("{what}: {} batches{batches}, {} records", report.batches, report.records))?;
    if let Some(head) = &report.head {
        ui::print_line(&format!("head     {head}"))?;
    }
    if let (Some(anchor), true) = (&report.anchor, report.sound) {
        ui::print_line(&format!("anchor   {anchor}: in the chain"))?;
    }
    if let Some(fault) = &report.fault {
        ui::print_line(&format!("fault    {}", fault.text))?;
    }
    if report.sound && report.anchor.is_none() {
        ui::print_line(
            "The chain alone can not show that all of it was written anew; --head compares with a head noted elsewhere.",
        )?;
    }
    Ok(())
}
