//! The next nodewall, for upgrades: the same sources with another version, the kernel program compiled for size instead of speed. Built from a copy
//! below `target/faults`, so that nothing of the workspace is touched.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::cmd::Cmd;
use crate::progress::Step;
use crate::workspace;

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
    copy_sources(&copy)?;
    let manifest = copy.join("Cargo.toml");
    let text = fs::read_to_string(&manifest).with_context(|| format!("{} can not be read", manifest.display()))?;
    fs::write(&manifest, changed(&text)?).with_context(|| format!("{} could not be written", manifest.display()))?;
    // The build needs the tools that setup fetched, where it looks for them.
    let tools = copy.join("target/tools");
    if !tools.exists() {
        fs::create_dir_all(copy.join("target"))
            .and_then(|()| std::os::unix::fs::symlink(workspace::tools(), &tools))
            .with_context(|| format!("{} could not be made", tools.display()))?;
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

/// Copies what git knows or would know; files that are the same keep their times, so that cargo builds little twice.
fn copy_sources(copy: &Path) -> Result<()> {
    let root = workspace::root();
    let listed = Cmd::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .dir(root)
        .advice("run this in a checkout of the repository")
        .read()?;
    for name in listed.split('\0').filter(|name| !name.is_empty()) {
        let (from, to) = (root.join(name), copy.join(name));
        // Listed, and deleted in the working tree.
        let Ok(bytes) = fs::read(&from) else { continue };
        if fs::read(&to).is_ok_and(|there| there == bytes) {
            continue;
        }
        let parent = to.parent().unwrap_or(copy);
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(&to, bytes))
            .with_context(|| format!("{} could not be copied to {}", from.display(), to.display()))?;
    }
    Ok(())
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
