//! The data section's tables: which figures stand where.

use anyhow::Result;
use serde_json::json;

use super::{
    Question, SOME_PEERS,
    bars::VERIFIED_INSTRUCTIONS,
    frames::Traffic,
    lineup::{Lineup, NODEWALL, NODEWALL_LINEAR, PASS},
    sample::Figure,
    sources::SOURCES_WITH_LENGTHS,
};
use crate::report::{Bar, Table, short};

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

/// What the kernel says of each program, the bars on it, and the same for programs.
pub fn facts(lineup: &Lineup) -> Result<(Table, Vec<Bar>, serde_json::Value)> {
    let (mut rows, mut bars, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for (name, facts, calls) in lineup.facts()? {
        let numbers = [facts.translated_instructions, facts.machine_bytes, facts.verified_instructions];
        let calls_left = calls.to_string();
        rows.push(std::iter::once(name.to_owned()).chain(numbers.map(|n| n.to_string())).chain([calls_left]).collect());
        if [NODEWALL, NODEWALL_LINEAR].contains(&name) {
            let verified = f64::from(facts.verified_instructions);
            let limit = f64::from(VERIFIED_INSTRUCTIONS);
            bars.push(Bar::at_most(format!("verified instructions, {name}"), limit, verified, ""));
        }
        if name == NODEWALL_LINEAR {
            bars.push(Bar::at_most(format!("calls left, {name}"), 0.0, calls as f64, ""));
        }
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
    Ok((table, bars, json!(all)))
}
