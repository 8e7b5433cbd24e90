//! The results: as the tests write them, as a table, and in docs/RELIABILITY.md between its markers. The rest of that page belongs to people.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::progress::seconds;
use crate::vm;

const MARKERS: [&str; 2] =
    ["<!-- begin: written by cargo xtask faults --full -->\n", "<!-- end: written by cargo xtask faults --full -->"];

/// What one fault's test says.
#[derive(Debug, Deserialize)]
pub(super) struct Line {
    pub(super) name: String,
    fault: String,
    runs: u64,
    measured: String,
    bar: String,
    pub(super) ok: bool,
    seconds: f64,
}

impl Line {
    pub(super) fn parse_all(lines: &[String]) -> Result<Vec<Self>> {
        lines
            .iter()
            .map(|line| serde_json::from_str(line).with_context(|| format!("no result of a fault: {line}")))
            .collect()
    }
}

/// The table of these faults; one without a result has failed.
pub(super) fn render(names: &[&str], lines: &[Line]) -> String {
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

/// When and where this was measured.
pub(super) fn heading(kernel: &str, guest_kernel: Option<&str>, took: Duration) -> String {
    let guest = guest_kernel.map(|release| format!(", guests with Linux {release}")).unwrap_or_default();
    format!("Run on {}, Linux {kernel}{guest}, in {}.", vm::date(SystemTime::now()), seconds(took))
}

/// The page with another table.
pub(super) fn put_into(page: &str, table: &str) -> Result<String> {
    let [begin, end] = MARKERS;
    let (before, rest) = page.split_once(begin).context(missing(begin))?;
    let (_, after) = rest.split_once(end).context(missing(end))?;
    Ok(format!("{before}{begin}\n{table}\n{end}{after}"))
}

fn missing(marker: &str) -> String {
    format!("docs/RELIABILITY.md lacks the line {:?}; put it back", marker.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KILL: &str =
        r#"{"name":"kill","fault":"kill -9","runs":10,"measured":"0 | leaked","bar":"0","ok":true,"seconds":1.5}"#;

    #[test]
    fn a_fault_without_a_result_has_failed() {
        let lines = Line::parse_all(&[KILL.to_owned(), KILL.replace("true", "false").replace("kill", "stop")]).unwrap();
        let table = render(&["kill", "stop", "power"], &lines);
        let rows: Vec<&str> = table.lines().skip(2).collect();
        assert_eq!(rows.first(), Some(&"| kill -9 (`kill`) | 10 | 0 | 0 \\| leaked | ok | 1.5 s |"));
        assert!(rows.get(1).is_some_and(|row| row.contains("**FAIL**")), "{table}");
        assert!(rows.get(2).is_some_and(|row| row.contains("no result | **FAIL**")), "{table}");
        assert!(Line::parse_all(&["nonsense".to_owned()]).is_err());
    }

    #[test]
    fn only_what_is_between_the_markers_is_written() {
        let page = format!("before\n{}old\n{}\nafter\n", MARKERS[0], MARKERS[1]);
        let written = put_into(&page, "new").unwrap();
        assert_eq!(written, format!("before\n{}\nnew\n{}\nafter\n", MARKERS[0], MARKERS[1]));
        assert!(put_into("no markers", "new").is_err());
    }

    #[test]
    fn the_page_has_its_markers() {
        let page = std::fs::read_to_string(crate::workspace::root().join("docs/RELIABILITY.md")).unwrap();
        assert!(put_into(&page, "").is_ok());
    }
}
