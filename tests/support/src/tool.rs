//! Finding and running the system's own tools: iproute2, nftables, bpftool, ping. What they are told is decided elsewhere.

use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::netns::NetNs;
use crate::process::run_to_end;
use crate::wait::PATIENCE;

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

impl NetNs {
    /// Runs a tool of the system (`nft`, `ping`, `bpftool`) inside this namespace and returns what it printed. It is an error
    /// when it fails.
    pub fn tool(&self, name: &'static str, arguments: &[&str]) -> Result<String> {
        let mut command = self.command(find_tool(name)?);
        command.args(arguments);
        let finished = run_to_end(name, command, PATIENCE)?;
        if finished.status.success() {
            return Ok(finished.stdout);
        }
        Err(Error::Command {
            command: format!("{name} {}", arguments.join(" ")),
            status: finished.status,
            stderr: format!("{}{}", finished.stdout, finished.stderr).trim().to_owned(),
        })
    }
}
