//! The data section's tables: which figures stand where.

use anyhow::Result;
use serde_json::json;

use super::{
    Question, SOME_PEERS,
    frames::{Asks, Shape, Traffic},
    instructions::Committed,
    lineup::{
        BEFORE, Lineup, NODEWALL, NODEWALL_ATOMIC, NODEWALL_EVIDENCE, NODEWALL_INTERFACES, NODEWALL_PLAIN, PASS,
        XDP_FILTER,
    },
    sample::Figure,
    sources::SOURCES_WITH_LENGTHS,
};
use crate::report::{Table, short};

/// Frames of the first page: traffic and peers.
const PRODUCTION: [(Shape, Asks, usize); 15] = [
    (Shape::V4, Asks::Peer, SOME_PEERS),
    (Shape::V4, Asks::Public, SOME_PEERS),
    (Shape::V4, Asks::Outsider, SOME_PEERS),
    (Shape::V6, Asks::Peer, SOME_PEERS),
    (Shape::V6, Asks::Public, SOME_PEERS),
    (Shape::V6, Asks::Outsider, SOME_PEERS),
    (Shape::TaggedV4, Asks::Peer, SOME_PEERS),
    (Shape::V4, Asks::Mixed, SOME_PEERS),
    (Shape::V6, Asks::Mixed, SOME_PEERS),
    (Shape::V4, Asks::Flood, SOME_PEERS),
    (Shape::V6, Asks::Flood, SOME_PEERS),
    (Shape::V4, Asks::Mixed, 16_384),
    (Shape::V6, Asks::Mixed, 16_384),
    (Shape::V4, Asks::Flood, 16_384),
    (Shape::V6, Asks::Flood, 16_384),
];

/// Features: what has it, and what is the same without.
const FEATURES: [(&str, &str, &str); 4] = [
    ("evidence", NODEWALL_EVIDENCE, NODEWALL_PLAIN),
    ("per peer, with evidence", NODEWALL, NODEWALL_EVIDENCE),
    ("interface rules, packaged besides", NODEWALL_INTERFACES, NODEWALL),
    ("atomic additions, packaged besides", NODEWALL_ATOMIC, NODEWALL),
];

/// The first page: the packaged program, beside commit 25a784f's and xdp-filter.
pub fn production(frames: &[Figure], peers: &[Figure], committed: &Committed) -> Table {
    let row = |(shape, asks, sources): (Shape, Asks, usize)| {
        let traffic = Traffic::new(shape, asks);
        let of = |program: &str| {
            let all = frames.iter().chain(peers);
            all.into_iter().find(|f| f.traffic == traffic && f.program == program && f.sources == sources)
        };
        let ours = of(NODEWALL)?;
        let own = |program: &str| of(program).map_or_else(String::new, |f| format!("{:+.1}", f.own_ns.median));
        let share = of(BEFORE).map_or_else(String::new, |f| short(ours.own_ns.median / f.own_ns.median));
        let run = committed.of(NODEWALL, traffic).map_or_else(String::new, |run| run.to_string());
        Some(vec![traffic.name(), sources.to_string(), own(NODEWALL), own(BEFORE), share, own(XDP_FILTER), run])
    };
    Table {
        name: "data-production".to_owned(),
        title: format!(
            "ns a packet above bare {PASS} in the same round, evidence and per-peer counters on; instructions from the committed table ({})",
            committed.run.kernel
        ),
        head: ["frame", "peers", NODEWALL, BEFORE, "share", XDP_FILTER, "instructions"].map(str::to_owned).to_vec(),
        rows: PRODUCTION.into_iter().filter_map(row).collect(),
    }
}

/// What a feature that is on adds: medians of differences within a round, and instructions run.
pub fn features(figures: &[Figure], committed: &Committed) -> Table {
    let traffic = Question::Features.traffic();
    let row = |(name, with, without): (&str, &str, &str)| {
        let cell = |traffic: &Traffic| {
            let of = |program: &str| figures.iter().find(|f| f.traffic == *traffic && f.program == program);
            let ns = of(with).zip(of(without)).and_then(|(with, without)| with.above(without));
            let run = |program| committed.of(program, *traffic).map(i64::from);
            let run = run(with).zip(run(without)).map(|(with, without)| with - without);
            let ns = ns.map_or_else(String::new, |ns| format!("{ns:+.1}"));
            let run = run.map_or_else(String::new, |run| format!(" ({run:+})"));
            ns + &run
        };
        std::iter::once(name.to_owned()).chain(traffic.iter().map(cell)).collect()
    };
    Table {
        name: "data-features".to_owned(),
        title: format!("What a feature adds when it is on: ns a packet (instructions run), {SOME_PEERS} peers"),
        head: std::iter::once("feature".to_owned()).chain(traffic.iter().map(|t| t.name())).collect(),
        rows: FEATURES.into_iter().map(row).collect(),
    }
}

/// Median own cost, a row for each traffic, a column for each program.
pub fn by_program(figures: &[Figure]) -> Table {
    let programs: Vec<&str> =
        Question::Frames.programs(false).iter().copied().filter(|p| figures.iter().any(|f| f.program == *p)).collect();
    let row = |traffic: Traffic| {
        let of = |program: &&str| figures.iter().find(|f| f.traffic == traffic && f.program == *program);
        let cell = |program: &&str| match of(program) {
            Some(f) if f.program == PASS => short(f.total_ns.median),
            Some(f) => format!("{:+.1}", f.own_ns.median),
            None => String::new(),
        };
        std::iter::once(traffic.name()).chain(programs.iter().map(cell)).collect()
    };
    Table {
        name: "data-frames".to_owned(),
        title: format!(
            "ns a packet at {SOME_PEERS} peers: bare {PASS} in all (harness included), the others above it in the same round; median"
        ),
        head: std::iter::once("frame").chain(programs.iter().copied()).map(str::to_owned).collect(),
        rows: Question::Frames.traffic().into_iter().map(row).collect(),
    }
}

/// How far the samples of nodewall and of the floor lie apart, and the ratio.
pub fn spread(figures: &[Figure]) -> Table {
    let rows = figures.iter().filter(|f| f.program == NODEWALL).map(|f| {
        let mut row = vec![f.traffic.name()];
        row.extend([f.own_ns.median, f.own_ns.min, f.own_ns.max, f.total_ns.median].map(short));
        row.push(format!("{:.2}", f.ratio));
        row
    });
    Table {
        name: "data-spread".to_owned(),
        title: format!("{NODEWALL}: own cost (median, min, max), whole run, and its ratio to bare {PASS}; ns"),
        head: ["frame", "own", "min", "max", "whole", "ratio"].map(str::to_owned).to_vec(),
        rows: rows.collect(),
    }
}

/// Median own cost, a row for each traffic and program, a column for each number of something.
pub fn by(figures: &[Figure], what: &'static str, number: fn(&Figure) -> usize) -> Table {
    let question = if what == "peers" { Question::Peers } else { Question::Lengths };
    let mut numbers: Vec<usize> = figures.iter().map(number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let mut rows = Vec::new();
    for traffic in question.traffic() {
        for program in question.programs(false).iter().filter(|p| **p != PASS) {
            let cells = numbers.iter().map(|n| {
                let it = figures.iter().find(|f| f.traffic == traffic && f.program == *program && number(f) == *n);
                it.map_or_else(String::new, |f| format!("{:+.1}", f.own_ns.median))
            });
            let row: Vec<String> = [traffic.name(), (*program).to_owned()].into_iter().chain(cells).collect();
            if row.iter().skip(2).any(|cell| !cell.is_empty()) {
                rows.push(row);
            }
        }
    }
    let (name, title) = match question {
        Question::Peers => ("data-peers", format!("own cost by number of {what} (IPv4 and IPv6 each), ns")),
        _ => (
            "data-lengths",
            format!("own cost by number of prefix {what} of each family, {SOURCES_WITH_LENGTHS} sources, ns"),
        ),
    };
    let head = ["frame".to_owned(), "program".to_owned()].into_iter().chain(numbers.iter().map(usize::to_string));
    Table { name: name.to_owned(), title, head: head.collect(), rows }
}

/// What the kernel says of each program, and the same for programs.
pub fn facts(lineup: &Lineup) -> Result<(Table, serde_json::Value)> {
    let (mut rows, mut all) = (Vec::new(), Vec::new());
    for (name, facts, calls) in lineup.facts()? {
        let numbers = [facts.translated_instructions, facts.machine_bytes, facts.verified_instructions];
        let calls_left = calls.to_string();
        rows.push(std::iter::once(name.to_owned()).chain(numbers.map(|n| n.to_string())).chain([calls_left]).collect());
        all.push(json!({
            "program": name,
            "kernel_name": facts.name,
            "translated_instructions": facts.translated_instructions,
            "machine_bytes": facts.machine_bytes,
            "verified_instructions": facts.verified_instructions,
            "calls": calls,
        }));
    }
    let table = Table {
        name: "data-programs".to_owned(),
        title: "The programs: instructions after translation, machine code, what the verifier went through, calls left"
            .to_owned(),
        head: ["program", "instructions", "bytes", "verified", "calls"].map(str::to_owned).to_vec(),
        rows,
    };
    Ok((table, json!(all)))
}
