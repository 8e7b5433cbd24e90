//! `cargo xtask lint`: formatting, clippy on the host and on the kernel program's own target, then tidy.

use anyhow::Result;

use crate::cmd::Cmd;
use crate::{setup, tidy, workspace};

pub(crate) fn run() -> Result<()> {
    setup::run()?;
    Cmd::cargo("fmt").args(["--all", "--check"]).advice("run `cargo fmt --all`").run()?;
    Cmd::cargo("clippy").args(["--workspace", "--all-targets", "--", "-D", "warnings"]).run()?;
    // A feature of its own, so that nobody else builds the reference programs.
    Cmd::cargo("clippy")
        .args(["--package", "nodewall", "--features", "bench", "--bench", "speed", "--", "-D", "warnings"])
        .run()?;
    kernel_program()?;
    tidy::run()
}

/// The kernel crate as it is really compiled: on the host it is only an empty `main`.
fn kernel_program() -> Result<()> {
    let mut clippy = Cmd::cargo("clippy")
        .args(["--package", "node-ebpf", "--bins", "--features", "reference"])
        .args(["--target", "bpfel-unknown-none", "-Z", "build-std=core"])
        .args(["--", "-D", "warnings"])
        // Its own folder: these variables would make cargo compile everything else anew, back and forth.
        .env("CARGO_TARGET_DIR", workspace::cargo_target().join("bpf-lint"))
        .env("RUSTC_BOOTSTRAP", "1");
    if let Some(library) = setup::fetched_library()? {
        clippy = clippy.env("__CARGO_TESTS_ONLY_SRC_ROOT", library);
    }
    clippy.run()
}
