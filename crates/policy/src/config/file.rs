//! Which file is the configuration.
//!
//! Owns the one read of the configuration file. Must not judge its text.

use std::fs;
use std::io;
use std::path::Path;

use super::error::ConfigErrors;
use super::model::Config;
use super::origin::ConfigOrigin;
use super::trusted::{MAX_FILE_BYTES, Trust, read_trusted};

/// Where the configuration is when nothing else is said.
pub const DEFAULT_PATH: &str = "/etc/nodewall/nodewall.toml";

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
    /// Reads the file `path` with the trust given.
    pub fn load_with(path: &Path, trust: Trust) -> Result<Self, ConfigErrors> {
        let file = path.display().to_string();
        let missing = "name an existing file with --config, or none for the embedded default";
        let text =
            read_trusted(path, trust, MAX_FILE_BYTES, missing).map_err(|error| ConfigErrors::unread(&file, error))?;
        let mut config = Self::parse(&text, &file)?;
        config.origin = ConfigOrigin::Named(path.to_owned());
        Ok(config)
    }
}
