//! What a run found, kernel by kernel, as one table. It shows what transcripts hold and judges nothing.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::Outcome;
use super::plan::CHECKS;
use super::transcript::Transcript;
use crate::progress::seconds;

pub(super) fn render(outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    let mut line = |title: &str, cell: &dyn Fn(&Outcome) -> String| {
        let cells: String = outcomes.iter().map(|outcome| format!(" {} |", cell(outcome))).collect();
        let _ = writeln!(text, "| {title} |{cells}");
    };
    line("kernel", &|o| o.kernel.release.clone());
    line("---", &|_| "---".to_owned());
    line("Debian package", &|o| o.kernel.package_version.clone());
    line("seconds to boot", &|o| o.transcript.boot_s.map_or("FAIL".to_owned(), |boot_s| format!("{boot_s:.1}")));
    for check in CHECKS.iter().filter(|check| outcomes.iter().any(|o| o.transcript.has(check.name))) {
        line(check.name, &|o| tests(&o.transcript, check.name));
    }
    // What tests measured: instructions verified and run of each program, the oracle's arrivals, systemd's version.
    for fact in outcomes.iter().flat_map(|o| o.transcript.facts.keys()).collect::<BTreeSet<_>>() {
        line(fact, &|o| o.transcript.facts.get(fact).cloned().unwrap_or_else(|| "-".to_owned()));
    }
    line("time for all of it", &|o| seconds(o.took));
    for outcome in outcomes {
        for (test, feature) in &outcome.transcript.skipped {
            let _ = writeln!(text, "Linux {}: skipped `{test}`: no {feature}", outcome.kernel.release);
        }
    }
    text
}

/// `ok` with a count, or how many failed; `-` for what was not run.
fn tests(transcript: &Transcript, check: &str) -> String {
    if !transcript.has(check) {
        return "-".to_owned();
    }
    match transcript.count(check) {
        (_, 0) => "FAIL: no test ran".to_owned(),
        (passed, ran) if passed == ran && !transcript.is_complete(check) => format!("FAIL: only {ran} ran"),
        (passed, ran) if passed == ran => format!("ok ({ran})"),
        (passed, ran) => format!("FAIL ({} of {ran})", ran - passed),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{kernels::Flavour, plan};
    use super::*;

    #[test]
    fn a_cell_is_ok_only_when_all_of_its_tests_passed() {
        let mut transcript = Transcript::new(&plan::for_kernel((5, 10), Flavour::Cloud, &["load".to_owned()]));
        let mut told = |lines: &[&str]| {
            for line in lines {
                transcript.line(line);
            }
            tests(&transcript, "load")
        };
        assert_eq!(told(&[]), "FAIL: no test ran");
        assert_eq!(told(&["NODEWALL-VM begin load", "running 2 tests", "test load::a ... ok"]), "FAIL: only 1 ran");
        assert_eq!(told(&["test load::b ... ok"]), "ok (2)");
        assert_eq!(told(&["test load::b ... FAILED"]), "FAIL (1 of 2)");
        assert_eq!(tests(&transcript, "network"), "-");
    }
}
