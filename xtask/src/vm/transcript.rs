//! What a guest said, line by line, and what of it is a failure. The guest's lines begin with `NODEWALL-VM`; results of single tests
//! are read from the test harness's own lines. It starts nothing.

use std::collections::BTreeMap;

use super::plan::Planned;

const MARK: &str = "NODEWALL-VM ";

/// As much of one line of a panic as a reader of CI's output needs: some compare whole tables.
const PANIC_CHARS: usize = 2000;

/// A line that the one who drives the guest acts on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    Booted,
    Reboots,
    Began(String),
    Ended(String),
    Done,
}

/// What became of one check.
#[derive(Default)]
struct Check {
    /// How many tests it announced.
    announced: Option<usize>,
    /// Whether each test passed.
    tests: BTreeMap<String, bool>,
    /// Its exit code.
    ended: Option<i32>,
}

/// Everything that a guest said.
#[derive(Default)]
pub(super) struct Transcript {
    /// Seconds since the kernel started, when the guest was ready.
    pub(super) boot_s: Option<f64>,
    /// What fault tests say of themselves, a JSON object each.
    pub(super) faults: Vec<String>,
    /// What tests measured.
    pub(super) facts: BTreeMap<String, String>,
    /// Tests that did not run, and the feature that is missing.
    pub(super) skipped: Vec<(String, String)>,
    checks: BTreeMap<String, Check>,
    current: Option<String>,
    /// The test whose line was begun and not ended: with one thread the harness writes its name before it runs, and what it says comes between.
    open: Option<String>,
    expected: Vec<String>,
    problems: Vec<String>,
    /// What panics said, and whether the last line was of one.
    panics: Vec<String>,
    in_panic: bool,
}

impl Transcript {
    pub(super) fn new(plan: &[Planned]) -> Self {
        let skipped = plan.iter().flat_map(|check| &check.skipped);
        Self {
            expected: plan.iter().map(|check| check.name.to_owned()).collect(),
            skipped: skipped.map(|(test, feature)| ((*test).to_owned(), feature.clone())).collect(),
            ..Self::default()
        }
    }

    /// Takes one line of the guest.
    pub(super) fn line(&mut self, line: &str) -> Option<Event> {
        let Some((before, said)) = line.split_once(MARK) else {
            self.harness(line);
            return None;
        };
        self.harness(before);
        let mut words = said.split_whitespace();
        match (words.next()?, words.next()) {
            ("boot", _) => {
                self.boot_s = self.boot_s.or_else(|| words.next()?.parse().ok());
                Some(Event::Booted)
            }
            ("reboot", _) => Some(Event::Reboots),
            ("begin", Some(check)) => {
                self.current = Some(check.to_owned());
                Some(Event::Began(check.to_owned()))
            }
            ("end", Some(check)) => {
                let code = words.next().and_then(|code| code.parse().ok()).unwrap_or(-1);
                self.checks.entry(check.to_owned()).or_default().ended = Some(code);
                (self.current, self.open) = (None, None);
                Some(Event::Ended(check.to_owned()))
            }
            ("fact", Some(key)) => {
                self.facts.insert(key.to_owned(), words.collect::<Vec<_>>().join(" "));
                None
            }
            ("fault", _) => {
                self.faults.extend(said.strip_prefix("fault ").map(str::to_owned));
                None
            }
            ("skip", Some(test)) => {
                self.skipped.push((test.to_owned(), words.collect::<Vec<_>>().join(" ")));
                None
            }
            ("done", _) => Some(Event::Done),
            _ => {
                self.problems.push(said.to_owned());
                None
            }
        }
    }

    /// `test name ... ok`, as Rust's test harness writes it; `ok` is on a later line when the test itself says something.
    fn harness(&mut self, line: &str) {
        let Some(check) = &self.current else { return };
        let check = self.checks.entry(check.clone()).or_default();
        let announced = line.strip_prefix("running ").and_then(|rest| rest.split(' ').next()?.parse().ok());
        check.announced = announced.or(check.announced);
        let ends_panic = ["note: ", "test ", "FAILED"].iter().any(|beginning| line.starts_with(beginning));
        self.in_panic = line.contains(" panicked at ") || (self.in_panic && !ends_panic);
        if self.in_panic && !line.is_empty() {
            self.panics.push(line.chars().take(PANIC_CHARS).collect());
        }
        let open = self.open.take();
        let (name, verdict) = match line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ")) {
            Some((name, verdict)) => (Some(name.to_owned()), verdict),
            None => (open, line),
        };
        match verdict.trim() {
            verdict @ ("ok" | "FAILED") => check.tests.extend(name.map(|name| (name, verdict == "ok"))),
            _ => self.open = name,
        }
    }

    /// Takes in what another guest of the same kernel said. The time to boot, and what both measured, stay those of the first: the plain one.
    pub(super) fn absorb(&mut self, other: Self) {
        self.boot_s = self.boot_s.or(other.boot_s);
        self.checks.extend(other.checks);
        self.faults.extend(other.faults);
        for (fact, value) in other.facts {
            self.facts.entry(fact).or_insert(value);
        }
        self.skipped.extend(other.skipped);
        self.expected.extend(other.expected);
        self.problems.extend(other.problems);
        self.panics.extend(other.panics);
    }

    pub(super) fn problem(&mut self, what: String) {
        self.problems.push(what);
    }

    /// Whether this check was to be run.
    pub(super) fn has(&self, check: &str) -> bool {
        self.expected.iter().any(|name| name == check)
    }

    /// How many tests of the check passed, and how many ran.
    pub(super) fn count(&self, check: &str) -> (usize, usize) {
        let tests = || self.checks.get(check).into_iter().flat_map(|check| check.tests.values());
        (tests().filter(|passed| **passed).count(), tests().count())
    }

    /// Whether every test that the check announced has a result.
    pub(super) fn is_complete(&self, check: &str) -> bool {
        self.checks.get(check).is_some_and(|check| check.announced == Some(check.tests.len()))
    }

    /// What failed tests said.
    pub(super) fn panics(&self) -> &[String] {
        &self.panics
    }

    /// Every failure, a line each. A check that ran no test is one.
    pub(super) fn failures(&self) -> Vec<String> {
        let mut failures = self.problems.clone();
        for (name, check) in &self.checks {
            let failed = check.tests.iter().filter(|(_, passed)| !**passed);
            failures.extend(failed.map(|(test, _)| format!("{name}: {test} failed")));
        }
        for check in &self.expected {
            let (_, ran) = self.count(check);
            match self.checks.get(check).and_then(|check| check.ended) {
                None => failures.push(format!("{check}: did not come to its end")),
                Some(0) if ran == 0 => failures.push(format!("{check}: no test ran")),
                Some(0) if self.is_complete(check) => {}
                Some(0) => failures.push(format!("{check}: results of tests are missing")),
                Some(code) => failures.push(format!("{check}: exit code {code}")),
            }
        }
        failures
    }
}

#[cfg(test)]
mod tests {
    use super::super::{kernels::Flavour, plan};
    use super::*;

    fn told(lines: &[&str]) -> Transcript {
        let mut transcript = Transcript::new(&plan::for_kernel((6, 1), Flavour::Cloud, &["load".to_owned()]));
        for line in lines {
            transcript.line(line);
        }
        transcript
    }

    const GOOD: [&str; 7] = [
        "NODEWALL-VM boot 6.1.0-50-cloud-amd64 2.84",
        "NODEWALL-VM begin load",
        "running 1 test",
        "NODEWALL-VM fact nodewall 6685 977",
        "test load::every_entry ... ok",
        "NODEWALL-VM end load 0",
        "NODEWALL-VM done",
    ];

    #[test]
    fn a_good_run_has_no_failures() {
        let transcript = told(&GOOD);
        assert_eq!(transcript.failures(), Vec::<String>::new());
        assert_eq!(transcript.boot_s, Some(2.84));
        assert_eq!(transcript.facts["nodewall"], "6685 977");
        assert_eq!(transcript.count("load"), (1, 1));
    }

    /// A hardened guest translates the same program to more instructions.
    #[test]
    fn what_the_first_guest_measured_stays() {
        let mut first = told(&GOOD);
        first.absorb(told(&["NODEWALL-VM fact nodewall 6685 3027", "NODEWALL-VM fact only_here 1"]));
        assert_eq!((first.facts["nodewall"].as_str(), first.facts["only_here"].as_str()), ("6685 977", "1"));
    }

    #[test]
    fn a_test_may_say_something_before_its_result() {
        let said = |result: &str| {
            let transcript = told(&[
                "NODEWALL-VM begin load",
                "running 2 tests",
                "test load::talks ... NODEWALL-VM fact nodewall 6685 977",
                "NODEWALL-VM fact another 1",
                "something else",
                result,
                "test load::quiet ... ok",
                "ok",
                "NODEWALL-VM end load 0",
            ]);
            assert_eq!(transcript.facts["nodewall"], "6685 977");
            transcript.failures()
        };
        assert_eq!(said("ok"), Vec::<String>::new());
        assert_eq!(said("FAILED"), ["load: load::talks failed"]);
        assert_eq!(said("NODEWALL-VM fact no result"), ["load: results of tests are missing"]);
    }

    #[test]
    fn what_a_failed_test_said_is_kept() {
        let lines = [
            "NODEWALL-VM begin load",
            "running 1 test",
            "test load::every_entry ... ",
            "thread 'load::every_entry' (1) panicked at load.rs:1:1:",
            "no such program",
            "in two lines",
            "note: run with `RUST_BACKTRACE=1`",
            "FAILED",
        ];
        let transcript = told(&lines);
        assert_eq!(transcript.panics(), &lines[3..6]);
        assert!(transcript.failures().contains(&"load: load::every_entry failed".to_owned()));
    }

    #[test]
    fn whatever_is_missing_or_failed_is_a_failure() {
        for (at, instead, expected) in [
            (4, "test load::every_entry ... FAILED", "load: load::every_entry failed"),
            (4, "", "load: no test ran"),
            (2, "running 2 tests", "load: results of tests are missing"),
            (5, "NODEWALL-VM end load 137", "load: exit code 137"),
            (5, "", "load: did not come to its end"),
            (3, "NODEWALL-VM module veth.ko could not be loaded", "module veth.ko could not be loaded"),
        ] {
            let mut lines = GOOD;
            lines[at] = instead;
            assert_eq!(told(&lines).failures(), [expected]);
        }
        assert_eq!(told(&[]).failures(), ["load: did not come to its end"]);
    }
}
