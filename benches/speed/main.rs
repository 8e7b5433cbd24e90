//! What nodewall costs, beside what others cost, in one run: `cargo xtask bench`. Each section answers one question and says which bars it met.
//! Figures are ratios and differences within the run; nothing here may be read as this machine's absolute speed.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "to whoever measures")]
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::cast_precision_loss,
    reason = "an executable of its own; figures are shown with three digits"
)]

mod agent;
mod cpus;
mod data;
mod document;
mod live;
mod machine;
mod policy;
mod report;
mod setting;

use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Parser;
use nodewall_testbed::random;

use crate::{
    machine::Machine,
    report::{Report, bars_table},
    setting::Setting,
};

/// One question to the bench.
trait Section {
    /// The word for `--only`; also names the section's files and markers.
    fn name(&self) -> &'static str;

    /// One line for people: what is measured.
    fn what(&self) -> &'static str;

    /// Whether `--quick` includes it.
    fn is_quick(&self) -> bool {
        false
    }

    /// Measures.
    fn run(&self, setting: &Setting) -> Result<Report>;
}

/// In the order of their running. A new one also gets its headings and markers in docs/BENCH.md: `SECTION-machine`, `SECTION-bars`, and the name
/// of each of its tables.
const SECTIONS: &[&dyn Section] = &[&data::Data, &live::Live, &policy::PolicyWork, &agent::Agent];

/// Measures nodewall beside bare XDP programs and others that do its job.
#[derive(Parser)]
#[command(name = "cargo xtask bench")]
#[allow(clippy::struct_excessive_bools, reason = "flags of a command line")]
struct Args {
    /// The figures of the data path in under a minute: fewer rounds, fewer kinds; writes nothing
    #[arg(long)]
    quick: bool,

    /// Only these sections (repeatable)
    #[arg(long, value_parser = SECTIONS.iter().map(|s| s.name()).collect::<Vec<_>>())]
    only: Vec<String>,

    /// Samples of each program and frame, at least 5
    #[arg(long)]
    rounds: Option<usize>,

    /// The CPU to measure on; the last one if not said
    #[arg(long)]
    cpu: Option<usize>,

    /// Write docs/bench and the tables of docs/PERFORMANCE.md and docs/BENCH.md: a run that is not quick does so anyhow
    #[arg(long)]
    write: bool,

    /// Fail when a bar is missed
    #[arg(long)]
    check: bool,

    /// What cargo says to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    ensure!(
        nodewall_testbed::privileged(),
        "the bench loads kernel programs and makes network namespaces: run it as root"
    );
    let setting = Setting::new(args.quick, args.rounds, args.cpu)?;
    let machine = Machine::read()?;
    println!("{}", machine.line());
    let mut missed = 0;
    for section in SECTIONS.iter().filter(|section| args.wants(**section)) {
        println!("\n==> {}: {}", section.name(), section.what());
        let report = section.run(&setting)?;
        for table in &report.tables {
            println!("{}", table.for_terminal());
        }
        for note in &report.notes {
            println!("{note}");
        }
        println!("{}", bars_table(section.name(), &report.bars).for_terminal());
        missed += report.bars.iter().filter(|bar| !bar.ok).count();
        if args.write || !args.quick {
            for file in document::write(section.name(), &machine, &setting, &report)? {
                println!("wrote {}", file.display());
            }
        }
    }
    ensure!(!args.check || missed == 0, "{missed} bars were missed, see the tables above");
    Ok(())
}

impl Args {
    fn wants(&self, section: &dyn Section) -> bool {
        if self.only.is_empty() {
            !self.quick || section.is_quick()
        } else {
            self.only.iter().any(|name| name == section.name())
        }
    }
}
