//! Where things are: the workspace, its tools, cargo's output. Finds and names places; writes nothing.

use std::env;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// The folder of the workspace's Cargo.toml.
pub(crate) fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// What setup fetched: `target/tools`, even where cargo's own output goes elsewhere (build.rs looks here).
pub(crate) fn tools() -> PathBuf {
    root().join("target/tools")
}

/// Cargo's output folder, as the environment or the default has it.
pub(crate) fn cargo_target() -> PathBuf {
    ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR"]
        .into_iter()
        .find_map(env::var_os)
        .map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// The executable `name` in PATH or in the folders for administrators, which an ordinary user's PATH lacks.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(name))
        .find(|file| file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0))
}

/// The same for a program that setup installs.
pub(crate) fn tool(name: &str) -> Result<PathBuf> {
    find_program(name).with_context(|| format!("`{name}` is not there; run `cargo xtask setup`"))
}

/// Whether this process acts as root (the kernel gives `/proc/self` the effective user as its owner).
pub(crate) fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

/// What `uname -r` says.
pub(crate) fn kernel_release() -> Result<String> {
    let file = "/proc/sys/kernel/osrelease";
    let release = std::fs::read_to_string(file).with_context(|| format!("{file} can not be read"))?;
    Ok(release.trim().to_owned())
}

/// Whether a test of tests/TARGET, or any that begins so, is where its path says: for tables of tests, where a wrong name would run nothing.
#[cfg(test)]
pub(crate) fn has_test(target: &str, path: &str) -> bool {
    let (module, name) = path.rsplit_once("::").unwrap_or_default();
    let file = root().join("tests").join(target).join(format!("{}.rs", module.replace("::", "/")));
    std::fs::read_to_string(file).is_ok_and(|text| name.is_empty() || text.contains(&format!("\nfn {name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_the_workspace() {
        assert!(root().join("xtask/Cargo.toml").is_file());
        assert!(root().join("Cargo.lock").is_file());
    }

    #[test]
    fn programs_are_found_and_others_are_not() {
        assert!(find_program("sh").is_some_and(|path| path.ends_with("sh")));
        assert_eq!(find_program("nodewall-no-such-program"), None);
    }
}
