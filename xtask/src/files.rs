//! What several verbs do with files and folders, each error with the path.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Result;
use fs_err as fs;

use crate::{cmd::Cmd, workspace};

/// Removes a folder with all that is in it; fine if it is not there.
pub(crate) fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Makes the folder, empty.
pub(crate) fn renew(folder: &Path) -> Result<()> {
    remove(folder)?;
    Ok(fs::create_dir_all(folder)?)
}

/// Writes a file, and the folders that it is in.
pub(crate) fn write(file: &Path, text: impl AsRef<[u8]>) -> Result<()> {
    fs::create_dir_all(file.parent().unwrap_or(file))?;
    Ok(fs::write(file, text)?)
}

/// Copies a file, and makes the folders that the copy is in.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to.parent().unwrap_or(to))?;
    fs::copy(from, to)?;
    Ok(())
}

/// Every file in a folder and in those below it, sorted.
pub(crate) fn below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    Ok(found)
}

/// Every file that is in git or would be added by `git add .`, from the root.
pub(crate) fn known_to_git() -> Result<Vec<String>> {
    let root = workspace::root();
    let listed = Cmd::new("git")
        // In CI the checkout may belong to another user than the one who runs this.
        .args(["-c", &format!("safe.directory={}", root.display())])
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .dir(root)
        .advice("run this in a git checkout, with git installed")
        .read()?;
    Ok(listed.split_terminator('\0').map(str::to_owned).collect())
}

/// Copies what git knows or would know, each file changed by its name; files that are the same keep their times, so that cargo builds little twice.
pub(crate) fn copy_sources(copy: &Path, change: impl Fn(&str, Vec<u8>) -> Result<Vec<u8>>) -> Result<()> {
    for name in known_to_git()? {
        let (from, to) = (workspace::root().join(&name), copy.join(&name));
        // Listed, and deleted in the working tree.
        let Ok(bytes) = fs::read(&from) else { continue };
        let bytes = change(&name, bytes)?;
        if fs::read(&to).is_ok_and(|there| there == bytes) {
            continue;
        }
        write(&to, bytes)?;
    }
    Ok(())
}
