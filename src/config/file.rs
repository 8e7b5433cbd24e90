//! Which file is the configuration, and whether it may be believed.
//!
//! Owns the one read of the configuration file. Must not judge its text.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Config;
use super::error::ConfigErrors;

/// Where the configuration is when nothing else is said.
pub const DEFAULT_PATH: &str = "/etc/nodewall/nodewall.toml";
/// Largest configuration, in bytes.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Write permission for the group and for all others.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Where a configuration came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConfigOrigin {
    /// A file that was named: `--config`.
    Named(PathBuf),
    /// The standard file, which exists.
    Standard(PathBuf),
    /// No file: the defaults that are compiled in.
    Embedded,
}

impl ConfigOrigin {
    /// The file, if there is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Named(path) | Self::Standard(path) => Some(path),
            Self::Embedded => None,
        }
    }
}

impl fmt::Display for ConfigOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(path) | Self::Standard(path) => path.display().fmt(f),
            Self::Embedded => f.write_str("embedded default"),
        }
    }
}

/// Whose files may decide policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Trust {
    /// Owned by root or by whoever runs this, and writable by the owner only.
    #[default]
    OwnerOnly,
    /// Any file: for commands that only compute, never enforce.
    Anyone,
}

/// The configuration that counts: the file named, else the standard file if it exists, else the embedded default.
///
/// Which it was is in [`Config::origin`].
pub fn resolve(named: Option<&Path>, trust: Trust) -> Result<Config, ConfigErrors> {
    resolve_with(named, Path::new(DEFAULT_PATH), trust)
}

pub(crate) fn resolve_with(named: Option<&Path>, standard: &Path, trust: Trust) -> Result<Config, ConfigErrors> {
    if let Some(path) = named {
        return Config::load_with(path, trust);
    }
    // Not `exists`: a dangling link or an unreadable directory must be an error, not silently the default policy.
    match fs::symlink_metadata(standard) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Config::embedded()),
        _ => {
            let mut config = Config::load_with(standard, trust)?;
            config.origin = ConfigOrigin::Standard(standard.to_owned());
            Ok(config)
        }
    }
}

impl Config {
    /// Reads the file `path`, which must be trusted as [`Trust::OwnerOnly`] says.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        Self::load_with(path, Trust::OwnerOnly)
    }

    /// Reads the file `path` with the trust given.
    pub fn load_with(path: &Path, trust: Trust) -> Result<Self, ConfigErrors> {
        let file = path.display().to_string();
        let text = read(path, &file, trust)?;
        let mut config = Self::parse(&text, &file)?;
        config.origin = ConfigOrigin::Named(path.to_owned());
        Ok(config)
    }
}

fn read(path: &Path, file: &str, trust: Trust) -> Result<String, ConfigErrors> {
    let failed = |error: io::Error| {
        let help = (error.kind() == io::ErrorKind::NotFound)
            .then(|| "name an existing file with --config, or none for the embedded default".to_owned());
        ConfigErrors::whole(file, format!("cannot be read: {error}"), help)
    };
    let opened = open(path).map_err(failed)?;
    // Judged on the open file, so that what was judged is what is read.
    let metadata = opened.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(ConfigErrors::whole(file, "is not a regular file".to_owned(), None));
    }
    if trust == Trust::OwnerOnly {
        refuse_untrusted(&metadata, rustix::process::geteuid().as_raw(), file)?;
    }
    refuse_large(metadata.len(), file)?;
    let mut bytes = Vec::new();
    // One byte more than allowed, in case it grew since.
    opened.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    refuse_large(bytes.len() as u64, file)?;
    String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        let line = error.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1;
        ConfigErrors::whole(
            file,
            format!("is not UTF-8 text: invalid byte in line {line}"),
            Some("save it as UTF-8".to_owned()),
        )
    })
}

fn open(path: &Path) -> io::Result<File> {
    // Without O_NONBLOCK, opening a FIFO would wait for its writer for ever.
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    OpenOptions::new().read(true).custom_flags(i32::try_from(flags.bits()).unwrap_or_default()).open(path)
}

pub(crate) fn refuse_large(length_bytes: u64, file: &str) -> Result<(), ConfigErrors> {
    if length_bytes > MAX_FILE_BYTES {
        return Err(ConfigErrors::whole(
            file,
            format!("is larger than {MAX_FILE_BYTES} bytes; expected a configuration"),
            Some("name networks instead of single addresses".to_owned()),
        ));
    }
    Ok(())
}

/// Whoever can write the file decides the policy: that must be root or the user who runs this, alone.
fn refuse_untrusted(metadata: &fs::Metadata, euid: u32, file: &str) -> Result<(), ConfigErrors> {
    judge_owner(metadata.uid(), metadata.mode(), euid)
        .map_err(|(message, fix)| ConfigErrors::whole(file, message, Some(format!("{fix} {file}"))))
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
