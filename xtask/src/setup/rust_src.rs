//! The source of Rust's `core`, which the kernel program is built from. Where the toolchain has it, nothing is done; else
//! rustup adds it if it may, else Debian's package of the very same version is unpacked below `target/tools`.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use fs_err as fs;

use super::private_apt::PrivateApt;
use super::sources;
use crate::cmd::Cmd;
use crate::progress::Step;
use crate::{files, workspace};

/// The Debian package, and where it is looked for before and after the suites that the machine itself uses.
const PACKAGE: &str = "rust-src";
const SUITES_BEFORE: &[&str] = &["trixie-backports"];
const SUITES_AFTER: &[&str] = &["trixie", "sid"];

/// Names the version of Rust that the folder beside it belongs to.
const STAMP: &str = "VERSION";

/// Makes sure that the source is in the toolchain or below `target/tools/rust-src`.
pub(super) fn ensure() -> Result<()> {
    if in_toolchain()? {
        return Ok(());
    }
    let version = rustc_version()?;
    let fetched = workspace::tools().join("rust-src");
    let stamp = fs::read_to_string(fetched.join(STAMP)).unwrap_or_default();
    if stamp.trim() == version && fetched.join("library/core").is_dir() {
        return Ok(());
    }
    if rustup_may_install() && by_rustup() {
        return Ok(());
    }
    by_debian(&version, &fetched).map_err(|why| {
        anyhow!(
            "the source of Rust {version} is missing (the kernel program is built from it)\n  why: {why:#}\n  what to do: \
             run `rustup component add rust-src`, or make Debian's package {PACKAGE} {version} available to apt"
        )
    })
}

/// The fetched `library` folder, if the toolchain lacks its own; cargo's build-std has to be pointed at it.
pub(crate) fn fetched_library() -> Result<Option<PathBuf>> {
    Ok((!in_toolchain()?).then(|| workspace::tools().join("rust-src/library")))
}

fn in_toolchain() -> Result<bool> {
    let sysroot = rustc(&["--print", "sysroot"])?;
    Ok(Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core").is_dir())
}

fn rustc_version() -> Result<String> {
    let said = rustc(&["--version", "--verbose"])?;
    said.lines()
        .find_map(|line| line.strip_prefix("release: "))
        .map(str::to_owned)
        .ok_or_else(|| anyhow!("`rustc --version --verbose` names no release:\n{said}"))
}

fn rustc(args: &[&str]) -> Result<String> {
    Cmd::new("rustc").args(args).dir(workspace::root()).advice("install Rust by rustup").read()
}

/// Whether rustup is there and its owner has not told it to leave the toolchains alone.
fn rustup_may_install() -> bool {
    let forbidden = env::var("RUSTUP_AUTO_INSTALL").is_ok_and(|value| value == "0");
    !forbidden && workspace::find_program("rustup").is_some()
}

fn by_rustup() -> bool {
    let step = Step::start("adding the component rust-src by rustup (source of `core`; about 10 s)");
    let added = Cmd::new("rustup")
        .args(["component", "add", PACKAGE])
        .dir(workspace::root())
        .run_quiet()
        .and_then(|()| in_toolchain());
    match added {
        Ok(true) => step.done(),
        Ok(false) => eprintln!("    rustup added it, but not to the toolchain in use"),
        Err(ref error) => eprintln!("    rustup could not: {error:#}"),
    }
    matches!(added, Ok(true))
}

fn by_debian(version: &str, fetched: &Path) -> Result<()> {
    let archive = sources::debian_archive()?;
    let step = Step::start(&format!(
        "fetching Rust {version}'s source from Debian's {PACKAGE} into target/tools (source of `core`; about 10 s)"
    ));
    let folder = workspace::tools().join("apt");
    files::remove(&folder)?; // What an interrupted setup left there.
    let apt = PrivateApt::new(folder.clone(), &archive.uri)?;
    let own = archive.suites.iter().map(String::as_str);
    let mut suites: Vec<&str> = Vec::new();
    for suite in SUITES_BEFORE.iter().copied().chain(own).chain(SUITES_AFTER.iter().copied()) {
        if !suites.contains(&suite) {
            suites.push(suite);
        }
    }
    let package_version = apt.find(PACKAGE, &suites, |found| upstream_is(found, version))?;
    let unpacked = folder.join("unpacked");
    apt.unpack(PACKAGE, &package_version, &unpacked)?;
    put_in_place(&unpacked.join(format!("usr/src/rustc-{version}/library")), version, fetched)?;
    files::remove(&folder)?;
    step.done();
    Ok(())
}

/// Whether a Debian package version such as `1.95.0+dfsg1-2~bpo13+1` packages exactly this release of Rust.
fn upstream_is(package_version: &str, release: &str) -> bool {
    package_version.strip_prefix(release).is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', '-']))
}

/// Moves the unpacked folder to where the build looks, stamped, in one step.
fn put_in_place(library: &Path, version: &str, fetched: &Path) -> Result<()> {
    let staged = fetched.with_extension("new");
    files::remove(&staged)?;
    files::remove(fetched)?;
    fs::create_dir_all(&staged)
        .and_then(|()| fs::rename(library, staged.join("library")))
        .and_then(|()| fs::write(staged.join(STAMP), format!("{version}\n")))
        .and_then(|()| fs::rename(&staged, fetched))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_same_release_is_taken() {
        for right in ["1.95.0+dfsg1-2~bpo13+1", "1.95.0-1", "1.95.0"] {
            assert!(upstream_is(right, "1.95.0"), "{right}");
        }
        for wrong in ["1.94.1+dfsg1-1", "1.95.01-1", "1.95.0~beta.3+dfsg1-1", "11.95.0-1"] {
            assert!(!upstream_is(wrong, "1.95.0"), "{wrong}");
        }
    }

    #[test]
    fn the_library_replaces_an_old_one_whole_and_is_stamped() {
        let folder = env::temp_dir().join(format!("xtask-rust-src-{}", std::process::id()));
        let (library, fetched) = (folder.join("unpacked/usr/src/rustc-1.2.3/library"), folder.join("rust-src"));
        fs::create_dir_all(library.join("core")).unwrap();
        fs::create_dir_all(fetched.join("library/old")).unwrap();
        put_in_place(&library, "1.2.3", &fetched).unwrap();
        assert_eq!(fs::read_to_string(fetched.join(STAMP)).unwrap(), "1.2.3\n");
        assert!(fetched.join("library/core").is_dir());
        assert!(!fetched.join("library/old").exists() && !library.exists());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_package_without_the_library_is_an_error_that_names_it() {
        let folder = env::temp_dir().join(format!("xtask-rust-src-none-{}", std::process::id()));
        let error = put_in_place(&folder.join("library"), "1.2.3", &folder.join("rust-src")).unwrap_err();
        assert!(error.to_string().contains("xtask-rust-src-none"), "{error}");
        fs::remove_dir_all(&folder).unwrap();
    }
}
