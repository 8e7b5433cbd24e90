//! Tools that cargo installs from source: one pinned version of each below `target/tools`, never in the user's cargo folder.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use fs_err as fs;

use crate::cmd::Cmd;
use crate::progress::Step;
use crate::workspace;

/// A crate with one executable of the same name, which says `NAME VERSION` to `--version` (cargo-VERB: or to `VERB --version`).
pub(crate) struct Tool {
    /// The crate and its executable.
    pub(crate) name: &'static str,
    /// The one version that is used.
    pub(crate) version: &'static str,
    /// What it is for and how long it takes to build, for people.
    pub(crate) what_for: &'static str,
}

impl Tool {
    /// Installs the tool unless this very version is there; returns its executable.
    pub(crate) fn ensure(&self) -> Result<PathBuf> {
        let Self { name, version, what_for } = self;
        let tools = workspace::tools();
        let executable = tools.join("bin").join(name);
        if self.installed_version(&executable).as_deref() == Some(version) {
            return Ok(executable);
        }
        let step = Step::start(&format!("building {name} {version} into target/tools ({what_for})"));
        let build = workspace::root().join("target/tools-build").join(name);
        Cmd::cargo("install")
            .args([name, "--version", version, "--force", "--root"])
            .arg(&tools)
            .env("CARGO_TARGET_DIR", &build)
            // Each runs for seconds, and would be optimized for minutes.
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0")
            .env("CARGO_PROFILE_RELEASE_LTO", "off")
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
            .advice(
                "make sure that cargo can download crates and that a C compiler (`cc`) is there, then run this again",
            )
            .run_quiet()?;
        fs::remove_dir_all(&build)?;
        let installed = self.installed_version(&executable);
        ensure!(
            installed.as_deref() == Some(version),
            "{} says it is {}, not {version}; remove target/tools/bin and run this again",
            executable.display(),
            installed.unwrap_or_else(|| "nothing".to_owned())
        );
        step.done();
        Ok(executable)
    }

    /// What the executable says of itself, if it is there and starts.
    fn installed_version(&self, executable: &Path) -> Option<String> {
        if !executable.is_file() {
            return None;
        }
        let version = |args: &[&str]| {
            let said = Cmd::new(executable).args(args).read().ok()?;
            // Some repeat the verb: `cargo-cyclonedx-cyclonedx 0.5.9`.
            let (name, version) = said.trim().split_once(' ')?;
            name.starts_with(self.name).then(|| version.to_owned())
        };
        version(&["--version"]).or_else(|| version(&[self.name.strip_prefix("cargo-")?, "--version"]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_tool_of_another_version_or_a_broken_one_is_not_taken() {
        let folder = std::env::temp_dir().join(format!("xtask-tool-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let tool = Tool { name: "a-tool", version: "1.0.0", what_for: "a test" };
        let executable = folder.join("a-tool");
        assert_eq!(tool.installed_version(&executable), None, "not there");
        for (script, expected) in [("echo a-tool 0.9.0", Some("0.9.0")), ("exit 1", None), ("echo hello", None)] {
            fs::write(&executable, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&executable, std::fs::Permissions::from_mode(0o755)).unwrap();
            assert_eq!(tool.installed_version(&executable).as_deref(), expected, "{script}");
        }
        let tool = Tool { name: "cargo-a", ..tool };
        fs::write(&executable, "#!/bin/sh\n[ \"$1\" = a ] && echo cargo-a 1.0.0\n").unwrap();
        assert_eq!(tool.installed_version(&executable).as_deref(), Some("1.0.0"), "speaks only as cargo's verb");
        fs::remove_dir_all(&folder).unwrap();
    }
}
