//! `cargo xtask mutants`: is every line of the verdict function held by a test? cargo-mutants breaks node-ebpf-common in one place after the other, in a
//! copy of the sources, and runs that crate's tests each time. Owns how it is run and what is good enough; which mutants may survive stands in
//! docs/MUTATION.md.

mod document;
mod outcomes;

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use fs_err as fs;

use crate::cmd::{self, Cmd};
use crate::progress::seconds;
use crate::setup::{self, Tool};
use crate::workspace;

use outcomes::{Outcomes, Survivor};

const CARGO_MUTANTS: Tool =
    Tool { name: "cargo-mutants", version: "27.1.0", what_for: "it plants the bugs; about 2 minutes" };

/// The crate whose code is mutated, and whose tests must notice.
const CRATE: &str = "node-ebpf-common";
/// Of the mutants that compile, so many in a hundred must fail a test.
const CAUGHT_PERCENT_MIN: usize = 95;
/// A test that takes longer hangs: the crate's tests take a second.
const TEST_TIMEOUT_SECONDS: u32 = 30;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only the K-th of N parts of the mutants, from 0: every survivor must be listed, the ratio is not judged
    #[arg(long, value_name = "K/N", value_parser = shard)]
    shard: Option<String>,

    /// How many mutants to try at a time, each in a copy of the sources
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    jobs: u32,
}

/// Ends with an error if too few are caught, or if the survivors are not the ones that docs/MUTATION.md gives a reason for.
pub(crate) fn run(args: &Args) -> Result<()> {
    let executable = CARGO_MUTANTS.ensure()?;
    let folder = workspace::root().join("target/mutants");
    let _lock = setup::lock_file(&folder.join("lock"), "run of mutants")?;
    let started = Instant::now();
    let outcomes = mutate(&executable, &folder, args)?;
    let total = outcomes.total;
    println!("{total}, in {}", seconds(started.elapsed()));
    println!("every outcome and its log: {}", folder.join("mutants.out").display());

    let listed = document::listed(&fs::read_to_string(workspace::root().join("docs/MUTATION.md"))?)?;
    let problems = document::problems(&listed, &outcomes.survivors, args.shard.is_none());
    for problem in &problems {
        eprintln!("{problem}");
    }
    ensure!(total.viable() > 0, "no mutant compiled; see the logs in {}", folder.join("mutants.out/log").display());
    // A part has more than its share of what can not be caught, or less.
    ensure!(
        args.shard.is_some() || total.caught * 100 >= CAUGHT_PERCENT_MIN * total.viable(),
        "only {} are caught, fewer than {CAUGHT_PERCENT_MIN} %; write tests for what survived",
        total.percent()
    );
    ensure!(problems.is_empty(), "the survivors are not those of docs/MUTATION.md (above)");
    Ok(())
}

/// Runs cargo-mutants and reads what came of it.
fn mutate(executable: &Path, folder: &Path, args: &Args) -> Result<Outcomes> {
    let log = folder.join("log");
    eprintln!("==> planting some 450 bugs in {CRATE}, one at a time (10 minutes on 2 processors)");
    eprintln!("    to watch: tail -f {}", log.display());
    let mut command = Cmd::new(executable)
        .args(["mutants", "--cargo-arg=--locked", "--package", CRATE, "--colors", "never", "--no-times"])
        .args(["--jobs", &args.jobs.to_string(), "--timeout", &TEST_TIMEOUT_SECONDS.to_string(), "--output"])
        .arg(folder)
        .dir(workspace::root())
        // In each copy, wherever the user's own is: copies that share one would wait for each other.
        .env("CARGO_TARGET_DIR", "target");
    if let Some(shard) = &args.shard {
        command = command.args(["--shard", shard]);
    }
    let status = command.log_to(&log)?;
    match status.code() {
        // All caught; some survived; some ran into the time limit: cargo-mutants' own verdict, ours comes later.
        Some(0 | 2 | 3) => {}
        Some(4) => bail!("{CRATE} fails its tests without any mutation: cargo test --package {CRATE}"),
        _ => bail!("cargo-mutants failed ({status}); it said:{}", cmd::tail(&fs::read_to_string(&log)?)),
    }
    Outcomes::read(|list| Ok(fs::read_to_string(folder.join("mutants.out").join(list))?))
}

/// `K/N` with K below N, as cargo-mutants counts.
fn shard(text: &str) -> Result<String, String> {
    text.split_once('/')
        .and_then(|(k, n)| Some((k.parse::<u32>().ok()?, n.parse::<u32>().ok()?)))
        .filter(|(k, n)| k < n)
        .map(|(k, n)| format!("{k}/{n}"))
        .ok_or_else(|| "expected K/N with K from 0 to N-1, such as 0/4".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_count_from_0() {
        for good in ["0/1", "0/4", "3/4"] {
            assert_eq!(shard(good).as_deref(), Ok(good));
        }
        for bad in ["", "1", "4/4", "1/0", "a/4", "-1/4", "1/4/5"] {
            assert!(shard(bad).is_err(), "{bad}");
        }
    }

    /// A stale or mistyped entry is found by the next run of all mutants; that the page can be read at all, by every test run.
    #[test]
    fn the_document_lists_files_of_the_crate_each_with_a_reason() {
        let root = workspace::root();
        for survivor in document::listed(&fs::read_to_string(root.join("docs/MUTATION.md")).unwrap()).unwrap() {
            let (file, _) = survivor.split_once(':').unwrap();
            assert!(root.join(CRATE).join("src").join(file).is_file(), "{survivor}");
        }
    }
}
