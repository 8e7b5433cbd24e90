//! Running the binary in a place of its own: a state directory and a pin directory that no other test has, removed at the end. It must not
//! know what the commands mean, except that `detach` removes.

use std::{
    path::{Path, PathBuf},
    process::{self, Command},
    sync::atomic::{AtomicU64, Ordering},
};

use nodewall_testbed::{Finished, NetNs, PATIENCE, cleanup, privileged, run_to_end};
use serde_json::Value;
use tempfile::TempDir;

/// The binary under test.
pub(crate) const NODEWALL: &str = env!("CARGO_BIN_EXE_nodewall");

/// How a command ended.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// Asserts the exit code and goes on; a failure shows both streams.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    /// Standard output as one JSON document, and nothing else.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}\nstdout:\n{}\nstderr:\n{}", self.out, self.err))
    }

    /// Standard output as one JSON object a line.
    #[track_caller]
    pub(crate) fn jsonl(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }
}

/// A place for a test: files, a state directory and a pin directory.
pub(crate) struct Place {
    dir: TempDir,
    bpffs: PathBuf,
    _removal: Option<cleanup::Guard>,
}

impl Place {
    /// One whose pins would be on the machine's bpffs, where the process may make them. What is pinned is removed on drop.
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let dir = tempfile::tempdir().unwrap();
        let name = format!("nwt-cli-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        if !privileged() {
            return Self { bpffs: dir.path().join(name), dir, _removal: None };
        }
        let bpffs = Path::new("/sys/fs/bpf").join(name);
        let (pins, state) = (bpffs.clone(), dir.path().join("state"));
        let removal = cleanup::guard(move || {
            if pins.exists() {
                let _ = Command::new(NODEWALL)
                    .arg("detach")
                    .arg("--bpffs")
                    .arg(pins)
                    .arg("--state-dir")
                    .arg(state)
                    .output();
            }
        });
        Self { dir, bpffs, _removal: Some(removal) }
    }

    /// The pin directory.
    pub(crate) fn bpffs(&self) -> &Path {
        &self.bpffs
    }

    /// The state directory.
    pub(crate) fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// A path beside them.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file there and returns its path as text.
    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        std::fs::write(self.path(name), bytes).unwrap();
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Whether a command made anything that lasts.
    pub(crate) fn is_untouched(&self) -> bool {
        !self.bpffs.exists() && !self.state().exists()
    }

    /// Puts the place's flags and the arguments on a command for the binary.
    pub(crate) fn on(&self, mut command: Command, arguments: &[&str]) -> Command {
        command.args(arguments).arg("--bpffs").arg(&self.bpffs).arg("--state-dir").arg(self.state());
        plain(&mut command);
        command
    }

    /// Runs it with these arguments alone.
    pub(crate) fn run_bare(arguments: &[&str]) -> Ran {
        let mut command = Command::new(NODEWALL);
        command.args(arguments);
        plain(&mut command);
        finish(command)
    }

    /// Runs it as this user.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        finish(self.on(Command::new(NODEWALL), arguments))
    }

    /// Runs it without any capability.
    pub(crate) fn run_unprivileged(&self, arguments: &[&str]) -> Ran {
        finish(self.on(unprivileged(), arguments))
    }

    /// Runs it in a namespace.
    pub(crate) fn run_in(&self, netns: &NetNs, arguments: &[&str]) -> Ran {
        finish(self.on(netns.command(NODEWALL), arguments))
    }
}

/// What whoever runs the tests has set for terminals is no matter of theirs.
fn plain(command: &mut Command) {
    for name in ["NODEWALL_LOG", "NO_COLOR", "CLICOLOR_FORCE", "CLICOLOR", "COLUMNS", "LINES"] {
        command.env_remove(name);
    }
}

/// The binary, started without any capability.
pub(crate) fn unprivileged() -> Command {
    if !privileged() {
        return Command::new(NODEWALL);
    }
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-all", "--inh-caps=-all", "--", NODEWALL]);
    command
}

/// Runs a command to its end.
pub(crate) fn finish(command: Command) -> Ran {
    let Finished { status, stdout, stderr } = run_to_end("nodewall", command, PATIENCE).unwrap();
    let code = status.code().unwrap_or_else(|| panic!("ended by a signal: {status}\n{stderr}"));
    Ran { code, out: stdout, err: stderr }
}

/// The keys of a JSON object, in the order in which `serde_json` sorts them.
#[track_caller]
pub(crate) fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap_or_else(|| panic!("no object: {value}")).keys().map(String::as_str).collect()
}
