//! Where the system's own tools are: iproute2, nftables, bpftool, ping.

use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Result};

/// Root's PATH is often without them in a user's shell.
const SYSTEM_DIRECTORIES: [&str; 3] = ["/usr/sbin", "/sbin", "/usr/bin"];

/// Where a tool is: in PATH, or where the system keeps its tools.
pub fn find_tool(name: &'static str) -> Result<PathBuf> {
    static FOUND: Mutex<BTreeMap<&str, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(file) = found.get(name) {
        return Ok(file.clone());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = env::split_paths(&path).chain(SYSTEM_DIRECTORIES.map(PathBuf::from));
    let mut files = directories.map(|directory| directory.join(name));
    let file = files.find(|file| file.is_file()).ok_or(Error::MissingTool(name))?;
    found.insert(name, file.clone());
    Ok(file)
}
