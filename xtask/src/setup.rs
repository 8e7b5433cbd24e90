//! `cargo xtask setup`: fetches what building and testing need and the machine lacks. Everything lands below
//! `target/tools`, but for Debian packages; the user's Rust toolchain is written only by rustup, and only where it may.

pub(crate) mod debian_tree;
mod etcd;
mod packages;
mod private_apt;
mod python;
mod rust_src;
mod sources;
mod syslog_ng;
mod tool;

use std::fs::{self, File, TryLockError};
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::workspace;

pub(crate) use private_apt::PrivateApt;
pub(crate) use rust_src::fetched_library;
pub(crate) use sources::debian_archive;
pub(crate) use tool::Tool;

/// Links the kernel program; the version that it is built and tested with.
const LINKER: Tool =
    Tool { name: "bpf-linker", version: "0.10.3", what_for: "it links the kernel program; 1 to 2 minutes" };

/// Makes everything ready; fast when it is.
pub(crate) fn run() -> Result<()> {
    let _lock = lock()?;
    packages::ensure(packages::PROGRAMS)?;
    rust_src::ensure()?;
    python::ensure()?;
    etcd::ensure()?;
    syslog_ng::ensure()?;
    LINKER.ensure().map(drop)
}

/// The same, and what `cargo xtask vm` runs besides: too much to ask of everyone.
pub(crate) fn run_with_vm() -> Result<()> {
    run()?;
    let _lock = lock()?;
    packages::ensure(packages::VM_PROGRAMS)
}

/// The same, and what `cargo xtask dist --check` looks at packages with.
pub(crate) fn run_with_dist() -> Result<()> {
    run()?;
    let _lock = lock()?;
    packages::ensure(packages::DIST_PROGRAMS)
}

/// The same, and what `cargo xtask bench` measures besides, where it can be had.
pub(crate) fn run_with_bench() -> Result<()> {
    run()?;
    let _lock = lock()?;
    packages::offer(packages::BENCH_PROGRAMS);
    Ok(())
}

/// Holds off a second setup in the same workspace until the returned file is closed.
fn lock() -> Result<File> {
    lock_file(&workspace::tools().join("setup.lock"), "setup")
}

/// Holds off others that want the same file, which `what` is for, until the returned file is closed.
pub(crate) fn lock_file(path: &Path, what: &str) -> Result<File> {
    fs::create_dir_all(path.parent().unwrap_or(path))
        .and_then(|()| File::create(path))
        .and_then(|file| {
            match file.try_lock() {
                Err(TryLockError::WouldBlock) => {
                    eprintln!("==> waiting for another {what} of this workspace to finish");
                    file.lock()?;
                }
                outcome => outcome?,
            }
            Ok(file)
        })
        .with_context(|| format!("{} could not be locked; make sure that target/ belongs to you", path.display()))
}
