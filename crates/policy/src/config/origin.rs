//! Where a configuration came from.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

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
