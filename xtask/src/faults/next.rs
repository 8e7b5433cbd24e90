//! The next nodewall, for upgrades: the same sources with another version, the kernel program compiled for size instead of speed. Built from a copy
//! below `target/faults`, so that nothing of the workspace is touched.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use fs_err as fs;

use crate::cmd::Cmd;
use crate::progress::Step;
use crate::{files, workspace};

/// What makes it another one: a line of Cargo.toml, and what it becomes.
const CHANGES: [(&str, &str); 2] = [
    ("[workspace.package]\nversion = \"0.1.0\"", "[workspace.package]\nversion = \"0.1.1\""),
    ("[profile.ebpf]\ninherits = \"release\"\nopt-level = 3", "[profile.ebpf]\ninherits = \"release\"\nopt-level = 2"),
];

/// Builds it and returns the executable.
pub(super) fn build(folder: &Path) -> Result<PathBuf> {
    let step =
        Step::start("building another nodewall to upgrade to, in target/faults/next (3 minutes when nothing is there)");
    let copy = folder.join("next");
    files::copy_sources(&copy)?;
    let manifest = copy.join("Cargo.toml");
    let text = fs::read_to_string(&manifest)?;
    fs::write(&manifest, changed(&text)?)?;
    // The build needs the tools that setup fetched, where it looks for them.
    let tools = copy.join("target/tools");
    if !tools.exists() {
        fs::create_dir_all(copy.join("target"))
            .and_then(|()| std::os::unix::fs::symlink(workspace::tools(), &tools))?;
    }
    // Another version than the lock file's, so not locked; its crates are the same.
    Cmd::new("cargo")
        .args(["build", "--release", "--offline", "--package", "nodewall", "--bin", "nodewall"])
        .dir(&copy)
        .env("CARGO_TARGET_DIR", copy.join("target"))
        .run_quiet()?;
    let executable = copy.join("target/release/nodewall");
    ensure!(executable.is_file(), "cargo built no {}", executable.display());
    step.done();
    Ok(executable)
}

fn changed(manifest: &str) -> Result<String> {
    let mut text = manifest.to_owned();
    for (old, new) in CHANGES {
        ensure!(text.contains(old), "Cargo.toml no longer says {old:?}; see xtask/src/faults/next.rs");
        text = text.replace(old, new);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_can_be_changed() {
        let manifest = fs::read_to_string(workspace::root().join("Cargo.toml")).unwrap();
        let next = changed(&manifest).unwrap();
        assert!(next.contains("0.1.1") && next.contains("opt-level = 2"));
    }
}
