//! `cargo xtask build`: the nodewall executable, with the kernel program inside.

use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::cmd::Cmd;
use crate::{setup, workspace};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Build without optimisation: faster to build, slower to run
    #[arg(long)]
    debug: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let executable = nodewall(if args.debug { Profile::Debug } else { Profile::Release })?;
    println!("{}", executable.display());
    Ok(())
}

/// How the userspace side is compiled; the kernel program is always optimised.
#[derive(Clone, Copy)]
pub(crate) enum Profile {
    Debug,
    Release,
}

/// Sets up, builds nodewall and returns the executable's path.
pub(crate) fn nodewall(profile: Profile) -> Result<PathBuf> {
    setup::run()?;
    let (folder, flags): (_, &[&str]) = match profile {
        Profile::Debug => ("debug", &[]),
        Profile::Release => ("release", &["--release"]),
    };
    Cmd::cargo("build").args(flags).args(["--package", "nodewall", "--bin", "nodewall"]).run()?;
    let executable = workspace::cargo_target().join(folder).join("nodewall");
    ensure!(
        executable.is_file(),
        "cargo built nodewall, but {} is not there; if cargo's configuration moves its output, set CARGO_TARGET_DIR to \
         the same folder",
        executable.display()
    );
    Ok(executable)
}
