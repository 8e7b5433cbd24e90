//! What libFuzzer's log says: numbers, the panic, the input. Reads text only.

use std::fmt;
use std::path::PathBuf;

/// Bytes of an input that are printed; the file has all of them.
const SHOWN_BYTES: usize = 512;
/// Lines of a panic that are printed.
const SHOWN_LINES: usize = 12;

/// The numbers of a run; 0 where the log does not say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Inputs that were run.
    pub(super) executions: u64,
    /// The same per second, on average.
    per_second: u64,
    /// Edges of the control flow that were reached.
    edges: u64,
    /// Inputs that are worth keeping.
    corpus: u64,
}

impl Outcome {
    pub(super) fn read(log: &str) -> Self {
        let statistic = |name: &str| {
            log.lines().rev().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or_default()
        };
        // "#123 DONE   cov: 45 ft: 67 corp: 8/90b …", where also NEW, REDUCE and pulse stand.
        let status = log.lines().rev().find(|line| line.starts_with('#') && line.contains(" cov: "));
        let field = |name: &str| {
            let after = status?.split_once(name)?.1;
            after.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        };
        Self {
            executions: statistic("stat::number_of_executed_units:"),
            per_second: statistic("stat::average_exec_per_sec:"),
            edges: field(" cov: ").unwrap_or_default(),
            corpus: field(" corp: ").unwrap_or_default(),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { executions, per_second, edges, corpus } = self;
        write!(out, "{executions:>10} runs, {per_second:>6}/s, {edges:>5} edges, {corpus:>4} inputs kept")
    }
}

/// The lines that say what went wrong: the panic, or the fuzzer's own error, without the stack.
pub(super) fn what_happened(log: &str) -> Vec<&str> {
    let is_first = |line: &&str| line.contains(" panicked at ") || line.contains("ERROR: ");
    log.lines()
        .skip_while(|line| !is_first(line))
        .take_while(|line| !line.starts_with("stack backtrace:") && !line.trim_start().starts_with("#0 "))
        .take(SHOWN_LINES)
        .collect()
}

/// The file that libFuzzer wrote the input to.
pub(super) fn artifact(log: &str) -> Option<PathBuf> {
    log.lines()
        .rev()
        .find_map(|line| line.split_once("Test unit written to ").map(|(_, path)| PathBuf::from(path.trim())))
}

/// The bytes as hexadecimal digits, cut when very long.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text: String = bytes.iter().take(SHOWN_BYTES).map(|byte| format!("{byte:02x}")).collect();
    if bytes.len() > SHOWN_BYTES {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "#2\tINITED cov: 20 ft: 30 corp: 1/1b exec/s: 0 rss: 40Mb\n\
        thread '<unnamed>' (7) panicked at fuzz_targets/decide.rs:22:9:\nassertion failed: a\nstack backtrace:\n   0: x\n\
        ==9== ERROR: libFuzzer: deadly signal\n    #0 0x55 in y\n\
        #194038\tDONE   cov: 2142 ft: 2468 corp: 266/17Kb lim: 1465 exec/s: 27719 rss: 172Mb\n\
        stat::number_of_executed_units: 194038\nstat::average_exec_per_sec:     27719\n\
        artifact_prefix='c/decide-'; Test unit written to c/decide-crash-1\n";

    #[test]
    fn numbers_come_from_the_last_status_and_the_statistics() {
        let expected = Outcome { executions: 194_038, per_second: 27_719, edges: 2142, corpus: 266 };
        assert_eq!(Outcome::read(LOG), expected);
        assert_eq!(Outcome::read("nothing of the kind"), Outcome::default());
    }

    #[test]
    fn a_crash_is_told_by_its_panic_and_its_input() {
        assert_eq!(what_happened(LOG).len(), 2);
        assert!(what_happened(LOG).first().is_some_and(|line| line.contains("decide.rs:22:9")));
        assert_eq!(artifact(LOG), Some(PathBuf::from("c/decide-crash-1")));
        assert_eq!(hex(&[0, 0x4f, 255]), "004fff");
    }
}
