//! `cargo xtask ci`: what CI runs, step by step, with a table of times at the end. Stops at the first failure.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::cmd::Cmd;
use crate::progress::seconds;

/// The verbs, each run exactly as a person does.
const STEPS: &[&str] = &["lint", "deny", "test --all", "vm", "dist --check", "fuzz --seconds 15"];

pub(crate) fn run() -> Result<()> {
    let (table, outcome) = run_steps(STEPS, |verb| Cmd::cargo("xtask").args(verb.split(' ')).run());
    eprint!("{table}");
    outcome
}

fn run_steps(verbs: &[&str], run: impl Fn(&str) -> Result<()>) -> (String, Result<()>) {
    let mut table = String::from("\n");
    let mut outcome = Ok(());
    let mut total = Duration::ZERO;
    for verb in verbs {
        let name = format!("cargo xtask {verb}");
        if outcome.is_err() {
            let _ = writeln!(table, "  {name:<30} not run");
            continue;
        }
        eprintln!("==> {name}");
        let started = Instant::now();
        outcome = run(verb);
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
        let run = |verb: &str| if verb == "two" { bail!("broken") } else { Ok(()) };
        let (table, outcome) = run_steps(&["one", "two", "three"], run);
        assert!(outcome.is_err_and(|error| error.to_string() == "broken"));
        let words: Vec<Vec<&str>> =
            table.lines().map(|line| line.split_whitespace().skip(2).take(2).collect()).collect();
        assert_eq!(words.get(1..4), Some(&[vec!["one", "ok"], vec!["two", "FAILED"], vec!["three", "not"]][..]));
    }
}
