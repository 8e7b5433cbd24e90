//! Reading a file that decides policy: a regular file of text, not too large, that nobody else can write.
//!
//! Owns what is believed. Must not judge the text.

use std::io::{self, Read};
use std::path::Path;

use nodewall_files::{Refusal, WRITABLE};

use super::error::ValueError;

/// Largest configuration, in bytes.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// A key's group may read it: certificates are often given to services so.
const KEY: u32 = WRITABLE | 0o007;

/// Whose files may decide policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Trust {
    /// Owned by root or by whoever runs this, and writable by the owner only; so is the way to it.
    #[default]
    OwnerOnly,
    /// The same, and not readable by all.
    Key,
    /// Any file: for commands that only compute, never enforce.
    Anyone,
}

/// Reads the file whole. What is wrong is told without the file's name; `missing` is what to do where there is none.
pub fn read_trusted(path: &Path, trust: Trust, max_bytes: u64, missing: &str) -> Result<String, ValueError> {
    let failed = |error: io::Error| ValueError::new(format!("cannot be read: {error}"));
    let refused = |refusal: Refusal| {
        let problem = refusal.problem();
        let cannot = if refusal.system().is_some() { "cannot be read: " } else { "" };
        let told = ValueError { denied: refusal.is_denied(), ..ValueError::new(format!("{cannot}{problem}")) };
        match refusal.help() {
            Some(help) => told.help(help),
            None if refusal.is_absent() => told.help(missing),
            None => told,
        }
    };
    let opened = match trust {
        Trust::OwnerOnly => nodewall_files::open(path, WRITABLE).map_err(refused)?,
        Trust::Key => nodewall_files::open(path, KEY).map_err(refused)?,
        Trust::Anyone => nodewall_files::open_any(path).map_err(refused)?,
    };
    refuse_large(opened.metadata().map_err(failed)?.len(), max_bytes)?;
    let mut bytes = Vec::new();
    // One byte more than allowed, in case it grew since.
    opened.take(max_bytes + 1).read_to_end(&mut bytes).map_err(failed)?;
    refuse_large(bytes.len() as u64, max_bytes)?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        let line = error.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1;
        ValueError::new(format!("is not UTF-8 text: invalid byte in line {line}")).help("save it as UTF-8")
    })?;
    // The mark that some editors put before UTF-8 is no part of the text.
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

pub(super) fn refuse_large(length_bytes: u64, max_bytes: u64) -> Result<(), ValueError> {
    if length_bytes > max_bytes {
        return Err(ValueError::new(format!("is larger than {max_bytes} bytes"))
            .help("name networks instead of single addresses"));
    }
    Ok(())
}
