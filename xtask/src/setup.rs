//! `cargo xtask setup`: fetches what building and testing need and the machine lacks. Everything lands below
//! `target/tools`, but for Debian packages; the user's Rust toolchain is written only by rustup, and only where it may.

mod linker;
mod packages;
mod private_apt;
mod rust_src;
mod sources;

use std::fs::{self, File, TryLockError};

use anyhow::{Context as _, Result};

use crate::workspace;

pub(crate) use rust_src::fetched_library;

/// Makes everything ready; fast when it is.
pub(crate) fn run() -> Result<()> {
    let _lock = lock()?;
    packages::ensure()?;
    rust_src::ensure()?;
    linker::ensure()
}

/// Holds off a second setup in the same workspace until the returned file is closed.
fn lock() -> Result<File> {
    let path = workspace::tools().join("setup.lock");
    fs::create_dir_all(workspace::tools())
        .and_then(|()| File::create(&path))
        .and_then(|file| {
            match file.try_lock() {
                Err(TryLockError::WouldBlock) => {
                    eprintln!("==> waiting for another setup of this workspace to finish");
                    file.lock()?;
                }
                outcome => outcome?,
            }
            Ok(file)
        })
        .with_context(|| format!("{} could not be locked; make sure that target/ belongs to you", path.display()))
}
