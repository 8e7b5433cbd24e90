//! What cargo-mutants' outcomes.json says: how many mutants ended how, and which survived. Judges nothing.

use std::fmt;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

/// The file, as far as it is of use here.
#[derive(Deserialize)]
struct Raw {
    /// Nothing until the last mutant is done.
    end_time: Option<String>,
    outcomes: Vec<RawOutcome>,
}

#[derive(Deserialize)]
struct RawOutcome {
    scenario: Scenario,
    summary: String,
    /// The mutation as a patch, below the folder of the outcomes.
    diff_path: Option<String>,
}

#[derive(Deserialize)]
enum Scenario {
    Baseline,
    Mutant(Mutant),
}

#[derive(Deserialize)]
struct Mutant {
    /// `FILE:LINE:COLUMN: what was changed in which function`.
    name: String,
    file: String,
    function: Option<Function>,
    span: Span,
}

#[derive(Deserialize)]
struct Function {
    function_name: String,
}

#[derive(Deserialize)]
struct Span {
    start: Position,
    end: Position,
}

#[derive(Deserialize)]
struct Position {
    line: u32,
}

/// What cargo-mutants leaves behind its changes.
const MARK: &str = "/* ~ changed by cargo-mutants ~ */";

/// How many mutants ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// A test failed.
    pub(super) caught: usize,
    /// No test failed.
    missed: usize,
    /// A test did not end. Not counted as caught: a busy machine does that, too.
    timeouts: usize,
    /// Refused by the compiler, so there was nothing to test.
    unviable: usize,
}

impl Tally {
    /// Those that compiled.
    pub(super) fn viable(self) -> usize {
        self.caught + self.missed + self.timeouts
    }

    /// Of the viable, rounded down: 100 % means all of them. 100 when there are none.
    pub(super) fn percent(self) -> String {
        let permille = (self.caught * 1000).checked_div(self.viable()).unwrap_or(1000);
        format!("{}.{} %", permille / 10, permille % 10)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { caught, missed, timeouts, unviable } = self;
        write!(out, "{caught} caught, {missed} missed, {timeouts} timeouts, {unviable} unviable: ")?;
        write!(out, "{} of the viable are caught", self.percent())
    }
}

/// A mutant that no test noticed, named without its line's number, so that the name outlives changes around it: file, function, and the line as the
/// mutant has it.
pub(super) type Survivor = String;

pub(super) struct Outcomes {
    pub(super) total: Tally,
    survivors: Vec<Survivor>,
}

impl Outcomes {
    /// Reads outcomes.json; `patch` gives the text of a patch that it names. (The sources may have changed since.)
    pub(super) fn read(json: &str, patch: impl Fn(&str) -> Result<String>) -> Result<Self> {
        let raw: Raw = serde_json::from_str(json).context("outcomes.json is not what cargo-mutants 27 writes")?;
        ensure!(raw.end_time.is_some(), "outcomes.json ends early: cargo-mutants was stopped; run it again");
        let mut read = Self { total: Tally::default(), survivors: Vec::new() };
        for RawOutcome { scenario, summary, diff_path } in raw.outcomes {
            let Scenario::Mutant(mutant) = scenario else { continue };
            let tally = &mut read.total;
            match summary.as_str() {
                "CaughtMutant" => tally.caught += 1,
                "MissedMutant" => {
                    tally.missed += 1;
                    let patch = patch(diff_path.as_deref().unwrap_or_default())?;
                    read.survivors.push(survivor(&mutant, &patch));
                }
                "Timeout" => tally.timeouts += 1,
                "Unviable" => tally.unviable += 1,
                other => bail!("{}: unknown outcome {other:?} in outcomes.json", mutant.name),
            }
        }
        Ok(read)
    }

    pub(super) fn survivors(&self) -> &[Survivor] {
        &self.survivors
    }
}

/// A file's path below the crate's `src`.
fn short(file: &str) -> &str {
    file.split_once("/src/").map_or(file, |(_, below)| below)
}

fn survivor(mutant: &Mutant, patch: &str) -> Survivor {
    let place = match &mutant.function {
        Some(function) => format!("{}, {}", short(&mutant.file), function.function_name),
        None => short(&mutant.file).to_owned(),
    };
    let mut added = patch.lines().skip_while(|line| !line.starts_with("@@")).filter_map(|line| line.strip_prefix('+'));
    let change = match added.next() {
        Some(line) if mutant.span.start.line == mutant.span.end.line => line.replace(MARK, ""),
        // Several lines: what cargo-mutants calls it, without the place.
        _ => mutant.name.splitn(4, ':').last().unwrap_or_default().to_owned(),
    };
    let words: Vec<&str> = change.split_whitespace().collect();
    format!("{place}: {}", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(summary: &str, file: &str, mutated: &str, last_line: u32) -> String {
        format!(
            r#"{{"scenario": {{"Mutant": {{"name": "crate/src/{file}:2:7: replace | with ^ in pack", "package": "crate",
                "file": "crate/src/{file}", "function": {{"function_name": "pack", "return_type": ""}},
                "span": {{"start": {{"line": 2, "column": 7}}, "end": {{"line": {last_line}, "column": 8}}}}}}}},
                "summary": "{summary}", "diff_path": "{mutated}"}}"#
        )
    }

    fn read(outcomes: &[String], end_time: &str) -> Result<Outcomes> {
        let baseline = r#"{"scenario": "Baseline", "summary": "Success", "diff_path": null}"#;
        let outcomes = [&[baseline.to_owned()], outcomes].concat().join(",");
        let json = format!(r#"{{"end_time": {end_time}, "outcomes": [{outcomes}]}}"#);
        // The path of a patch is the mutated line here.
        Outcomes::read(&json, |line| {
            Ok(format!("--- a\n+++ b | ^ {MARK}\n@@ -1,3 +1,3 @@\n fn pack() {{\n-    a | b | c\n+    {line}\n }}\n"))
        })
    }

    #[test]
    fn outcomes_are_counted_and_survivors_are_told_apart_by_their_line() {
        let read = read(
            &[
                outcome("MissedMutant", "a.rs", &format!("a ^ {MARK} b | c"), 2),
                outcome("MissedMutant", "a.rs", &format!("a | b ^ {MARK} c"), 2),
                outcome("MissedMutant", "a.rs", &format!("0 {MARK}"), 3),
                outcome("CaughtMutant", "a.rs", "", 2),
                outcome("CaughtMutant", "b.rs", "", 2),
                outcome("Timeout", "b.rs", "", 2),
                outcome("Unviable", "b.rs", "", 2),
            ],
            "\"2026-11-22\"",
        )
        .unwrap();
        assert_eq!(read.total, Tally { caught: 2, missed: 3, timeouts: 1, unviable: 1 });
        assert_eq!(
            read.total.to_string(),
            "2 caught, 3 missed, 1 timeouts, 1 unviable: 33.3 % of the viable are caught"
        );
        assert_eq!(
            read.survivors(),
            ["a.rs, pack: a ^ b | c", "a.rs, pack: a | b ^ c", "a.rs, pack: replace | with ^ in pack"]
        );
    }

    #[test]
    fn what_is_cut_short_or_unknown_is_refused() {
        let caught = [outcome("CaughtMutant", "a.rs", "", 2)];
        assert!(read(&caught, "null").is_err_and(|error| error.to_string().contains("stopped")));
        assert!(read(&[outcome("Vanished", "a.rs", "", 2)], "\"2026\"").is_err());
        assert!(Outcomes::read("{}", |_| Ok(String::new())).is_err());
    }

    #[test]
    fn almost_all_is_not_100_percent() {
        let tally = Tally { caught: 9_999, missed: 1, ..Tally::default() };
        assert!(tally.to_string().contains(" 99.9 %"), "{tally}");
    }
}
