//! The inputs that the targets start from: what is committed below fuzz/corpus, seeds written anew from the tests' tables, and what earlier runs
//! found. Owns the limits of what is committed.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum as _;

use crate::cmd::Cmd;
use crate::workspace;

use super::{Places, Target, command, cover};

/// Files of all targets together.
const MOST_FILES: usize = 300;
/// Their bytes.
const MOST_BYTES: u64 = 1_000_000;

/// Where a target's finds go.
pub(super) fn found(places: &Places, target: Target) -> PathBuf {
    places.scratch.join("found").join(target.name())
}

fn seeds(places: &Places) -> PathBuf {
    places.scratch.join("seeds")
}

fn committed(target: Target) -> PathBuf {
    workspace::root().join("fuzz/corpus").join(target.name())
}

/// The folders that are only read; a new target has nothing committed yet.
pub(super) fn inputs(places: &Places, target: Target) -> Vec<PathBuf> {
    let folders = [seeds(places).join(target.name()), committed(target)];
    folders.into_iter().filter(|folder| folder.is_dir()).collect()
}

/// Writes every target's seeds anew, so that a new case in tests/cases is one at once.
pub(super) fn write_seeds(places: &Places) -> Result<()> {
    let folder = seeds(places);
    renew(&folder)?;
    // The table of cases leaks its names, on purpose.
    Cmd::new(places.executables.join("seeds")).arg(&folder).env("ASAN_OPTIONS", "detect_leaks=0").run_quiet()
}

/// Makes the committed corpus the few inputs that together reach the most of what anything reached so far.
pub(super) fn minimise(places: &Places, target: Target) -> Result<()> {
    let least = places.scratch.join("least").join(target.name());
    renew(&least)?;
    let log = places.scratch.join(format!("{}-minimise.log", target.name()));
    let control = places.scratch.join(format!("{}-minimise.control", target.name()));
    // One that is there would be gone on with.
    if control.exists() {
        fs::remove_file(&control).with_context(|| format!("{} could not be removed", control.display()))?;
    }
    let mut option = OsString::from("-merge_control_file=");
    option.push(&control);
    let status = command(places, target)
        // Edges only: how often each was taken would keep thousands of files.
        .args(["-set_cover_merge=1", "-use_counters=0"])
        .arg(option)
        .arg(&least)
        .args(inputs(places, target))
        .arg(found(places, target))
        .log_to(&log)?;
    ensure!(status.success(), "{} could not be minimised ({status}); see {}", target.name(), log.display());
    let measured = fs::read_to_string(&control).with_context(|| format!("{} can not be read", control.display()))?;
    let chosen = cover::choose(&measured, MOST_FILES / Target::value_variants().len());
    ensure!(!chosen.is_empty(), "{} names no input", control.display());
    // Read before the folder that some of them lie in is emptied.
    let inputs: Vec<Vec<u8>> = chosen.iter().map(fs::read).collect::<Result<_, _>>().context("an input is gone")?;
    let committed = committed(target);
    renew(&committed)?;
    for (number, input) in inputs.iter().enumerate() {
        let file = committed.join(format!("{number:03}"));
        fs::write(&file, input).with_context(|| format!("{} could not be written", file.display()))?;
    }
    println!("{:<8} {} files in fuzz/corpus", target.name(), inputs.len());
    Ok(())
}

/// Refuses a corpus that is too large to be committed.
pub(super) fn check_size() -> Result<()> {
    let (mut count, mut bytes) = (0, 0);
    for folder in files(&workspace::root().join("fuzz/corpus"))? {
        for file in files(&folder)? {
            count += 1;
            bytes += fs::metadata(&file).with_context(|| format!("{} can not be read", file.display()))?.len();
        }
    }
    ensure!(
        count <= MOST_FILES && bytes <= MOST_BYTES,
        "fuzz/corpus has {count} files with {bytes} bytes, more than {MOST_FILES} or {MOST_BYTES}; remove the largest"
    );
    println!("fuzz/corpus: {count} files, {bytes} bytes");
    Ok(())
}

/// Makes the folder, empty.
fn renew(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("{} could not be removed", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("{} could not be made", folder.display()))
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("{} can not be read", folder.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_committed_is_small() {
        assert!(check_size().is_ok(), "see the limits above");
    }
}
