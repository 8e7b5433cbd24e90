//! `cargo xtask bench`: sets up, builds and runs benches/speed, which measures nodewall beside bare XDP programs and others that do its job. What is
//! measured, and how, is decided there.

use anyhow::{Result, ensure};

use crate::cmd::Cmd;
use crate::{setup, workspace};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The figures of the data path in under a minute: fewer rounds, fewer kinds; writes nothing
    #[arg(long)]
    quick: bool,

    /// Run only this section (repeatable): data, live, policy or agent
    #[arg(long, value_name = "SECTION")]
    only: Vec<String>,

    /// Samples of each program and frame, at least 5
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,

    /// The CPU to measure on [default: the last one]
    #[arg(long, value_name = "N")]
    cpu: Option<usize>,

    /// Write docs/bench and the tables of docs/PERFORMANCE.md even if the run is quick
    #[arg(long)]
    write: bool,

    /// Fail when a bar is missed
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(
        workspace::is_root(),
        "the bench loads kernel programs and makes network namespaces; run it as root (`sudo -E cargo xtask bench`)"
    );
    setup::run_with_bench()?;
    Cmd::cargo("bench")
        .args(["--package", "nodewall", "--features", "bench", "--bench", "speed", "--"])
        .args(words(args))
        .run()
}

/// What the bench itself is told.
fn words(args: &Args) -> Vec<String> {
    let mut words = Vec::new();
    for (wanted, flag) in [(args.quick, "--quick"), (args.write, "--write"), (args.check, "--check")] {
        if wanted {
            words.push(flag.to_owned());
        }
    }
    words.extend(args.only.iter().map(|section| format!("--only={section}")));
    words.extend(args.rounds.map(|rounds| format!("--rounds={rounds}")));
    words.extend(args.cpu.map(|cpu| format!("--cpu={cpu}")));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bench_is_told_what_the_user_said() {
        let args = Args {
            quick: true,
            only: vec!["data".to_owned(), "live".to_owned()],
            rounds: Some(7),
            cpu: Some(1),
            write: false,
            check: true,
        };
        assert_eq!(words(&args).join(" "), "--quick --check --only=data --only=live --rounds=7 --cpu=1");
    }
}
