//! The results: as the tests write them, and as a table.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::progress::seconds;

/// What one fault's test says.
#[derive(Debug, Deserialize)]
pub(super) struct FaultResult {
    pub(super) name: String,
    fault: String,
    runs: u64,
    measured: String,
    bar: String,
    pub(super) ok: bool,
    seconds: f64,
}

impl FaultResult {
    pub(super) fn parse_all<'l>(lines: impl IntoIterator<Item = &'l str>) -> Result<Vec<Self>> {
        let parse = |line| serde_json::from_str(line).with_context(|| format!("no result of a fault: {line}"));
        lines.into_iter().map(parse).collect()
    }
}

/// The table of these faults; one without a result has failed.
pub(super) fn render(names: &[&str], lines: &[FaultResult]) -> String {
    let mut table = String::from("| fault | runs | bar | measured | | time |\n|---|---|---|---|---|---|\n");
    for name in names {
        let Some(line) = lines.iter().rfind(|line| line.name == *name) else {
            let _ = writeln!(table, "| `{name}` | - | - | no result | **FAIL** | - |");
            continue;
        };
        let verdict = if line.ok { "ok" } else { "**FAIL**" };
        let measured = if line.measured.is_empty() { "nothing" } else { &line.measured };
        let time = seconds(Duration::from_secs_f64(line.seconds.max(0.0)));
        let cells = [&line.fault, &line.bar, measured].map(|cell| cell.replace('|', "\\|").replace('\n', " "));
        let [fault, bar, measured] = cells;
        let _ = writeln!(table, "| {fault} (`{name}`) | {} | {bar} | {measured} | {verdict} | {time} |", line.runs);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    const KILL: &str =
        r#"{"name":"kill","fault":"kill -9","runs":10,"measured":"0 | leaked","bar":"0","ok":true,"seconds":1.5}"#;

    #[test]
    fn a_fault_without_a_result_has_failed() {
        let lines = FaultResult::parse_all([KILL, &KILL.replace("true", "false").replace("kill", "stop")]).unwrap();
        let table = render(&["kill", "stop", "power"], &lines);
        let rows: Vec<&str> = table.lines().skip(2).collect();
        assert_eq!(rows.first(), Some(&"| kill -9 (`kill`) | 10 | 0 | 0 \\| leaked | ok | 1.5 s |"));
        assert!(rows.get(1).is_some_and(|row| row.contains("**FAIL**")), "{table}");
        assert!(rows.get(2).is_some_and(|row| row.contains("no result | **FAIL**")), "{table}");
        assert!(FaultResult::parse_all(["nonsense"]).is_err());
    }
}
