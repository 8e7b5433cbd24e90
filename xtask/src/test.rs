//! `cargo xtask test`: every test of the workspace, or some of them. Plain `cargo test`, so that a fresh machine needs no
//! other runner; its output is left as it is.

use std::path::Path;
use std::{env, fs};

use anyhow::Result;
use clap::ValueEnum;

use crate::cmd::{Cmd, name_of};
use crate::{last_round, setup, workspace};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run only tests whose name contains this
    filter: Option<String>,

    /// Run only these rungs of the ladder (repeatable)
    #[arg(long = "rung", value_enum)]
    rungs: Vec<Rung>,

    /// Also what other people's programs say of what nodewall writes (CONTRIBUTING.md lists it); CI always does
    #[arg(long)]
    all: bool,

    /// Arguments of the test executables, after `--` (such as --nocapture)
    #[arg(last = true, value_name = "ARGS")]
    harness: Vec<String>,
}

impl Args {
    /// Whether tests of this executable are to run.
    fn concerns(&self, target: &str) -> bool {
        self.rungs.is_empty() || self.rungs.iter().any(|rung| name_of(rung) == target)
    }
}

/// Most tests wait for packets that must not come, so more of them than cores run side by side.
const TEST_THREADS: &str = "8";
/// Where random frames begin: a run that gates a change tests the change. Plain `cargo test`, `cargo xtask soak` and the fuzzer go exploring.
const SEED: &str = "1";

/// Tests of other people's programs more than of nodewall: their linters' taste, and that they read what is held to its format elsewhere. Left out unless
/// all are wanted, or one is asked for by its name.
const OF_OTHERS: [(&str, &str); 4] = [
    ("network", "ansible::role::its_linter_has_nothing_to_say_at_the_strictest_profile"),
    ("network", "export::prometheus::promtool_finds_nothing_to_mend_in_the_metrics"),
    ("network", "export::prometheus::prometheus_counts_the_packets_that_were_sent"),
    ("cli", "outputs::duckdb::the_document_s_question_is_answered_over_three_nodes"),
];

/// Compares what two clusters do in time, so it runs when nothing else does: after the others.
const ALONE: (&str, &str) = ("network", "ansible::second_day::a_second_day_is_for_etcd_what_it_is_without_nodewall");

/// One folder below tests/ each.
#[derive(Clone, Copy, ValueEnum)]
enum Rung {
    /// The verdict, the documents, the units and the store of evidence, in this process
    Host,
    /// Frames through the loaded kernel programs, by test run
    Kernel,
    /// Real sockets between network namespaces; what the agent serves; nodes under Ansible, and a cluster of etcd on them
    Network,
    /// The executable: its output and exit codes; questions to the evidence, and its exports
    Cli,
    /// What nodewall asks and tells other machines, against real servers
    Remote,
    /// The delivery oracle: what reaches a socket
    Delivery,
    /// A few runs of every fault
    Faults,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    setup::run()?;
    let in_ci = env::var("CI").is_ok_and(|value| value == "true");
    if !workspace::is_root() && !in_ci {
        eprintln!("note: not root, so tests that load programs or make networks will say that they are skipped");
    }
    let left_out = left_out(args, in_ci);
    let (rung, alone) = ALONE;
    let has_alone = args.filter.is_none() && args.concerns(rung);
    let skipped: Vec<&str> = left_out.iter().copied().chain(has_alone.then_some(alone)).collect();
    let mut command = Cmd::cargo("test").args(cargo_args(args, &skipped));
    if in_ci {
        command = command.env("NODEWALL_REQUIRE_ROOT", "1");
    }
    if env::var_os("RUST_TEST_THREADS").is_none() {
        command = command.env("RUST_TEST_THREADS", TEST_THREADS);
    }
    if env::var_os("NODEWALL_SEED").is_none() {
        command = command.env("NODEWALL_SEED", SEED);
    }
    if (args.all || in_ci) && args.concerns("faults") {
        if last_round::can_be_had() {
            command = command.env(last_round::VARIABLE, last_round::build()?);
        } else {
            println!(
                "this clone is shallow: upgrades from the last round's nodewall are not tested (`git fetch --unshallow`)"
            );
            command = command.env(last_round::VARIABLE, last_round::ABSENT);
        }
    }
    let list = workspace::cargo_target().join(format!("skipped-tests-{}", std::process::id()));
    let mut outcome = command.env("NODEWALL_SKIP_LIST", &list).run();
    if has_alone {
        let mut command = Cmd::cargo("test").args(["--package", "nodewall", "--test", rung, "--", "--exact", alone]);
        if in_ci {
            command = command.env("NODEWALL_REQUIRE_ROOT", "1");
        }
        // One that failed must not hide what the other has to say.
        outcome = command.env("NODEWALL_SKIP_LIST", &list).run().and(outcome);
    }
    report_skips(&list);
    if !left_out.is_empty() {
        println!("{} tests of other people's programs were left out; --all runs them", left_out.len());
    }
    outcome
}

/// Says how many tests did not do their work. The tests write the list; cargo's own summary counts them as passed.
fn report_skips(list: &Path) {
    let Ok(text) = fs::read_to_string(list) else { return };
    let mut names: Vec<&str> = text.lines().collect();
    names.sort_unstable();
    println!("{} tests skipped for lack of privilege (run as root): {}", names.len(), names.join(", "));
    // Ours, and of no use any more.
    let _ = fs::remove_file(list);
}

/// The tests of others' programs that this run does without.
fn left_out(args: &Args, in_ci: bool) -> Vec<&'static str> {
    if args.all || in_ci || args.filter.is_some() {
        return Vec::new();
    }
    OF_OTHERS.iter().filter(|(target, _)| args.concerns(target)).map(|(_, test)| *test).collect()
}

/// What follows `cargo test`.
fn cargo_args(args: &Args, left_out: &[&str]) -> Vec<String> {
    let mut words = if args.rungs.is_empty() { vec!["--workspace"] } else { vec!["--package", "nodewall"] };
    let rungs: Vec<String> = args.rungs.iter().map(name_of).collect();
    words.extend(rungs.iter().flat_map(|rung| ["--test", rung]));
    // One failing rung must not hide what the others have to say.
    words.push("--no-fail-fast");
    words.extend(args.filter.as_deref());
    if !args.harness.is_empty() || !left_out.is_empty() {
        words.push("--");
        words.extend(left_out.iter().flat_map(|test| ["--skip", test]));
        words.extend(args.harness.iter().map(String::as_str));
    }
    words.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> Args {
        Args { filter: None, rungs: Vec::new(), all: false, harness: Vec::new() }
    }

    #[test]
    fn everything_runs_unless_told_otherwise() {
        let all = Args { all: true, ..plain() };
        assert_eq!(cargo_args(&all, &left_out(&all, false)), ["--workspace", "--no-fail-fast"]);
        let some = Args {
            filter: Some("replies".to_owned()),
            rungs: vec![Rung::Kernel, Rung::Cli],
            harness: vec!["--nocapture".to_owned()],
            ..plain()
        };
        assert_eq!(
            cargo_args(&some, &left_out(&some, false)).join(" "),
            "--package nodewall --test kernel --test cli --no-fail-fast replies -- --nocapture"
        );
    }

    /// A test that nobody runs would be a hole: CI runs all, and so does who asks for one by its name.
    #[test]
    fn tests_of_others_programs_are_left_out_only_where_that_is_meant() {
        assert_eq!(left_out(&plain(), false).len(), OF_OTHERS.len());
        assert!(left_out(&plain(), true).is_empty());
        assert!(left_out(&Args { filter: Some("duckdb".to_owned()), ..plain() }, false).is_empty());
        let cli = Args { rungs: vec![Rung::Cli], ..plain() };
        assert_eq!(
            cargo_args(&cli, &left_out(&cli, false)).join(" "),
            "--package nodewall --test cli --no-fail-fast -- --skip \
             outputs::duckdb::the_document_s_question_is_answered_over_three_nodes"
        );
    }

    /// A name that no test has would leave nothing out; one that CONTRIBUTING.md does not list would be left out in secret.
    #[test]
    fn tests_of_others_programs_are_there_and_listed() {
        let listed = fs::read_to_string(workspace::root().join("CONTRIBUTING.md")).unwrap();
        for (target, test) in OF_OTHERS {
            assert!(workspace::has_test(target, &format!("{test}() {{")), "{target} has no {test}");
            assert!(listed.contains(&format!("`{test}`")), "CONTRIBUTING.md does not list {test}");
        }
    }
}
