//! From what was typed to the command that does it, and from its outcome to the exit code.

use std::process::ExitCode;

use nodewall_text::out;
use tracing_subscriber::{EnvFilter, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use super::{
    apply, block, capture, check, counters, detach, doctor,
    events::{export, list, show, tail, verify},
    explain,
    failure::Failure,
    init, manual, page, peers, plan, replay, report, run, status, top, trial, trial_guard, usage,
};
use crate::{
    cli::{Cli, Color, Command, EventsCommand},
    ui,
};

/// Runs a command and turns its outcome into an exit code; errors go to standard error.
pub fn main(cli: &Cli) -> ExitCode {
    start_tracing(cli);
    ExitCode::from(dispatch(cli).unwrap_or_else(Failure::report))
}

fn dispatch(cli: &Cli) -> Result<u8, Failure> {
    let common = &cli.common;
    match &cli.command {
        Command::Init(args) => init::run(common, args),
        Command::Run(args) => run::run(common, args),
        Command::Apply(args) => apply::run(common, *args),
        Command::Plan(args) => plan::run(common, *args),
        Command::Enforce(args) => trial::enforce(common, *args),
        Command::Confirm => trial::confirm(common),
        Command::Rollback(args) => trial::rollback(common, *args),
        Command::PanicOpen(args) => trial::panic_open(common, *args),
        Command::TrialGuard(args) => trial_guard::run(common, *args),
        Command::Block(args) => block::block(common, args),
        Command::Unblock(args) => block::unblock(common, *args),
        Command::Peers(args) => peers::run(common, args),
        Command::Check => check::run(common),
        Command::Status => status::run(common),
        Command::Counters(args) => counters::run(common, *args),
        Command::Events(args) => match &args.command {
            EventsCommand::List(args) => list::run(common, args),
            EventsCommand::Tail(args) => tail::run(common, args),
            EventsCommand::Show(args) => show::run(common, args),
            EventsCommand::Export(args) => export::run(common, args),
            EventsCommand::Verify(args) => verify::run(common, *args),
        },
        Command::Page(args) => page::run(common, *args),
        Command::Completions(args) => manual::completions(args.shell),
        Command::Man(args) => manual::man(args.folder.as_deref()),
        Command::Explain(args) => explain::run(common, args),
        Command::Replay(args) => replay::run(common, args),
        Command::Top(args) => top::run(common, args),
        Command::Doctor(args) => doctor::run(common, *args),
        Command::Capture(args) => capture::run(common, args),
        Command::Report(args) => report::run(common, args),
        Command::Usage(args) => usage::run(common, args),
        Command::Detach => detach::run(common),
    }
}

fn start_tracing(cli: &Cli) {
    let common = &cli.common;
    let level = match common.verbose {
        0 => "info",
        1 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_env("NODEWALL_LOG")
        .unwrap_or_else(|_| EnvFilter::new(format!("warn,nodewall={level},node_ebpf={level}")));
    let color = match common.color {
        Color::Auto => out::takes_color(out::stderr()),
        Color::Always => true,
        Color::Never => false,
    };
    tracing_subscriber::registry().with(filter).with(ui::Log { color }).init();
}
