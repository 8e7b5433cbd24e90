//! nodewall as it was before the layout of its maps said what it is: what an upgrade across layouts begins with, and whose program the bench compares with.
//! Built from git at one commit, once; kept below `target/layouts`, outside of what a change of the sources builds anew.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use fs_err as fs;

use crate::cmd::Cmd;
use crate::progress::Step;
use crate::{files, workspace};

/// Layout 7: `node-ebpf-common/src/layout.rs` knows it.
const COMMIT: &str = "25a784f";
/// Tells the tests where it is.
pub(crate) const VARIABLE: &str = "NODEWALL_LAYOUT_7";

/// Says to the tests that it cannot be had here.
pub(crate) const ABSENT: &str = "absent";

/// Whether it can be had: a shallow clone has no commit to build it from.
pub(crate) fn can_be_had() -> bool {
    git().args(["cat-file", "-e", &format!("{COMMIT}^{{commit}}")]).dir(workspace::root()).run_quiet().is_ok()
}

fn git() -> Cmd {
    Cmd::new("git").args(["-c", &format!("safe.directory={}", workspace::root().display())])
}

/// Builds it where it is not there yet, and returns the executable.
pub(crate) fn build() -> Result<PathBuf> {
    let folder = workspace::root().join("target/layouts").join(COMMIT);
    let executable = folder.join("nodewall");
    if executable.is_file() {
        return Ok(executable);
    }
    let step = Step::start("building nodewall of commit 25a784f from git (once, some 4 minutes)");
    let (sources, archive) = (folder.join("sources"), folder.join("sources.tar"));
    files::renew(&sources)?;
    git()
        .args(["archive", "--output"])
        .arg(&archive)
        .arg(COMMIT)
        .dir(workspace::root())
        .advice(
            "upgrades are tested from this commit on, and the bench compares with it; a shallow clone lacks it: `git fetch --unshallow`, and again",
        )
        .run_quiet()?;
    Cmd::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&sources).run_quiet()?;
    fs::create_dir_all(sources.join("target"))?;
    std::os::unix::fs::symlink(workspace::tools(), sources.join("target/tools"))?;
    Cmd::cargo("build")
        .args(["--package", "nodewall", "--bin", "nodewall"])
        .dir(&sources)
        .env("CARGO_TARGET_DIR", sources.join("target"))
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .run_quiet()?;
    let built = sources.join("target/debug/nodewall");
    ensure!(built.is_file(), "cargo built no {}", built.display());
    fs::copy(&built, folder.join("nodewall.new"))?;
    fs::rename(folder.join("nodewall.new"), &executable)?;
    files::remove(&sources)?;
    fs::remove_file(&archive)?;
    step.done();
    Ok(executable)
}
