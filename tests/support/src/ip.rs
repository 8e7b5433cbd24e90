//! Running iproute2's `ip`: the one way in which the testbed makes and asks for links, addresses and routes. Which ones
//! is decided elsewhere.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};

use crate::error::{Error, Result};
use crate::find_tool::find_tool;

fn command(namespace: Option<&str>) -> Result<Command> {
    let mut command = Command::new(find_tool("ip")?);
    if let Some(name) = namespace {
        command.args(["-n", name]);
    }
    // A group of its own: Ctrl-C must not end it half-way through a change.
    command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command)
}

fn checked(output: &Output, command_line: impl FnOnce() -> String) -> Result<String> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::Command { command: command_line(), status: output.status, stderr })
}

/// Runs a script of `ip` commands, one per line, in one process. It stops at the first that fails.
pub(crate) fn batch(namespace: Option<&str>, script: &str) -> Result<()> {
    let mut child = command(namespace)?
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .map_err(Error::io("starting `ip -batch -`"))?;
    let fed = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(script.as_bytes()));
    let output = child.wait_with_output().map_err(Error::io("waiting for `ip -batch -`"))?;
    checked(&output, || format!("ip {} -batch - <<{script}", namespace.unwrap_or("")))?;
    fed.map_err(Error::io("feeding `ip -batch -`"))
}

/// Runs one `ip` command and returns what it printed.
pub(crate) fn output(namespace: Option<&str>, arguments: &[&str]) -> Result<String> {
    let output =
        command(namespace)?.args(arguments).stdin(Stdio::null()).output().map_err(Error::io("starting `ip`"))?;
    checked(&output, || format!("ip {} {}", namespace.unwrap_or(""), arguments.join(" ")))
}
