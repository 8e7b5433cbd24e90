//! The project's own tasks, one file per verb: `cargo xtask --help`. Exit code: 0 fine, 1 failed, 2 usage.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "to whoever builds it")]

mod bench;
mod build;
mod ci;
mod cmd;
mod demo;
mod deny;
mod dist;
mod faults;
mod files;
mod fuzz;
mod last_round;
mod lint;
mod mutants;
mod progress;
mod run;
mod setup;
mod soak;
mod test;
mod tidy;
mod vm;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// nodewall's own tasks. Each sets up what it needs: from a fresh checkout, start with any of them.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    /// Show every command line that is run, and all of its output
    #[arg(short, long, global = true)]
    verbose: bool,

    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Fetch what building and testing need: bpf-linker, the source of `core`, Debian packages
    Setup,
    /// Build nodewall and print where the executable is
    Build(build::Args),
    /// Show nodewall at work: real traffic on a throw-away network, and a table of what came of it
    Demo(demo::Args),
    /// Build nodewall and run `nodewall run` on this machine's own interfaces, as root
    Run(run::Args),
    /// Run the tests (those of the kernel and network rungs need root)
    Test(test::Args),
    /// Compare model, host and kernel on millions of generated frames, until the first disagreement
    Soak(soak::Args),
    /// Run the fuzz targets for a while, each from its corpus; a crash is a failure
    Fuzz(fuzz::Args),
    /// Do what an operator fears to a running node: kills, reloads, broken disks, lost power
    Faults(faults::Args),
    /// Plant bugs in the verdict function's crate, one at a time: does a test fail for each?
    Mutants(mutants::Args),
    /// Measure what nodewall costs beside bare XDP programs and others that do its job
    Bench(bench::Args),
    /// Check formatting, run clippy on everything including the kernel program, then tidy
    Lint,
    /// Check the house rules that no compiler checks
    Tidy(tidy::Args),
    /// Run the tests in virtual machines with other kernels (QEMU, no KVM needed)
    Vm(vm::Args),
    /// Hold what nodewall is made of to deny.toml: licences, sources, versions
    Deny(deny::Args),
    /// Make what users install: static executable, .deb, .rpm, bill of materials, checksums
    Dist(dist::Args),
    /// Everything that CI runs, from lint to fuzz; ends with a table of times
    Ci,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    cmd::set_verbose(cli.verbose);
    let outcome = match cli.verb {
        Verb::Setup => setup::run(),
        Verb::Build(args) => build::run(&args),
        Verb::Demo(args) => demo::run(&args),
        Verb::Run(args) => run::run(&args),
        Verb::Test(args) => test::run(&args),
        Verb::Soak(args) => soak::run(&args),
        Verb::Fuzz(args) => fuzz::run(&args),
        Verb::Faults(args) => faults::run(&args),
        Verb::Mutants(args) => mutants::run(&args),
        Verb::Bench(args) => bench::run(&args),
        Verb::Lint => lint::run(),
        Verb::Tidy(args) => tidy::run_with(&args),
        Verb::Vm(args) => vm::run(&args),
        Verb::Deny(args) => deny::run(&args),
        Verb::Dist(args) => dist::run(&args),
        Verb::Ci => ci::run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
