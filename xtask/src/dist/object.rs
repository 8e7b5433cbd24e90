//! The kernel object of a build, and whether the same source makes the same one in another folder.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Result, anyhow};
use fs_err as fs;

use super::folder;
use crate::cmd::Cmd;
use crate::progress::Step;
use crate::{files, workspace};

/// The object that build.rs made last below a folder of cargo's.
pub(super) fn newest_below(profile: &Path) -> Result<PathBuf> {
    let builds = profile.join("build");
    let mut objects: Vec<(SystemTime, PathBuf)> = fs::read_dir(&builds)?
        .flatten()
        .map(|build| build.path().join("out/kernel/node-ebpf.o"))
        .filter_map(|object| Some((object.metadata().ok()?.modified().ok()?, object)))
        .collect();
    objects.sort();
    objects.pop().map(|(_, object)| object).ok_or_else(|| anyhow!("no kernel object below {}", builds.display()))
}

/// Builds it from a copy of the source in another folder and returns that object.
pub(super) fn built_elsewhere() -> Result<PathBuf> {
    let step = Step::start(
        "building the kernel object from a copy of the source in another folder (2 minutes when nothing is there)",
    );
    let place = folder().join("elsewhere");
    let source = place.join("another/folder");
    files::remove(&source)?;
    files::copy_sources(&source, |_, bytes| Ok(bytes))?;
    // Linked file by file: the folder itself is part of what is tried.
    fs::create_dir_all(source.join("target"))?;
    Cmd::new("cp").arg("-al").arg(workspace::tools()).arg(source.join("target/tools")).run_quiet()?;
    let build = place.join("build");
    Cmd::cargo("check")
        .args(["--package", "nodewall", "--lib"])
        .dir(&source)
        .env("CARGO_TARGET_DIR", &build)
        .run_quiet()?;
    step.done();
    newest_below(&build.join("debug"))
}
