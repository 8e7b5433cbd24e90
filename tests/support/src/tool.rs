//! Running the system's own tools inside a namespace: nftables, bpftool, ping. What they are told is decided elsewhere.

use crate::error::{Error, Result};
use crate::find_tool::find_tool;
use crate::netns::NetNs;
use crate::process::run_to_end;
use crate::wait::PATIENCE;

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
