//! The one way to run another program: shown in verbose mode, and a failure says the whole command line, how it ended,
//! the last lines it wrote and what to do next. It does not know what any of the programs are for.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, anyhow};

/// Lines of a captured program's output that an error repeats.
const TAIL_LINES: usize = 20;

static VERBOSE: AtomicBool = AtomicBool::new(false);

/// Shows every command line before it runs, and lets quiet programs speak.
pub(crate) fn set_verbose(verbose: bool) {
    VERBOSE.store(verbose, Ordering::Relaxed);
}

/// A command line being put together.
pub(crate) struct Cmd {
    command: Command,
    advice: Option<String>,
}

impl Cmd {
    /// Starts a command line; `program` is looked up in PATH unless it is a path.
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        Self { command: Command::new(program), advice: None }
    }

    /// Cargo, at the root of the workspace: through PATH, so that rustup picks the pinned toolchain. What it builds is what Cargo.lock says, or nothing.
    pub(crate) fn cargo(verb: &str) -> Self {
        let cargo = Self::new("cargo").arg(verb).dir(crate::workspace::root());
        // `fmt` resolves nothing; `xtask` is an alias that has it.
        if matches!(verb, "fmt" | "xtask") { cargo } else { cargo.arg("--locked") }
    }

    /// Adds one argument.
    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Adds several arguments.
    pub(crate) fn args<I>(mut self, args: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        self.command.args(args);
        self
    }

    /// Sets an environment variable for the program.
    pub(crate) fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    /// Sets the folder that the program runs in.
    pub(crate) fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Says what the user should do when this command fails.
    pub(crate) fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// Runs the program with our own stdin, stdout and stderr: for programs whose output is the point.
    pub(crate) fn run(mut self) -> Result<()> {
        self.echo();
        let status = self.command.status().map_err(|error| self.not_started(&error))?;
        self.check(status, &[])
    }

    /// Runs the program silently; what it wrote is shown if it fails, and always in verbose mode.
    pub(crate) fn run_quiet(self) -> Result<()> {
        if VERBOSE.load(Ordering::Relaxed) {
            return self.run();
        }
        self.read().map(drop)
    }

    /// Runs the program and returns its stdout.
    pub(crate) fn read(mut self) -> Result<String> {
        self.echo();
        let output = self.command.stdin(Stdio::null()).output().map_err(|error| self.not_started(&error))?;
        let Output { status, stdout, stderr } = output;
        // A program that fails without a word on stderr has often said why on stdout.
        let said = if stderr.trim_ascii().is_empty() { &stdout } else { &stderr };
        self.check(status, said)?;
        String::from_utf8(stdout).map_err(|error| anyhow!("`{}` wrote what is not UTF-8: {error}", self.line()))
    }

    /// Runs the program with all that it writes in the file `log`, and says how it ended: for programs whose failure is a result.
    pub(crate) fn log_to(mut self, log: &Path) -> Result<ExitStatus> {
        self.echo();
        let file = File::create(log).with_context(|| format!("{} could not be made", log.display()))?;
        let both = file.try_clone().with_context(|| format!("{} could not be shared", log.display()))?;
        self.command.stdin(Stdio::null()).stdout(both).stderr(file).status().map_err(|error| self.not_started(&error))
    }

    /// Becomes the program; returns only if it could not be started.
    pub(crate) fn exec(mut self) -> anyhow::Error {
        self.echo();
        let error = self.command.exec();
        self.not_started(&error)
    }

    fn echo(&self) {
        if VERBOSE.load(Ordering::Relaxed) {
            eprintln!("+ {}", self.line());
        }
    }

    /// The command line as it can be pasted into a shell, with the environment that we added.
    fn line(&self) -> String {
        let mut line = String::new();
        for (key, value) in self.command.get_envs() {
            if let Some(value) = value {
                let _ = write!(line, "{}={} ", key.to_string_lossy(), quoted(value));
            }
        }
        line.push_str(&quoted(self.command.get_program()));
        for arg in self.command.get_args() {
            line.push(' ');
            line.push_str(&quoted(arg));
        }
        line
    }

    fn not_started(&self, error: &io::Error) -> anyhow::Error {
        let mut text = format!("`{}` could not be started: {error}", self.line());
        self.add_advice(&mut text);
        anyhow!(text)
    }

    fn check(&self, status: ExitStatus, said: &[u8]) -> Result<()> {
        if status.success() {
            return Ok(());
        }
        let mut text = format!("`{}` failed ({status})", self.line());
        text.push_str(&tail(&String::from_utf8_lossy(said)));
        self.add_advice(&mut text);
        Err(anyhow!(text))
    }

    fn add_advice(&self, text: &mut String) {
        if let Some(advice) = &self.advice {
            let _ = write!(text, "\n  what to do: {advice}");
        }
    }
}

/// How a value is written on our own command line.
pub(crate) fn name_of<T: clap::ValueEnum>(value: &T) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

/// The last lines of what a program said, each on a line of its own.
pub(crate) fn tail(said: &str) -> String {
    let lines: Vec<&str> = said.trim_end().lines().collect();
    lines.iter().skip(lines.len().saturating_sub(TAIL_LINES)).map(|line| format!("\n  | {line}")).collect()
}

/// `word` as a POSIX shell would need it written.
fn quoted(word: &OsStr) -> String {
    let word = OsString::from(word).to_string_lossy().into_owned();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%~".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_the_line_the_status_the_last_words_and_the_advice() {
        let error = Cmd::new("sh")
            .args(["-c", "seq 1 30 >&2; exit 3"])
            .env("NODEWALL_X", "a b")
            .advice("try again")
            .read()
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("`NODEWALL_X='a b' sh -c 'seq 1 30 >&2; exit 3'` failed (exit status: 3)"),
            "{error}"
        );
        assert!(error.contains("\n  | 11\n") && error.contains("\n  | 30\n"));
        assert!(!error.contains("| 10\n"), "only the last {TAIL_LINES} lines: {error}");
        assert!(error.ends_with("\n  what to do: try again"), "{error}");
    }

    #[test]
    fn words_on_stdout_are_shown_when_stderr_is_silent() {
        let error = Cmd::new("sh").args(["-c", "echo why; exit 1"]).run_quiet().unwrap_err();
        assert!(error.to_string().ends_with("\n  | why"), "{error}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = Cmd::new("nodewall-no-such-program").arg("x").run().unwrap_err();
        assert!(error.to_string().starts_with("`nodewall-no-such-program x` could not be started"), "{error}");
    }

    #[test]
    fn words_are_quoted_for_a_shell() {
        for (word, expected) in [("a-b", "a-b"), ("", "''"), ("a b", "'a b'"), ("it's", r"'it'\''s'")] {
            assert_eq!(quoted(OsStr::new(word)), expected);
        }
    }
}
