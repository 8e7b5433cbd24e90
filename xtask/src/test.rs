//! `cargo xtask test`: every test of the workspace, or some of them. Plain `cargo test`, so that a fresh machine needs no
//! other runner; its output is left as it is.

use std::path::Path;
use std::{env, fs};

use anyhow::Result;
use clap::ValueEnum;

use crate::cmd::Cmd;
use crate::{setup, workspace};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run only tests whose name contains this
    filter: Option<String>,

    /// Run only these rungs of the ladder (repeatable)
    #[arg(long = "rung", value_enum)]
    rungs: Vec<Rung>,

    /// Arguments of the test executables, after `--` (such as --nocapture)
    #[arg(last = true, value_name = "ARGS")]
    harness: Vec<String>,
}

/// Most tests wait for packets that must not come, so more of them than cores run side by side.
const TEST_THREADS: &str = "8";
/// Where random frames begin: a run that gates a change tests the change. Plain `cargo test`, `cargo xtask soak` and the fuzzer go exploring.
const SEED: &str = "1";

/// One file below tests/ each.
#[derive(Clone, Copy, ValueEnum)]
enum Rung {
    /// The verdict function and the policy compiler, in ordinary memory
    Host,
    /// The same cases through the loaded kernel program, by test run
    Kernel,
    /// Real sockets between network namespaces
    Network,
    /// The executable: its output and exit codes
    Cli,
    /// Questions to the evidence: the executable over a store that the test wrote
    Events,
    /// Evidence as it leaves the node, read by tshark, rsyslog, a database and Chromium
    Outputs,
    /// Three nodes, rolled out by Ansible
    Ansible,
}

impl Rung {
    fn target(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Kernel => "kernel",
            Self::Network => "network",
            Self::Cli => "cli",
            Self::Events => "events",
            Self::Outputs => "outputs",
            Self::Ansible => "ansible",
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    setup::run()?;
    let in_ci = env::var("CI").is_ok_and(|value| value == "true");
    if !workspace::is_root() && !in_ci {
        eprintln!("note: not root, so tests that load programs or make networks will say that they are skipped");
    }
    let mut command = Cmd::cargo("test").args(cargo_args(args));
    if in_ci {
        command = command.env("NODEWALL_REQUIRE_ROOT", "1");
    }
    if env::var_os("RUST_TEST_THREADS").is_none() {
        command = command.env("RUST_TEST_THREADS", TEST_THREADS);
    }
    if env::var_os("NODEWALL_SEED").is_none() {
        command = command.env("NODEWALL_SEED", SEED);
    }
    let list = workspace::cargo_target().join(format!("skipped-tests-{}", std::process::id()));
    let outcome = command.env("NODEWALL_SKIP_LIST", &list).run();
    report_skips(&list);
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

/// What follows `cargo test`.
fn cargo_args(args: &Args) -> Vec<&str> {
    let mut words = if args.rungs.is_empty() { vec!["--workspace"] } else { vec!["--package", "nodewall"] };
    for rung in &args.rungs {
        words.extend(["--test", rung.target()]);
    }
    // One failing rung must not hide what the others have to say.
    words.push("--no-fail-fast");
    words.extend(args.filter.as_deref());
    if !args.harness.is_empty() {
        words.push("--");
        words.extend(args.harness.iter().map(String::as_str));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_runs_unless_told_otherwise() {
        let all = Args { filter: None, rungs: Vec::new(), harness: Vec::new() };
        assert_eq!(cargo_args(&all), ["--workspace", "--no-fail-fast"]);
        let some = Args {
            filter: Some("replies".to_owned()),
            rungs: vec![Rung::Kernel, Rung::Cli],
            harness: vec!["--nocapture".to_owned()],
        };
        assert_eq!(
            cargo_args(&some).join(" "),
            "--package nodewall --test kernel --test cli --no-fail-fast replies -- --nocapture"
        );
    }
}
