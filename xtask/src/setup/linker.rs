//! bpf-linker, which links the kernel program: one pinned version below `target/tools`, never in the user's cargo folder.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::cmd::Cmd;
use crate::progress::Step;
use crate::workspace;

/// The version that the kernel program is built and tested with.
const VERSION: &str = "0.10.3";

/// Installs bpf-linker unless this very version is there.
pub(super) fn ensure() -> Result<()> {
    let tools = workspace::tools();
    let linker = tools.join("bin/bpf-linker");
    if installed_version(&linker).as_deref() == Some(VERSION) {
        return Ok(());
    }
    let step = Step::start(&format!(
        "building bpf-linker {VERSION} into target/tools (it links the kernel program; 1 to 2 minutes)"
    ));
    let build = workspace::root().join("target/tools-build");
    Cmd::cargo("install")
        .args(["bpf-linker", "--version", VERSION, "--locked", "--force", "--root"])
        .arg(&tools)
        .env("CARGO_TARGET_DIR", &build)
        .advice("make sure that cargo can download crates and that a C compiler (`cc`) is there, then run `cargo xtask setup` again")
        .run_quiet()?;
    fs::remove_dir_all(&build)
        .with_context(|| format!("{} could not be removed; remove it by hand", build.display()))?;
    let installed = installed_version(&linker);
    ensure!(
        installed.as_deref() == Some(VERSION),
        "{} says it is {}, not {VERSION}; remove target/tools/bin and run `cargo xtask setup` again",
        linker.display(),
        installed.unwrap_or_else(|| "nothing".to_owned())
    );
    step.done();
    Ok(())
}

/// What `bpf-linker --version` says, if it is there and starts.
fn installed_version(linker: &Path) -> Option<String> {
    if !linker.is_file() {
        return None;
    }
    let said = Cmd::new(linker).arg("--version").read().ok()?;
    Some(said.trim().strip_prefix("bpf-linker ")?.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_linker_of_another_version_or_a_broken_one_is_not_taken() {
        let folder = std::env::temp_dir().join(format!("xtask-linker-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let linker = folder.join("bpf-linker");
        assert_eq!(installed_version(&linker), None, "not there");
        for (script, expected) in [("echo bpf-linker 0.9.0", Some("0.9.0")), ("exit 1", None), ("echo hello", None)] {
            fs::write(&linker, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&linker, fs::Permissions::from_mode(0o755)).unwrap();
            assert_eq!(installed_version(&linker).as_deref(), expected, "{script}");
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
