//! SHA256SUMS, as `sha256sum --check` reads it.

use std::path::Path;

use anyhow::Result;
use fs_err as fs;

use super::folder;
use crate::cmd::Cmd;

/// Its name.
pub(super) const NAME: &str = "SHA256SUMS";

/// Writes it for files of the folder.
pub(super) fn write(files: &[&Path]) -> Result<()> {
    let names = files.iter().filter_map(|file| file.file_name());
    let sums = Cmd::new("sha256sum").arg("--").args(names).dir(folder()).read()?;
    Ok(fs::write(folder().join(NAME), sums)?)
}

/// The sum of one file, hexadecimal.
pub(super) fn of(file: &Path) -> Result<String> {
    let said = Cmd::new("sha256sum").arg("--").arg(file).read()?;
    Ok(said.split_whitespace().next().unwrap_or_default().to_owned())
}
