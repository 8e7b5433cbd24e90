//! Runs the host's own tools, bounded in time and in output. It must not know what they are asked.

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A host with many thousands of rules needs a second or two to list them.
const TIME_LIMIT: Duration = Duration::from_secs(10);
const OUTPUT_LIMIT_BYTES: u64 = 64 << 20;
const WAIT_STEP: Duration = Duration::from_millis(5);

/// In PATH, /usr/sbin and /sbin (a service's PATH may lack the latter two).
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .filter(|directory| directory.is_absolute())
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|tool| tool.is_file())
}

/// What a tool prints, or why it failed. Blocks while it runs, at most ten seconds.
pub fn run<A: AsRef<OsStr>>(tool: &Path, arguments: &[A]) -> Result<String, String> {
    let mut child = Command::new(tool)
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("could not be started: {error}"))?;
    let answer = collect(&mut child);
    if answer.is_err() {
        // It may have ended already, which is as good.
        let _ = child.kill();
        let _ = child.wait();
    }
    answer
}

fn collect(child: &mut Child) -> Result<String, String> {
    let output = drain(child.stdout.take());
    let complaint = drain(child.stderr.take());
    let end = Instant::now() + TIME_LIMIT;
    let late = || format!("no answer within {} s", TIME_LIMIT.as_secs());
    // Both pipes are read by threads of their own: a tool that fills one would otherwise wait for ever.
    let output = output.recv_timeout(TIME_LIMIT).map_err(|_| late())?;
    let complaint = complaint.recv_timeout(end.saturating_duration_since(Instant::now())).map_err(|_| late())?;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < end => std::thread::sleep(WAIT_STEP),
            Ok(None) => return Err(late()),
            Err(error) => return Err(format!("could not be waited for: {error}")),
        }
    };
    if !status.success() {
        let complaint = String::from_utf8_lossy(&complaint);
        return Err(format!("{status}: {}", complaint.lines().next().unwrap_or("no message")));
    }
    if output.len() as u64 >= OUTPUT_LIMIT_BYTES {
        return Err(format!("its answer is longer than {} MiB", OUTPUT_LIMIT_BYTES >> 20));
    }
    Ok(String::from_utf8_lossy(&output).into_owned())
}

/// Reads to the end (or the limit) in a thread of its own, which ends with the tool.
fn drain(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(pipe) = pipe {
            // An error ends the answer early; the tool's exit status tells.
            let _ = pipe.take(OUTPUT_LIMIT_BYTES).read_to_end(&mut bytes);
        }
        // Nobody waits any more once the time is up.
        let _ = sender.send(bytes);
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tools_failure_is_named() {
        let shell = find("sh").unwrap();
        assert_eq!(run(&shell, &["-c", "echo hello"]).unwrap(), "hello\n");
        let failure = run(&shell, &["-c", "echo no permission >&2; exit 3"]).unwrap_err();
        assert!(failure.contains('3') && failure.contains("no permission"), "{failure}");
        assert!(run(Path::new("/nonexistent"), &[""; 0]).unwrap_err().contains("could not be started"));
    }

    #[test]
    fn much_output_on_both_pipes_does_not_block() {
        let shell = find("sh").unwrap();
        let script = "head -c 300000 /dev/zero | tr '\\0' e >&2; head -c 300000 /dev/zero | tr '\\0' o";
        assert_eq!(run(&shell, &["-c", script]).unwrap().len(), 300_000);
    }
}
