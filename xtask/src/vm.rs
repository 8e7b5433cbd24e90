//! `cargo xtask vm`: the data path on other kernels. Debian's kernels boot in QEMU with an initramfs that holds the
//! tests; what they say is printed as a table. Everything is made below `target/vm`; no interface, route or disk of this
//! machine is given to a guest.

mod faults;
mod image;
mod kernels;
mod machine;
mod plan;
mod power;
mod report;
mod systemd;
mod transcript;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use fs_err as fs;

pub(crate) use faults::{Wanted, run as run_faults};

use crate::progress::{Step, seconds};
use crate::{setup, workspace};
use kernels::{KERNELS, Kernel};
use machine::Hardware;
use plan::{CHECKS, Guest};
use transcript::Transcript;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which kernels: 5.10, 6.1, 6.12, 7.x, all of these, or 7.x-rt (repeatable)
    #[arg(long = "kernel", value_name = "SERIES", default_value = "all", value_parser = series())]
    kernels: Vec<String>,

    /// Run only these checks (repeatable)
    #[arg(long, value_name = "CHECK", value_parser = CHECKS.map(|check| check.name))]
    only: Vec<String>,

    /// Ask the mirror for newer packages of the kernels, instead of using those below target/vm
    #[arg(long)]
    refresh: bool,
}

fn series() -> clap::builder::PossibleValuesParser {
    KERNELS.iter().map(|kernel| kernel.series).chain(["all"]).collect::<Vec<_>>().into()
}

impl Args {
    fn chosen(&self) -> Vec<&'static Kernel> {
        // The one with PREEMPT_RT is a large package, and has one check.
        let wanted = |kernel: &&Kernel| {
            let is_usual = kernel.flavour == kernels::Flavour::Cloud;
            self.kernels.iter().any(|name| (name == "all" && is_usual) || name == kernel.series)
        };
        KERNELS.iter().filter(wanted).collect()
    }
}

/// What one kernel did.
struct Outcome {
    kernel: kernels::Fetched,
    transcript: Transcript,
    log: PathBuf,
    took: Duration,
}

/// Where everything of this verb is.
fn folder() -> PathBuf {
    workspace::root().join("target/vm")
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let _lock = prepare()?;
    let started = Instant::now();
    let kernels =
        args.chosen().into_iter().map(|kernel| kernels::fetch(kernel, args.refresh)).collect::<Result<Vec<_>>>()?;
    let common = build()?;
    let disk = kernels
        .iter()
        .any(|kernel| planned(kernel, &args.only).iter().any(|check| check.guest == Guest::Systemd))
        .then(systemd::disk)
        .transpose()?;

    let outcomes = boot_all(kernels, &common, disk.as_deref(), &args.only)?;
    println!("\n{}", report::render(&outcomes));
    println!("{} kernels in {}", outcomes.len(), seconds(started.elapsed()));
    let bad: Vec<String> = outcomes.iter().filter_map(failed).collect();
    if bad.is_empty() {
        return Ok(());
    }
    bail!("{} of {} kernels failed{}", bad.len(), outcomes.len(), bad.concat())
}

/// What every run of guests needs; holds off others until the returned file is closed.
fn prepare() -> Result<std::fs::File> {
    ensure!(
        std::env::consts::ARCH == "x86_64",
        "the kernels and QEMU's machine are for x86-64, this machine is {}; run this on x86-64",
        std::env::consts::ARCH
    );
    setup::run_with_vm()?;
    setup::lock_file(&folder().join("lock"), "run of virtual machines")
}

/// What all kernels share.
struct Common {
    archive: PathBuf,
    programs: image::Programs,
}

/// The archive of what all kernels share, with everything built.
fn build() -> Result<Common> {
    let step = Step::start("building the tests and nodewall (5 minutes when nothing is there)");
    let programs = image::build()?;
    let archive = image::common(&programs)?;
    step.done();
    Ok(Common { archive, programs })
}

/// As many guests at a time as there are processors: a guest keeps one of them busy. Outcomes come in the kernels' order.
fn boot_all(
    kernels: Vec<kernels::Fetched>,
    common: &Common,
    disk: Option<&Path>,
    only: &[String],
) -> Result<Vec<Outcome>> {
    let at_once = thread::available_parallelism().map_or(1, usize::from).min(kernels.len());
    let mut results: Vec<Option<Result<Outcome>>> = kernels.iter().map(|_| None).collect();
    let waiting = Mutex::new(kernels.into_iter().zip(&mut results));
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    let Some((kernel, result)) = waiting.lock().unwrap_or_else(PoisonError::into_inner).next() else {
                        return;
                    };
                    *result = Some(boot(kernel, common, disk, only));
                }
            });
        }
    });
    results.into_iter().flatten().collect()
}

fn planned(kernel: &kernels::Fetched, only: &[String]) -> Vec<plan::Planned> {
    plan::for_kernel(kernel.version(), kernel.kernel.flavour, only)
}

fn boot(kernel: kernels::Fetched, common: &Common, disk: Option<&Path>, only: &[String]) -> Result<Outcome> {
    let mut plan = planned(&kernel, only);
    let series = kernel.kernel.series;
    eprintln!(
        "==> {series}: Linux {} (Debian {}): {}",
        kernel.release,
        kernel.package_version,
        plan.iter().map(|check| check.name).collect::<Vec<_>>().join(", ")
    );
    let began = Instant::now();
    let log = folder().join(format!("log-{}", kernel.kernel.series));
    let say = |what: String| eprintln!("    {series}: {what}");
    let mut transcript = Transcript::new(&[]);
    for guest in Guest::ALL {
        let checks: Vec<_> = plan.extract_if(.., |check| check.guest == guest).collect();
        if checks.is_empty() {
            continue;
        }
        let fill = |root: &Path| match guest {
            Guest::Systemd => systemd::fill(root, common.programs.nodewall()),
            _ => Ok(()),
        };
        let initramfs = image::for_kernel(&kernel, &common.archive, &checks, fill)?;
        let hardware = Hardware {
            processors: guest.processors(),
            disk: disk.filter(|_| guest == Guest::Systemd),
            counts_instructions: guest == Guest::OneCpu,
        };
        // The usual one's logs have the plain name.
        let log = if guest == Guest::Usual { log.clone() } else { machine::with_suffix(&log, guest.name()) };
        transcript.absorb(machine::run(&kernel.vmlinuz(), &initramfs, hardware, &checks, &log, &say)?);
        fs::remove_file(&initramfs)?;
    }
    say(format!("done in {}", seconds(began.elapsed())));
    Ok(Outcome { kernel, transcript, log, took: began.elapsed() })
}

/// One line per failure, what the failed tests said, and the logs to read: whoever reads CI's output may not have them.
fn failed(outcome: &Outcome) -> Option<String> {
    let failures = outcome.transcript.failures();
    if failures.is_empty() {
        return None;
    }
    let release = &outcome.kernel.release;
    let mut lines: String = failures.iter().map(|what| format!("\n  Linux {release}: {what}")).collect();
    lines.extend(outcome.transcript.panics().iter().map(|line| format!("\n    {line}")));
    lines.push_str(&format!("\n  what was said: {0}.tests, what the kernel said: {0}.console", outcome.log.display()));
    Some(lines)
}
