//! Trees of files with a Debian in them, made by debootstrap below `target/trees` and used again until their list of packages is another. What is done with
//! a tree is decided elsewhere; nobody may change it.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use fs_err as fs;

use super::debian_archive;
use crate::cmd::Cmd;
use crate::progress::Step;
use crate::{files, workspace};

/// A Debian with a systemd: for the guest that boots it, and for the life of a package.
pub(crate) const WITH_SYSTEMD: &[&str] = &["systemd", "systemd-sysv", "iproute2"];

/// The tree of this name, with the suite's base and these packages.
pub(crate) fn tree(name: &str, suite: &str, packages: &[&str]) -> Result<PathBuf> {
    let tree = folder().join(name);
    let wanted = format!("{suite} {}\n", packages.join(","));
    if fs::read_to_string(stamp(name)).is_ok_and(|there| there == wanted) {
        return Ok(tree);
    }
    ensure!(workspace::is_root(), "debootstrap needs root to make {}; run this as root", tree.display());
    let archive = debian_archive()?;
    let step = Step::start(&format!("making a Debian ({suite}) in target/trees/{name} by debootstrap (about 60 s)"));
    let _ = fs::remove_file(stamp(name));
    files::remove(&tree)?;
    fs::create_dir_all(folder())?;
    Cmd::new("debootstrap")
        .args(["--variant=minbase", &format!("--include={}", packages.join(",")), suite])
        .arg(&tree)
        .arg(&archive.uri)
        .advice("make sure that the Debian mirror of this machine's apt sources can be reached; see debootstrap/debootstrap.log in the tree")
        .run_quiet()?;
    // Hundreds of megabytes of archives that were unpacked.
    let _ = fs::remove_dir_all(tree.join("var/cache/apt/archives"));
    let _ = fs::remove_dir_all(tree.join("var/lib/apt/lists"));
    // Written last: a tree that was not finished is made anew.
    fs::write(stamp(name), wanted)?;
    step.done();
    Ok(tree)
}

/// The file that says what a tree was made of; as old as the tree.
pub(crate) fn stamp(name: &str) -> PathBuf {
    folder().join(format!("{name}.stamp"))
}

fn folder() -> PathBuf {
    workspace::root().join("target/trees")
}
