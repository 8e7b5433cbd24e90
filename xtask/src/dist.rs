//! `cargo xtask dist`: what users install, in target/dist: a static nodewall, a .deb and an .rpm of one tree of files, the kernel object, a bill of
//! materials, checksums. With `--check`, everything is looked at as its receivers would (`dist/check.rs`).

mod check;
mod checksums;
mod object;
mod tree;

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, ensure};
use fs_err as fs;

use crate::cmd::Cmd;
use crate::progress::Step;
use crate::setup::{self, Tool};
use crate::{files, workspace};

const TARGET: &str = "x86_64-unknown-linux-gnu";
const CARGO_DEB: Tool = Tool { name: "cargo-deb", version: "3.8.0", what_for: "it makes the .deb; about 1 minute" };
const CARGO_RPM: Tool =
    Tool { name: "cargo-generate-rpm", version: "0.21.1", what_for: "it makes the .rpm; about 1 minute" };
const CARGO_CYCLONEDX: Tool =
    Tool { name: "cargo-cyclonedx", version: "0.5.9", what_for: "it lists what is built in; about 1 minute" };

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Then install, upgrade, remove and purge the .deb in a Debian of its own, look into the .rpm, build the kernel object in another folder and
    /// compare (needs root)
    #[arg(long)]
    check: bool,
}

/// What was made.
struct Artifacts {
    executable: PathBuf,
    deb: PathBuf,
    rpm: PathBuf,
    object: PathBuf,
    bill: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    setup::run()?;
    let made = make()?;
    for file in [&made.executable, &made.deb, &made.rpm, &made.object, &made.bill, &folder().join(checksums::NAME)] {
        println!("{}", file.display());
    }
    if args.check {
        setup::run_with_dist()?;
        check::run(&made)?;
    }
    Ok(())
}

fn make() -> Result<Artifacts> {
    let built = executable()?;
    let version = version(&built)?;
    let executable = folder().join(format!("nodewall-{version}-{TARGET}"));
    files::copy(&built, &executable)?;
    tree::lay_out(&executable)?;
    let object = folder().join(format!("nodewall-{version}.bpf.o"));
    files::copy(&object::newest_below(&build_folder().join(TARGET).join("release"))?, &object)?;
    let (deb, rpm) = (deb(None)?, rpm()?);
    let bill = bill_of_materials(&version)?;
    let made = Artifacts { executable, deb, rpm, object, bill };
    checksums::write(&[&made.executable, &made.deb, &made.rpm, &made.object, &made.bill])?;
    Ok(made)
}

/// nodewall, linked with everything that it needs.
fn executable() -> Result<PathBuf> {
    let step =
        Step::start("building nodewall, statically linked, into target/dist/build (5 minutes when nothing is there)");
    Cmd::cargo("build")
        .args(["--release", "--package", "nodewall", "--bin", "nodewall", "--target", TARGET])
        .env("CARGO_TARGET_DIR", build_folder())
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
        .advice("make sure that `cargo build --release` works; static linking needs libc6-dev")
        .run_quiet()?;
    step.done();
    let executable = build_folder().join(TARGET).join("release/nodewall");
    ensure!(executable.is_file(), "cargo built no {}", executable.display());
    Ok(executable)
}

/// The version that an executable says it is.
fn version(executable: &Path) -> Result<String> {
    let said = Cmd::new(executable).arg("--version").read()?;
    let version = said.trim().strip_prefix("nodewall ").ok_or_else(|| anyhow!("nodewall says it is {said:?}"))?;
    Ok(version.to_owned())
}

/// The .deb of the tree; `version`: another than the crate's, for trying an upgrade.
fn deb(version: Option<&str>) -> Result<PathBuf> {
    let step = Step::start("making the .deb");
    let mut command = Cmd::new(CARGO_DEB.ensure()?)
        .args(["--no-build", "--no-strip", "--package", "nodewall", "--output"])
        .arg(folder())
        .dir(workspace::root());
    if let Some(version) = version {
        command = command.args(["--deb-version", version]);
    }
    let said = command.read()?;
    step.done();
    only_file(&said, "deb")
}

fn rpm() -> Result<PathBuf> {
    let step = Step::start("making the .rpm");
    for old in fs::read_dir(folder()).into_iter().flatten().flatten() {
        if old.path().extension().is_some_and(|extension| extension == "rpm") {
            fs::remove_file(old.path())?;
        }
    }
    Cmd::new(CARGO_RPM.ensure()?)
        .args(["generate-rpm", "--output"])
        .arg(folder())
        .dir(workspace::root())
        .run_quiet()?;
    step.done();
    let made = fs::read_dir(folder())?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "rpm"));
    made.ok_or_else(|| anyhow!("cargo-generate-rpm made no .rpm in {}", folder().display()))
}

/// The path that a tool printed.
fn only_file(said: &str, extension: &str) -> Result<PathBuf> {
    let path = said.lines().map(Path::new).find(|path| path.extension().is_some_and(|found| found == extension));
    let path = path.ok_or_else(|| anyhow!("no .{extension} is named in {said:?}"))?;
    ensure!(path.is_file(), "{} is not there", path.display());
    Ok(path.to_owned())
}

/// Every crate that is in the executable or in the kernel object, with version, licence and checksum.
fn bill_of_materials(version: &str) -> Result<PathBuf> {
    let step = Step::start("listing what is built in (CycloneDX)");
    let name = "nodewall-bill";
    Cmd::new(CARGO_CYCLONEDX.ensure()?)
        .args([
            "cyclonedx",
            "--format",
            "json",
            "--spec-version",
            "1.5",
            "--target",
            TARGET,
            "--override-filename",
            name,
        ])
        .dir(workspace::root())
        .run_quiet()?;
    // One beside each crate of the workspace; the root's is nodewall's.
    let bill = folder().join(format!("nodewall-{version}.cdx.json"));
    let mut crate_folders: Vec<String> =
        ["", "node-ebpf", "node-ebpf-common", "tests/cases", "tests/model", "tests/rig", "tests/support", "xtask"]
            .map(str::to_owned)
            .to_vec();
    for entry in fs::read_dir(workspace::root().join("crates"))? {
        crate_folders.push(format!("crates/{}", entry?.file_name().to_string_lossy()));
    }
    for crate_folder in crate_folders {
        let made = workspace::root().join(&crate_folder).join(format!("{name}.json"));
        match crate_folder.as_str() {
            "" => files::copy(&made, &bill)?,
            "node-ebpf" => files::copy(&made, &folder().join(format!("nodewall-{version}.bpf.cdx.json")))?,
            _ => {}
        }
        fs::remove_file(&made)?;
    }
    step.done();
    Ok(bill)
}

fn folder() -> PathBuf {
    workspace::root().join("target/dist")
}

fn build_folder() -> PathBuf {
    folder().join("build")
}
