//! What the store of evidence costs: flow records a second into it, and how long questions for a port and a time take once ten million are there. Every
//! answer is counted against what was put in. It must use what the agent and the commands use, and nothing beside.
//!
//! `cargo bench --bench evidence [-- --records N] [--check]`; without cargo's `--bench` (a test run) a few records.
#![allow(clippy::cast_precision_loss, reason = "figures are shown with three digits")]
#![allow(clippy::print_stdout, reason = "to whoever measures")]

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use node_ebpf_common::Reason;
use nodewall_evidence::{
    record::{Batch, Flow, FlowKey, Outcome},
    store::{Filter, Limits, Reader, Writer},
};
use nodewall_host::state::Clock;

const RECORDS: u64 = 10_000_000;
const RECORDS_OF_A_TEST: u64 = 20_000;
/// Flows of a batch.
const BATCH: u64 = 1_000;
/// The records lie over so long.
const SPAN_NS: u64 = 90 * DAY_NS;
const DAY_NS: u64 = 24 * HOUR_NS;
const HOUR_NS: u64 = 3_600_000_000_000;
/// 2026-08-22.
const BEGAN_NS: u64 = 1_787_356_800_000_000_000;
/// Half of all flows are to the first, the others are even.
const BUSY_PORT: u16 = 9042;
const OTHER_PORTS: u64 = 40;
/// Each question so many times.
const ASKED: usize = 5;

const LEAST_RECORDS_PER_S: f64 = 50_000.0;
const LONGEST_ANSWER: Duration = Duration::from_secs(1);
const ROOMY: Limits = Limits { max_bytes: 1 << 40, max_age_ns: u64::MAX };

/// The n-th flow of `all`, from a mixed number (splitmix64), so that sources do not come in order.
fn flow(n: u64, all: u64) -> Flow {
    let mut mixed = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    let [a, b, c, d, e, ..] = mixed.to_le_bytes();
    let source = if a % 4 == 0 {
        [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, b, c, d, e].into()
    } else {
        [11, b, c, d].into()
    };
    let first_unix_ns = time_of(n, all);
    Flow {
        key: FlowKey {
            source: Some(source),
            protocol: "tcp",
            port: Some(port_of(n)),
            reason: Reason::Outsider,
            outcome: Outcome::Drop,
            interface: "eth0".to_owned(),
        },
        class: Some("cassandra".to_owned()),
        mac: [2, 0, 0, 0, 0, e],
        generation: 1 + n / 1_000_000,
        first_unix_ns,
        last_unix_ns: first_unix_ns,
        packets: 1 + mixed % 100,
        bytes: 60 * (1 + mixed % 100),
    }
}

fn time_of(n: u64, all: u64) -> u64 {
    BEGAN_NS + SPAN_NS / all * n
}

fn port_of(n: u64) -> u16 {
    if n.is_multiple_of(2) { BUSY_PORT } else { 7_000 + u16::try_from(n / 2 % OTHER_PORTS).unwrap_or(0) }
}

/// Writes them; returns records a second over all, and over the slowest tenth. Making the records is not in it; retention is, as the recorder calls it.
fn write(directory: &Path, all: u64) -> Result<(f64, f64)> {
    let mut writer = Writer::open(directory, ROOMY)?.writer;
    let batches = all / BATCH;
    let tenth = (batches / 10).max(1);
    let (mut whole, mut part, mut slowest) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    for n in 0..batches {
        let flows: Vec<Flow> = (n * BATCH..(n + 1) * BATCH).map(|n| flow(n, all)).collect();
        let unix_ns = flows.last().map_or(0, |flow| flow.last_unix_ns);
        let batch =
            Batch { unix_ns, boot_offset_ns: 0, flows, captures: Vec::new(), losses: Vec::new(), events: Vec::new() };
        let began = Instant::now();
        writer.append(&batch)?;
        if n % 64 == 63 {
            writer.retain(&Clock { boot_id: "this".into(), boot_ns: unix_ns, unix_ns })?;
        }
        part += began.elapsed();
        if (n + 1).is_multiple_of(tenth) {
            slowest = slowest.max(part);
            whole += std::mem::take(&mut part);
        }
    }
    whole += part;
    let per_second = |records: u64, time: Duration| records as f64 / time.as_secs_f64();
    Ok((per_second(batches * BATCH, whole), per_second(tenth * BATCH, slowest)))
}

struct Question {
    name: &'static str,
    port: u16,
    /// From and to, of the whole time.
    since_ns: u64,
    until_ns: u64,
}

fn questions() -> Vec<Question> {
    let mut questions = Vec::new();
    for (port, ports) in [
        (BUSY_PORT, ["9042, first day", "9042, a day in the middle", "9042, last day"]),
        (7_001, ["7001, first day", "7001, a day in the middle", "7001, last day"]),
    ] {
        for (name, day) in ports.into_iter().zip([0, 45, 89]) {
            questions.push(Question { name, port, since_ns: day * DAY_NS, until_ns: (day + 1) * DAY_NS - 1 });
        }
    }
    questions.push(Question {
        name: "9042, an hour in the middle",
        port: BUSY_PORT,
        since_ns: 45 * DAY_NS,
        until_ns: 45 * DAY_NS + HOUR_NS,
    });
    questions.push(Question {
        name: "7001, a week in the middle",
        port: 7_001,
        since_ns: 42 * DAY_NS,
        until_ns: 49 * DAY_NS,
    });
    questions.push(Question { name: "65535, never seen, all of it", port: 65_535, since_ns: 0, until_ns: SPAN_NS });
    questions
}

/// How many records answer it: counted from how they were made.
fn expected(question: &Question, all: u64) -> usize {
    let (since, until) = (BEGAN_NS + question.since_ns, BEGAN_NS + question.until_ns);
    (0..all / BATCH * BATCH)
        .filter(|n| port_of(*n) == question.port && (since..=until).contains(&time_of(*n, all)))
        .count()
}

/// Asks as `events list` does, a new reader each time; returns the answers' number, and the median and the longest time.
fn ask(directory: &Path, question: &Question) -> Result<(usize, Duration, Duration)> {
    let filter = Filter {
        since_unix_ns: Some(BEGAN_NS + question.since_ns),
        until_unix_ns: Some(BEGAN_NS + question.until_ns),
        ports: vec![question.port],
        ..Filter::default()
    };
    let mut times = Vec::new();
    let mut found = 0;
    for _ in 0..ASKED {
        let began = Instant::now();
        let reader = Reader::open(directory)?.context("the store is gone")?;
        found = reader.flows(&filter)?.len();
        times.push(began.elapsed());
    }
    times.sort_unstable();
    let median = times.get(ASKED / 2).copied().unwrap_or_default();
    Ok((found, median, times.last().copied().unwrap_or_default()))
}

fn main() -> Result<()> {
    let (mut all, mut is_bench, mut is_checked) = (None, false, false);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--bench" => is_bench = true,
            "--check" => is_checked = true,
            "--records" => all = Some(words.next().context("--records needs a number")?.parse::<u64>()?),
            other => bail!("{other}: known are --records N and --check"),
        }
    }
    let all = all.unwrap_or(if is_bench { RECORDS } else { RECORDS_OF_A_TEST });
    ensure!(all >= BATCH, "at least {BATCH} records");

    let place = tempfile::tempdir()?;
    let (rate, slowest) = write(place.path(), all)?;
    let bytes = std::fs::metadata(place.path().join(nodewall_evidence::store::FILE))?.len();
    println!("{} records, {} bytes each on the disk", all / BATCH * BATCH, bytes / (all / BATCH * BATCH));
    println!("into the store: {rate:.0} records/s, slowest tenth {slowest:.0}");

    let mut worst = Duration::ZERO;
    for question in questions() {
        let (found, median, longest) = ask(place.path(), &question)?;
        let expected = expected(&question, all);
        ensure!(found == expected, "{}: {found} records, but {expected} were put in", question.name);
        println!(
            "| {} | {found} | {:.1} | {:.1} |",
            question.name,
            median.as_secs_f64() * 1e3,
            longest.as_secs_f64() * 1e3
        );
        worst = worst.max(longest);
    }
    if is_checked {
        ensure!(slowest >= LEAST_RECORDS_PER_S, "the slowest tenth was below {LEAST_RECORDS_PER_S:.0} records/s");
        ensure!(worst < LONGEST_ANSWER, "an answer took {worst:?}");
    }
    Ok(())
}
