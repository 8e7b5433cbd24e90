//! Reading a file that decides policy: a regular file of text, not too large, that nobody else can write.
//!
//! Owns what is believed. Must not judge the text.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use super::error::ValueError;

/// Largest configuration, in bytes.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Write permission for the group and for all others.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Whose files may decide policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Trust {
    /// Owned by root or by whoever runs this, and writable by the owner only.
    #[default]
    OwnerOnly,
    /// Any file: for commands that only compute, never enforce.
    Anyone,
}

/// Reads the file whole. What is wrong is told without the file's name; `missing` is what to do where there is none.
pub fn read_trusted(path: &Path, trust: Trust, max_bytes: u64, missing: &str) -> Result<String, ValueError> {
    let failed = |error: io::Error| {
        let told = ValueError::new(format!("cannot be read: {error}"));
        if error.kind() == io::ErrorKind::NotFound { told.help(missing) } else { told }
    };
    let opened = open(path).map_err(failed)?;
    // Judged on the open file, so that what was judged is what is read.
    let metadata = opened.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(ValueError::new("is not a regular file"));
    }
    if trust == Trust::OwnerOnly {
        refuse_untrusted(path, &metadata)?;
    }
    refuse_large(metadata.len(), max_bytes)?;
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

fn open(path: &Path) -> io::Result<File> {
    // Without O_NONBLOCK, opening a FIFO would wait for its writer for ever.
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    OpenOptions::new().read(true).custom_flags(i32::try_from(flags.bits()).unwrap_or_default()).open(path)
}

pub(super) fn refuse_large(length_bytes: u64, max_bytes: u64) -> Result<(), ValueError> {
    if length_bytes > max_bytes {
        return Err(ValueError::new(format!("is larger than {max_bytes} bytes"))
            .help("name networks instead of single addresses"));
    }
    Ok(())
}

/// Whoever can write the file decides the policy: that must be root or the user who runs this, alone.
fn refuse_untrusted(path: &Path, metadata: &Metadata) -> Result<(), ValueError> {
    judge_owner(metadata.uid(), metadata.mode(), rustix::process::geteuid().as_raw())
        .map_err(|(message, fix)| ValueError::new(message).help(format!("{fix} {}", path.display())))
}

pub(crate) fn judge_owner(uid: u32, mode: u32, euid: u32) -> Result<(), (String, &'static str)> {
    if uid != 0 && uid != euid {
        return Err((
            format!("is owned by user {uid}, who could change the policy; expected root or user {euid}"),
            "chown root:root",
        ));
    }
    if mode & WRITABLE_BY_OTHERS != 0 {
        let permissions = mode & 0o7777;
        return Err((
            format!("can be written by others (mode {permissions:04o}); a file that decides policy must not be"),
            "chmod go-w",
        ));
    }
    Ok(())
}
