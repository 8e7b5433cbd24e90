//! The next nodewall, for upgrades: the same sources with another version and another layout of the maps, the kernel program compiled for size instead of
//! speed. Built from a copy below `target/faults`, so that nothing of the workspace is touched.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use fs_err as fs;

use crate::cmd::Cmd;
use crate::progress::Step;
use crate::{files, workspace};

const MANIFEST: &str = "Cargo.toml";
const COMMON: &str = "node-ebpf-common/src/lib.rs";
const PEERS: &str = "node-ebpf-common/src/peer_traffic.rs";
/// What makes it another one: a text of a file, and what it becomes. The matrix has other sizes and another order, as a later layout may.
const CHANGES: [(&str, &str, &str); 5] = [
    (MANIFEST, "[workspace.package]\nversion = \"0.1.0\"", "[workspace.package]\nversion = \"0.1.1\""),
    (
        MANIFEST,
        "[profile.ebpf]\ninherits = \"release\"\nopt-level = 3",
        "[profile.ebpf]\ninherits = \"release\"\nopt-level = 2",
    ),
    (PEERS, "pub const OWN_PEERS: u32 = 192;", "pub const OWN_PEERS: u32 = 216;"),
    (PEERS, "    In = 0,", "    In = 1,"),
    (PEERS, "    Out = 1,", "    Out = 0,"),
];
const ABI: &str = "pub const ABI_VERSION: u32 = ";

/// Builds it and returns the executable.
pub(super) fn build(folder: &Path, optimised: bool) -> Result<PathBuf> {
    let step =
        Step::start("building another nodewall to upgrade to, in target/faults/next (3 minutes when nothing is there)");
    let copy = folder.join("next");
    files::copy_sources(&copy, |file, bytes| match file {
        MANIFEST | COMMON | PEERS => Ok(changed(file, str::from_utf8(&bytes)?)?.into_bytes()),
        _ => Ok(bytes),
    })?;
    // The build needs the tools that setup fetched, where it looks for them.
    let tools = copy.join("target/tools");
    if !tools.exists() {
        fs::create_dir_all(copy.join("target"))
            .and_then(|()| std::os::unix::fs::symlink(workspace::tools(), &tools))?;
    }
    // Another version than the lock file's, so not locked; its crates are the same.
    Cmd::new("cargo")
        .args(["build", "--offline", "--package", "nodewall", "--bin", "nodewall"])
        .args(optimised.then_some("--release"))
        .dir(&copy)
        .env("CARGO_TARGET_DIR", copy.join("target"))
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .run_quiet()?;
    let executable = copy.join("target").join(if optimised { "release" } else { "debug" }).join("nodewall");
    ensure!(executable.is_file(), "cargo built no {}", executable.display());
    step.done();
    Ok(executable)
}

fn changed(file: &str, text: &str) -> Result<String> {
    let mut text = text.to_owned();
    for (_, old, new) in CHANGES.into_iter().filter(|(of, ..)| *of == file) {
        ensure!(text.contains(old), "{file} no longer says {old:?}; see xtask/src/faults/next.rs");
        text = text.replace(old, new);
    }
    if file == COMMON {
        let version = text.split_once(ABI).and_then(|(_, rest)| rest.split(';').next()?.parse::<u32>().ok());
        let version =
            version.with_context(|| format!("{file} no longer says {ABI:?}; see xtask/src/faults/next.rs"))?;
        text = text.replace(&format!("{ABI}{version};"), &format!("{ABI}{};", version + 1));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sources_can_be_changed() {
        for file in [MANIFEST, COMMON, PEERS] {
            let text = fs::read_to_string(workspace::root().join(file)).unwrap();
            assert_ne!(changed(file, &text).unwrap(), text, "{file}");
        }
    }
}
