//! `cargo xtask ci`: what CI runs, step by step, with a table of times at the end. Stops at the first failure.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::cmd::Cmd;
use crate::progress::seconds;

type Step = (&'static str, fn() -> Result<()>);

/// The steps by the command that a person would type.
const STEPS: &[Step] = &[
    ("cargo xtask lint", || child(&["lint"])),
    ("cargo xtask deny", || child(&["deny"])),
    ("cargo xtask test --all", || child(&["test", "--all"])),
    ("cargo xtask vm", || child(&["vm"])),
    ("cargo xtask dist --check", || child(&["dist", "--check"])),
    ("cargo xtask fuzz --seconds 15", || child(&["fuzz", "--seconds", "15"])),
];

pub(crate) fn run() -> Result<()> {
    let (table, outcome) = run_steps(STEPS);
    eprint!("{table}");
    outcome
}

/// Runs a verb exactly as a person does.
fn child(words: &[&str]) -> Result<()> {
    Cmd::cargo("xtask").args(words).run()
}

fn run_steps(steps: &[Step]) -> (String, Result<()>) {
    let mut table = String::from("\n");
    let mut outcome = Ok(());
    let mut total = Duration::ZERO;
    for (name, step) in steps {
        if outcome.is_err() {
            let _ = writeln!(table, "  {name:<30} not run");
            continue;
        }
        eprintln!("==> {name}");
        let started = Instant::now();
        outcome = step();
        total += started.elapsed();
        let word = if outcome.is_ok() { "ok" } else { "FAILED" };
        let _ = writeln!(table, "  {name:<30} {word:<7} {:>12}", seconds(started.elapsed()));
    }
    let _ = writeln!(table, "  {:<30} {:<7} {:>12}", "total", "", seconds(total));
    (table, outcome)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;

    #[test]
    fn the_first_failure_ends_the_run_and_the_table_says_so() {
        let steps: &[Step] = &[("one", || Ok(())), ("two", || bail!("broken")), ("three", || Ok(()))];
        let (table, outcome) = run_steps(steps);
        assert!(outcome.is_err_and(|error| error.to_string() == "broken"));
        let words: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().take(2).collect()).collect();
        assert_eq!(words.get(1..4), Some(&[vec!["one", "ok"], vec!["two", "FAILED"], vec!["three", "not"]][..]));
    }
}
