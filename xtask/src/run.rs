//! `cargo xtask run -- …`: nodewall on this machine's real interfaces.

use anyhow::{Result, bail};

use crate::build::{self, Profile};
use crate::cmd::Cmd;
use crate::workspace;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Arguments of `nodewall run`, after `--`
    #[arg(last = true, value_name = "ARGS")]
    args: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let executable = build::nodewall(Profile::Release)?;
    let command = if workspace::is_root() {
        Cmd::new(executable)
    } else if let Some(sudo) = workspace::find_program("sudo") {
        Cmd::new(sudo).arg("--").arg(executable)
    } else {
        bail!(
            "attaching to an interface needs root, and there is no sudo; as root, run `{} run`",
            executable.display()
        );
    };
    Err(command.arg("run").args(&args.args).exec())
}
