//! Command line -> command -> exit code. Everything else is in the library.

use std::process::ExitCode;

use nodewall::{cli::Cli, commands};

fn main() -> ExitCode {
    nodewall_text::out::tell_panics();
    commands::main(&Cli::read())
}
