//! `cargo xtask bench`: sets up, builds and runs benches/speed, which measures nodewall beside bare XDP programs and others that do its job. What is
//! measured, and how, is decided there. One of the others is nodewall of commit 25a784f, whose executable is built from git, once.

use anyhow::{Result, ensure};

use crate::cmd::Cmd;
use crate::{last_round, setup, workspace};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Options of the bench: --quick, --only SECTION, --rounds N, --cpu N, --write, --check (`-- --help` explains them)
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "BENCH_OPTIONS")]
    options: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(
        workspace::is_root(),
        "the bench loads kernel programs and makes network namespaces; run it as root (`sudo -E cargo xtask bench`)"
    );
    setup::run_with_bench()?;
    let before =
        if last_round::can_be_had() { last_round::build()? } else { std::path::PathBuf::from(last_round::ABSENT) };
    Cmd::cargo("bench")
        .env(last_round::VARIABLE, before)
        .args(["--package", "nodewall", "--features", "bench", "--bench", "speed", "--"])
        .args(&args.options)
        .run()
}
