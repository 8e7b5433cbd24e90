//! Running the binary in a place of its own: a state directory and a pin directory that no other test has, removed at the end. It must not
//! know what the commands mean, except that `detach` removes.

use std::{
    env,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use nodewall_testbed::{Finished, NetNs, PATIENCE, cleanup, privileged, run_to_end};
use serde_json::Value;
use tempfile::TempDir;

/// The binary under test: cargo says where it built it. A test that is run by hand, or in a guest, finds it one folder above its own.
pub fn executable() -> &'static str {
    static PATH: LazyLock<String> = LazyLock::new(|| {
        env::var("CARGO_BIN_EXE_nodewall").unwrap_or_else(|_| {
            let test = env::current_exe().unwrap();
            let beside = test.parent().and_then(Path::parent).unwrap().join("nodewall");
            assert!(beside.is_file(), "{} is not there: run this test by cargo", beside.display());
            beside.into_os_string().into_string().unwrap()
        })
    });
    &PATH
}

/// How a command ended.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// Asserts the exit code and goes on; a failure shows both streams.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    /// Standard output as one JSON document, and nothing else.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}\nstdout:\n{}\nstderr:\n{}", self.out, self.err))
    }

    /// Standard output as one JSON object a line.
    #[track_caller]
    pub fn jsonl(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }
}

/// A place for a test: files, a state directory and a pin directory.
pub struct Scratch {
    dir: TempDir,
    bpffs: PathBuf,
    _removal: Option<cleanup::Guard>,
}

impl Scratch {
    /// One whose pins would be on the machine's bpffs, where the process may make them. What is pinned is removed on drop.
    pub fn new() -> Self {
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
                let _ = Command::new(executable())
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
    pub fn bpffs(&self) -> &Path {
        &self.bpffs
    }

    /// The state directory.
    pub fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// A path beside them.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file there and returns its path as text.
    pub fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        std::fs::write(self.path(name), bytes).unwrap();
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Whether a command made anything that lasts.
    pub fn is_untouched(&self) -> bool {
        !self.bpffs.exists() && !self.state().exists()
    }

    /// Puts the place's flags and the arguments on a command for the binary.
    pub fn on(&self, mut command: Command, arguments: &[&str]) -> Command {
        command.args(arguments).arg("--bpffs").arg(&self.bpffs).arg("--state-dir").arg(self.state());
        plain(&mut command);
        command
    }

    /// Runs it with these arguments alone.
    pub fn run_bare(arguments: &[&str]) -> Ran {
        let mut command = Command::new(executable());
        command.args(arguments);
        plain(&mut command);
        finish(command)
    }

    /// Runs it as this user.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        finish(self.on(Command::new(executable()), arguments))
    }

    /// Runs it without any capability.
    pub fn run_unprivileged(&self, arguments: &[&str]) -> Ran {
        finish(self.on(unprivileged(), arguments))
    }

    /// Runs it in a namespace.
    pub fn run_in(&self, netns: &NetNs, arguments: &[&str]) -> Ran {
        finish(self.on(netns.command(executable()), arguments))
    }
}

/// What whoever runs the tests has set for terminals is no matter of theirs.
fn plain(command: &mut Command) {
    for name in ["NODEWALL_LOG", "NO_COLOR", "CLICOLOR_FORCE", "CLICOLOR", "COLUMNS", "LINES"] {
        command.env_remove(name);
    }
}

/// The binary, started without any capability.
pub fn unprivileged() -> Command {
    if !privileged() {
        return Command::new(executable());
    }
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-all", "--inh-caps=-all", "--", executable()]);
    command
}

/// Runs a command to its end.
pub fn finish(command: Command) -> Ran {
    let Finished { status, stdout, stderr } = run_to_end("nodewall", command, PATIENCE).unwrap();
    let code = status.code().unwrap_or_else(|| panic!("ended by a signal: {status}\n{stderr}"));
    Ran { code, out: stdout, err: stderr }
}

/// The keys of a JSON object, in the order in which `serde_json` sorts them.
#[track_caller]
pub fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap_or_else(|| panic!("no object: {value}")).keys().map(String::as_str).collect()
}
