//! A state directory that fails: full, read-only, or with an I/O error in any one of the system calls that nodewall makes on it. An `apply` is either
//! refused whole, with the old policy in force, or in force whole, saying that it could not be stored. It is never half, and it never opens.

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;

use nodewall_testbed::cleanup::{self, Guard};
use nodewall_testbed::{Finished, find_tool, run_to_end, skip_unless_privileged};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, mount_remount, unmount};
use serde_json::Value;

use crate::node::{Node, PATIENCE};
use crate::record::{Record, beside_others, is_full};
use crate::rig;

/// What is in force, and what the state directory has of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct InForce {
    policy_sha256: String,
    generation: u64,
    program_is_there: bool,
}

impl InForce {
    fn on(node: &Node) -> Self {
        let status = node.json("status");
        Self {
            policy_sha256: status["policy_sha256"].as_str().unwrap_or_default().to_owned(),
            generation: status["generation"].as_u64().unwrap_or_default(),
            program_is_there: node.attachment("eth0").is_some() && status["mode"] == "enforce",
        }
    }
}

/// The policy that a start from this state directory would put into force, by its hash.
fn stored_sha256(state: &Path) -> Option<String> {
    let text = fs::read_to_string(state.join("good.state")).ok()?;
    let (_, body) = text.split_once('\n')?;
    let good: Value = serde_json::from_str(body).ok()?;
    Some(good["policy_sha256"].as_str()?.to_owned())
}

/// How an `apply` on a failing disk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    Unharmed,
    Refused,
    InForceAndSaidSo,
}

impl Ending {
    const fn words(self) -> &'static str {
        match self {
            Self::Unharmed => "stored all the same",
            Self::Refused => "refused",
            Self::InForceAndSaidSo => "in force and said so",
        }
    }
}

/// Alternates between two policies, so that every `apply` is a change. Their file is none that an agent looks at, which would put it into force
/// by itself.
struct Changes<'a> {
    node: &'a Node,
    config: PathBuf,
    sha256: [String; 2],
    endings: BTreeMap<Ending, u64>,
}

impl<'a> Changes<'a> {
    fn of(node: &'a Node) -> Self {
        let config = rig::config_file(node).with_file_name("changes.toml");
        let mut changes = Self { node, config, sha256: [const { String::new() }; 2], endings: BTreeMap::new() };
        for n in [0, 1] {
            changes.again(n);
            changes.sha256[n] = InForce::on(node).policy_sha256;
        }
        assert_ne!(changes.sha256[0], changes.sha256[1]);
        changes
    }

    /// Applies one of the two, and nothing is in its way.
    fn again(&self, n: usize) {
        let ran = run_to_end("nodewall apply", self.command(n), PATIENCE).unwrap();
        assert!(ran.status.success(), "{ran:?}");
    }

    fn command(&self, n: usize) -> Command {
        fs::write(&self.config, Self::policy(n).to_toml()).unwrap();
        let (usual, place) = (self.node.command("apply", &[]), rig::config_file(self.node));
        let mut command = self.node.netns().command(usual.get_program());
        command.args(usual.get_args().map(|word| if word == place { self.config.as_os_str() } else { word }));
        command
    }

    fn policy(n: usize) -> crate::settings::Settings {
        rig::settings().top(["", "tunnels = \"all\""][n])
    }

    /// Applies the policy that is not in force, by a command that is made to fail, and judges what came of it.
    fn apply(&mut self, what: &str, command: impl FnOnce(Command) -> Command) -> Ending {
        let before = InForce::on(self.node);
        let wanted = usize::from(before.policy_sha256 == self.sha256[0]);
        let ran = run_to_end("nodewall apply", command(self.command(wanted)), PATIENCE).unwrap();
        let ending = self.judge(what, &before, &self.sha256[wanted], &ran);
        *self.endings.entry(ending).or_default() += 1;
        ending
    }

    fn judge(&self, what: &str, before: &InForce, wanted: &str, ran: &Finished) -> Ending {
        let (now, state) = (InForce::on(self.node), rig::state_dir(self.node));
        let stored = stored_sha256(&state);
        let context = format!("{what}\nbefore {before:?}\nnow {now:?}, wanted {wanted}, stored {stored:?}\n{ran:?}");
        let names_it = ran.stderr.contains(&*state.to_string_lossy());
        assert!(now.program_is_there, "open: {context}");
        match ran.status.code() {
            Some(1) => {
                assert_eq!(&now, before, "exit 1 and yet a change: {context}");
                assert!(names_it, "it does not say where: {context}");
                assert!(
                    stored.is_none_or(|stored| stored == now.policy_sha256),
                    "a start would load another: {context}"
                );
                Ending::Refused
            }
            Some(0 | 3) => {
                assert!(now.policy_sha256 == wanted && now.generation > before.generation, "half: {context}");
                let is_stored = stored.as_deref() == Some(wanted);
                assert!(is_stored || names_it, "in force, not stored, and not a word of it: {context}");
                if names_it { Ending::InForceAndSaidSo } else { Ending::Unharmed }
            }
            code => panic!("exit code {code:?}: {context}"),
        }
    }

    fn words(&self) -> String {
        let counts = self.endings.iter().map(|(ending, count)| format!("{count} {}", ending.words()));
        counts.collect::<Vec<_>>().join(", ")
    }
}

/// A small file system of its own on the state directory.
struct Tmpfs {
    at: PathBuf,
    _unmount: Guard,
}

impl Tmpfs {
    fn on(at: PathBuf) -> Self {
        let gone = at.clone();
        let unmount = cleanup::guard(move || {
            let _ = unmount(&gone, UnmountFlags::DETACH);
        });
        mount("tmpfs", &at, "tmpfs", MountFlags::empty(), Some(c"size=4m,mode=0700")).unwrap();
        Self { at, _unmount: unmount }
    }

    /// Nobody can write there from now on, until what is returned is dropped. Files that are open for writing do not hinder it: it is laid over.
    fn read_only(&self) -> Guard {
        let over = self.at.clone();
        let away = cleanup::guard(move || {
            let _ = unmount(&over, UnmountFlags::DETACH);
        });
        mount_bind(&self.at, &self.at).unwrap();
        mount_remount(&self.at, MountFlags::BIND | MountFlags::RDONLY, c"").unwrap();
        away
    }

    /// Leaves no room for a byte.
    fn fill(&self) {
        let filler = self.at.join("filler");
        let mut bytes = 1 << 20;
        while bytes > 0 {
            let more = [fs::read(&filler).unwrap_or_default(), vec![0; bytes]].concat();
            if fs::write(&filler, more).is_err() {
                bytes /= 2;
            }
        }
    }
}

#[test]
fn a_state_directory_that_is_full_or_read_only() {
    if skip_unless_privileged("a_state_directory_that_is_full_or_read_only") {
        return;
    }
    let _turn = beside_others();
    let mut record = Record::new(
        "disk",
        "the state directory's disk is full, then read-only",
        2,
        "each apply refused whole, or in force and said so; the agent lives; good again afterwards",
    );
    let mut node = rig::idle(&rig::settings());
    let disk = Tmpfs::on(rig::state_dir(&node));
    node.start_agent();
    let mut changes = Changes::of(&node);
    disk.fill();
    changes.apply("full", |command| command);
    fs::remove_file(disk.at.join("filler")).unwrap();
    assert_eq!(changes.apply("with room again", |command| command), Ending::Unharmed);
    let read_only = disk.read_only();
    changes.apply("read-only", |command| command);
    drop(read_only);
    assert_eq!(changes.apply("writable again", |command| command), Ending::Unharmed);
    record.measured(changes.words());
    assert_eq!(node.agent().try_wait().unwrap(), None, "{}", node.agent().output());
    record.passed();
}

/// System calls that a state directory may fail.
const CALLS: [&str; 12] = [
    "openat",
    "write",
    "fsync",
    "fdatasync",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "ftruncate",
    "mkdir",
    "flock",
];

/// strace on the system calls that name or use the state directory, or a file in it.
fn strace(state: &Path, log: &Path, inject: Option<&str>, inner: &Command, node: &Node) -> Command {
    let mut paths = vec![state.to_path_buf()];
    for entry in fs::read_dir(state).unwrap() {
        let path = entry.unwrap().path();
        paths.push(path.with_file_name(format!("{}.new", path.file_name().unwrap().to_string_lossy())));
        paths.push(path);
    }
    let mut command = node.netns().command(find_tool("strace").unwrap());
    command.args(["-f", "-y", "-qqq", "-o"]).arg(log).args(["-e", &format!("trace={}", CALLS.join(","))]);
    for path in paths {
        command.arg("-P").arg(path);
    }
    if let Some(inject) = inject {
        command.args(["-e", &format!("inject={inject}")]);
    }
    command.arg("--").arg(inner.get_program()).args(inner.get_args());
    command
}

/// How often each call was made, by strace's log: `PID name(…) = …`.
fn calls(log: &Path) -> BTreeMap<&'static str, u64> {
    let mut counts = BTreeMap::new();
    for line in fs::read_to_string(log).unwrap().lines() {
        let name = line.split_whitespace().nth(1).and_then(|call| call.split('(').next()).unwrap_or_default();
        if let Some(call) = CALLS.iter().find(|call| **call == name) {
            *counts.entry(*call).or_default() += 1;
        }
    }
    counts
}

/// The call that failed because strace made it.
fn failed_call(log: &Path) -> Option<String> {
    let text = fs::read_to_string(log).unwrap();
    text.lines().find(|line| line.ends_with("(INJECTED)")).map(str::to_owned)
}

/// Whether the policy is not on disk for good without this call: it flushes the directory, or writes, flushes or renames the policy's file.
fn stores_the_policy(call: &str, state: &Path) -> bool {
    let is_one_of = |names: &[&str]| names.iter().any(|name| call.contains(&format!(" {name}(")));
    let directory = format!("<{}>", state.display());
    is_one_of(&["write", "fsync", "fdatasync", "rename", "renameat", "renameat2"])
        && (call.contains("good.state") || call.contains(&directory))
}

#[test]
fn an_io_error_in_any_call_on_the_state_directory() {
    if skip_unless_privileged("an_io_error_in_any_call_on_the_state_directory") {
        return;
    }
    let _turn = beside_others();
    let node = rig::idle(&rig::settings());
    let mut changes = Changes::of(&node);
    let (state, folder) = (rig::state_dir(&node), tempfile::tempdir().unwrap());
    let log = folder.path().join("strace");
    let traced = |inject: Option<String>| {
        let (node, state, log) = (&node, state.clone(), log.clone());
        move |command: Command| strace(&state, &log, inject.as_deref(), &command, node)
    };
    assert_eq!(changes.apply("no error", traced(None)), Ending::Unharmed);
    let counts = calls(&log);
    assert!(counts.contains_key("fsync") && counts.contains_key("openat"), "{counts:?}");
    let all: u64 = counts.values().sum();
    // The first and the last of each kind, or all.
    let chosen = |n: u64, count: u64| is_full() || n == 1 || n == count;
    let places: Vec<(&str, u64)> = counts
        .iter()
        .flat_map(|(call, count)| (1..=*count).filter(|n| chosen(*n, *count)).map(|n| (*call, n)))
        .collect();
    let mut record = Record::new(
        "io-error",
        "EIO in a system call on the state directory",
        places.len() as u64,
        "each apply refused whole, or in force and said so; what a start would load is what is in force",
    );
    let mut problems = Vec::new();
    for (call, n) in places {
        let what = format!("{call} number {n}");
        let judged = catch_unwind(AssertUnwindSafe(|| {
            let ending = changes.apply(&what, traced(Some(format!("{call}:error=EIO:when={n}"))));
            let failed = failed_call(&log).unwrap_or_else(|| panic!("{what} was not reached"));
            let unnoticed = stores_the_policy(&failed, &state) && ending == Ending::Unharmed;
            assert!(!unnoticed, "nobody says that the policy may not be stored: {failed}");
        }));
        if judged.is_err() {
            problems.push(what);
            // What the next error finds must not be what this one left.
            changes.again(0);
        }
    }
    record.measured(format!("of {all} calls: {}; {} broken", changes.words(), problems.len()));
    assert!(problems.is_empty(), "{problems:?}: see above");
    record.passed();
}
