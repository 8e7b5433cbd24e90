//! Which file is the configuration.
//!
//! Owns the one read of the configuration file. Must not judge its text.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Config;
use super::error::ConfigErrors;
use super::trusted::{self, Trust, read_trusted};

/// Where the configuration is when nothing else is said.
pub const DEFAULT_PATH: &str = "/etc/nodewall/nodewall.toml";
/// Largest configuration, in bytes.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;

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
    let missing = "name an existing file with --config, or none for the embedded default";
    read_trusted(path, trust, MAX_FILE_BYTES, missing)
        .map_err(|error| ConfigErrors::whole(file, error.message, error.help))
}

pub(crate) fn refuse_large(length_bytes: u64, file: &str) -> Result<(), ConfigErrors> {
    trusted::refuse_large(length_bytes, MAX_FILE_BYTES)
        .map_err(|error| ConfigErrors::whole(file, error.message, error.help))
}
