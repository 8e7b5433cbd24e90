//! `cargo xtask fuzz`: the targets below fuzz/ for a while, each from the committed corpus and the seeds; or one input through one target. Owns
//! how they are built, run and reported; what they assert stands in `fuzz/fuzz_targets`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::ValueEnum;
use fs_err as fs;

use crate::cmd::{Cmd, name_of};
use crate::progress::Step;
use crate::setup::{self, Tool};
use crate::{files, workspace};

const CARGO_FUZZ: Tool =
    Tool { name: "cargo-fuzz", version: "0.13.2", what_for: "it builds the fuzz targets; about 1 minute" };

/// One input may take so long: far above the slowest, far below an endless loop.
const TIMEOUT_SECONDS: u32 = 5;
/// Memory of one target, `AddressSanitizer`'s shadow included.
const MEMORY_MIB: u32 = 2048;
/// Lines of a finding that are printed; the log has all of them.
const SHOWN_LINES: usize = 12;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which targets [default: all of them]
    #[arg(value_enum)]
    targets: Vec<Target>,

    /// How long each target runs, once built
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,

    /// Only run one target on this file: to see a crash again
    #[arg(long, value_name = "FILE", conflicts_with = "seconds")]
    input: Option<PathBuf>,
}

/// One file below `fuzz/fuzz_targets` each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Target {
    /// Any bytes as a frame, under every policy of a fixed set
    Decide,
    /// Any text as a configuration
    Config,
    /// Any text as an address or prefix
    Address,
    /// Any bytes as a capture file
    Capture,
    /// Any text as the rules that nft and iptables-save list
    Listings,
}

impl Target {
    /// The longest input. More is slower and reaches nothing new.
    fn longest_bytes(self) -> u32 {
        match self {
            Self::Address => 128,
            Self::Decide => 2048,
            Self::Config => 4096,
            Self::Capture => 8192,
            Self::Listings => 16_384,
        }
    }
}

/// Where one invocation reads and writes.
struct Places {
    /// The compiled targets.
    executables: PathBuf,
    /// Found inputs, seeds and logs: not committed.
    scratch: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    setup::run()?;
    let cargo_fuzz = CARGO_FUZZ.ensure()?;
    let places = build(&cargo_fuzz)?;
    if let Some(input) = &args.input {
        return reproduce(&places, &args.targets, input);
    }
    write_seeds(&places)?;
    let targets = if args.targets.is_empty() { Target::value_variants() } else { &args.targets };
    let mut found = Vec::new();
    for target in targets {
        if !fuzz(&places, *target, args.seconds)? {
            found.push(name_of(target));
        }
    }
    ensure!(found.is_empty(), "{} found something (above); the inputs are in fuzz/crashes", found.join(" and "));
    Ok(())
}

/// Builds every target and the writer of seeds with the pinned toolchain. Instrumentation is a nightly feature, hence the variable.
fn build(cargo_fuzz: &Path) -> Result<Places> {
    // Apart from cargo's other output: cargo-fuzz' flags would throw it all away at every turn.
    let output = match workspace::cargo_target() {
        usual if usual == workspace::root().join("target") => workspace::root().join("fuzz/target"),
        other => other.join("fuzz"),
    };
    let sanitizer = sanitizer()?;
    let step =
        Step::start("building the fuzz targets (everything anew with coverage counters; some minutes the first time)");
    Cmd::new(cargo_fuzz)
        .args(["build", "--sanitizer", sanitizer, "--target-dir"])
        .arg(&output)
        .dir(workspace::root())
        .env("RUSTC_BOOTSTRAP", "1")
        .advice("a C++ compiler (`c++`) is needed for libFuzzer")
        .run_quiet()?;
    step.done();
    let version = Cmd::new("rustc").arg("-vV").dir(workspace::root()).read()?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc -vV names no host")?;
    Ok(Places { executables: output.join(host).join("release"), scratch: output.join("scratch") })
}

/// `AddressSanitizer`, where the toolchain has its runtime.
fn sanitizer() -> Result<&'static str> {
    let folder = Cmd::new("rustc").args(["--print", "target-libdir"]).dir(workspace::root()).read()?;
    let has_runtime = fs::read_dir(folder.trim_end())?
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().ends_with("_rt.asan.a"));
    if !has_runtime {
        eprintln!("note: this toolchain has no AddressSanitizer, so only panics, time and memory are watched");
    }
    Ok(if has_runtime { "address" } else { "none" })
}

/// Writes every target's seeds anew, so that a new case in tests/cases is one at once.
fn write_seeds(places: &Places) -> Result<()> {
    let folder = places.scratch.join("seeds");
    files::renew(&folder)?;
    // The table of cases leaks its names, on purpose.
    Cmd::new(places.executables.join("seeds")).arg(&folder).env("ASAN_OPTIONS", "detect_leaks=0").run_quiet()
}

/// A target's command line, without inputs.
fn command(places: &Places, target: Target) -> Cmd {
    Cmd::new(places.executables.join(name_of(&target)))
        .dir(workspace::root())
        // As cargo-fuzz has it: one definition rule is not Rust's.
        .env("ASAN_OPTIONS", "detect_odr_violation=0")
        .args([format!("-timeout={TIMEOUT_SECONDS}"), format!("-rss_limit_mb={MEMORY_MIB}")])
        .arg(format!("-max_len={}", target.longest_bytes()))
}

/// Runs a target for a while, from the seeds, the committed corpus and what earlier runs found, and prints a line; `false`: it found something, which
/// was printed too.
fn fuzz(places: &Places, target: Target, seconds: u32) -> Result<bool> {
    let name = name_of(&target);
    let root = workspace::root();
    let (crashes, found) = (root.join("fuzz/crashes"), places.scratch.join("found").join(&name));
    fs::create_dir_all(&crashes)?;
    fs::create_dir_all(&found)?;
    // A new target has nothing committed yet.
    let given = [places.scratch.join("seeds").join(&name), root.join("fuzz/corpus").join(&name)];
    let mut prefix = OsString::from("-artifact_prefix=");
    prefix.push(crashes.join(format!("{name}-")));
    let log = places.scratch.join(format!("{name}.log"));
    let status = command(places, target)
        .arg(format!("-max_total_time={seconds}"))
        .arg(prefix)
        .arg(&found)
        .args(given.iter().filter(|folder| folder.is_dir()))
        .log_to(&log)?;
    let said = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    if status.success() {
        let numbers = said.lines().rev().find(|line| line.starts_with('#') && line.contains("DONE"));
        println!("{name:<8} {}", numbers.with_context(|| format!("{name} ran nothing; its log is {}", log.display()))?);
        return Ok(true);
    }
    eprintln!("{name} failed ({status}); its log is {}", log.display());
    for line in what_happened(&said) {
        eprintln!("  | {line}");
    }
    let input = said.lines().rev().find_map(|line| Some(line.split_once("Test unit written to ")?.1.trim()));
    let input = input.with_context(|| format!("{name} ended without an input to blame: see its log"))?;
    let file = Path::new(input).strip_prefix(root).unwrap_or(Path::new(input)).display();
    eprintln!("  again: cargo xtask fuzz {name} --input {file}");
    Ok(false)
}

/// The lines that say what went wrong: the panic, or the fuzzer's own error, without the stack.
fn what_happened(log: &str) -> Vec<&str> {
    let is_first = |line: &&str| line.contains(" panicked at ") || line.contains("ERROR: ");
    log.lines()
        .skip_while(|line| !is_first(line))
        .take_while(|line| !line.starts_with("stack backtrace:") && !line.trim_start().starts_with("#0 "))
        .take(SHOWN_LINES)
        .collect()
}

/// Runs one target once, with its own output.
fn reproduce(places: &Places, targets: &[Target], input: &Path) -> Result<()> {
    let [target] = targets else { bail!("--input needs one target: cargo xtask fuzz TARGET --input FILE") };
    let input = input.canonicalize().with_context(|| format!("{} can not be read", input.display()))?;
    command(places, *target).arg(input).run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_is_told_by_its_panic() {
        let log = "#2\tINITED cov: 20\nthread 'x' (7) panicked at fuzz_targets/decide.rs:22:9:\nassertion failed: a\nstack backtrace:\n   0: x\n";
        let panic = ["thread 'x' (7) panicked at fuzz_targets/decide.rs:22:9:", "assertion failed: a"];
        assert_eq!(what_happened(log), panic);
        assert_eq!(
            what_happened("ERROR: libFuzzer: deadly signal\n    #0 0x55 in y\n"),
            ["ERROR: libFuzzer: deadly signal"]
        );
    }

    /// At most 300 files and 1 MB of all targets together: they are in the repository.
    #[test]
    fn what_is_committed_is_small() {
        let corpus = files::below(&workspace::root().join("fuzz/corpus")).unwrap_or_default();
        let bytes: u64 = corpus.iter().filter_map(|file| Some(fs::metadata(file).ok()?.len())).sum();
        assert!((1..=300).contains(&corpus.len()) && bytes <= 1_000_000, "{} files, {bytes} bytes", corpus.len());
    }

    #[test]
    fn every_target_is_a_program_of_the_fuzz_workspace() {
        let manifest = fs::read_to_string(workspace::root().join("fuzz/Cargo.toml")).unwrap_or_default();
        for target in Target::value_variants() {
            let line = format!("path = \"fuzz_targets/{}.rs\"", name_of(target));
            assert!(manifest.contains(&line), "{target:?}");
        }
        assert_eq!(manifest.matches("fuzz_targets/").count(), Target::value_variants().len());
    }
}
