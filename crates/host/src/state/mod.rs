//! The state directory: what outlives a process. Sealed files of the values that others own ([`Stored`]), notes, locks, the journal of operators'
//! commands. A sealed file is whole or not there, also when the power goes; what is damaged is found by its checksum. It must not know what is stored.

mod deadline;
mod error;
mod journal;
mod owner;
mod store;
mod who;

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

pub use deadline::{Allowance, Clock, Deadline};
pub use error::StateError;
pub use journal::{Entry, JOURNAL, Tail};
pub use owner::Owner;
pub use store::{Note, Stored};
pub use who::Who;

/// Held for each change.
const POLICY_LOCK: &str = "policy.lock";
/// How often, and how far apart, the owner of a lock is looked for.
const OWNER_ATTEMPTS: u32 = 50;
const OWNER_RETRY: std::time::Duration = std::time::Duration::from_millis(10);
/// Says that an operator opened the node.
/// Up to layout 7 of the maps it was `detached`: what such a build marks before it is refused must mean nothing to this one.
const DETACHED: &str = "opened";

/// A process of which there is one at a time. It holds a lock for as long as it lives, so that nobody is misled by one that died; the lock's file has its
/// process id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The agent.
    Agent,
    /// The command that began a trial, and waits for its end.
    Countdown,
    /// Waits for the end of a trial on its own.
    Guard,
}

impl Role {
    const fn lock(self) -> &'static str {
        match self {
            Self::Agent => "agent.lock",
            Self::Countdown => "countdown.lock",
            Self::Guard => "guard.lock",
        }
    }
}

/// A checked state directory.
#[derive(Clone, Debug)]
pub struct StateDir {
    path: PathBuf,
}

/// Which version of a file this is, without reading it: every write here makes a new file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    inode: u64,
    bytes: u64,
    modified_ns: i128,
    changed_ns: i128,
}

impl Stamp {
    /// Of the file that `path` leads to; `None` where there is none.
    pub fn of(path: &Path) -> Option<Self> {
        let data = fs::metadata(path).ok()?;
        let modified_ns = i128::from(data.mtime()) * 1_000_000_000 + i128::from(data.mtime_nsec());
        let changed_ns = i128::from(data.ctime()) * 1_000_000_000 + i128::from(data.ctime_nsec());
        Some(Self { inode: data.ino(), bytes: data.len(), modified_ns, changed_ns })
    }

    /// Whether the file was written, or renamed to where it is, before this Unix time, ns.
    pub fn is_before(&self, unix_ns: u64) -> bool {
        self.changed_ns < i128::from(unix_ns)
    }
}

/// A change is being made, by this process alone. Ends when it is dropped.
#[derive(Debug)]
pub struct PolicyLock(#[expect(dead_code, reason = "held, not read")] File);

impl StateDir {
    /// Makes the directory (0700) where it is missing, and checks that nobody else can write into it.
    pub fn create(path: &Path) -> Result<Self, StateError> {
        match DirBuilder::new().recursive(true).mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(StateError::io(format!("can not create {}", path.display()))(error))
            }
            _ => Self::check(path),
        }
    }

    /// The directory as it is, or `None` where there is none.
    pub fn open(path: &Path) -> Result<Option<Self>, StateError> {
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            _ => Self::check(path).map(Some),
        }
    }

    fn check(path: &Path) -> Result<Self, StateError> {
        let data = fs::symlink_metadata(path).map_err(StateError::io(format!("can not look at {}", path.display())))?;
        let refuse = |problem: String, help| Err(StateError::Directory { path: path.to_path_buf(), problem, help });
        if !data.is_dir() {
            return refuse("this is not a directory".into(), "name another with --state-dir");
        }
        let (uid, mode) = (data.uid(), data.mode() & 0o7777);
        if uid != rustix::process::geteuid().as_raw() || mode & 0o022 != 0 {
            return refuse(
                format!("owner {uid} and mode {mode:04o}: others can write what nodewall believes"),
                "`chown` it to the user that runs nodewall and `chmod 0700` it, or name another with --state-dir",
            );
        }
        Ok(Self { path: path.to_path_buf() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file of this name in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn open_lock(&self, name: &str) -> Result<File, StateError> {
        let path = self.file(name);
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(StateError::io(format!("can not open {}", path.display())))
    }

    fn can_not_lock(&self, name: &str) -> impl FnOnce(io::Error) -> StateError {
        StateError::io(format!("can not lock {}", self.file(name).display()))
    }

    /// Makes this process the one agent, until the value is dropped.
    pub fn lock_agent(&self) -> Result<File, StateError> {
        let refused = |owner| Err(StateError::Running { owner, lock: self.file(Role::Agent.lock()) });
        let mut before = None;
        // Whoever only asks whether an agent runs has the lock for a moment, and so has what a killed agent was just starting: it is tried again until
        // a process that lives has it twice. That may have locked it a moment ago, over the name of the one before.
        for _ in 0..OWNER_ATTEMPTS {
            if let Some(lock) = self.take(Role::Agent)? {
                return Ok(lock);
            }
            let living = owner(&mut self.open_lock(Role::Agent.lock())?).filter(Owner::lives);
            match living {
                Some(owner) if before == living => return refused(owner),
                _ => before = living,
            }
            std::thread::sleep(OWNER_RETRY);
        }
        refused(Owner::unknown())
    }

    /// Gives a role to this process, until the value is dropped. `None`: another has it.
    pub fn take(&self, role: Role) -> Result<Option<File>, StateError> {
        let mut lock = self.open_lock(role.lock())?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(self.can_not_lock(role.lock())(error)),
        }
        let mut write = || -> io::Result<()> {
            lock.set_len(0)?;
            lock.write_all(Owner::this().written().as_bytes())
        };
        // The lock is what counts; a full disk must not keep an agent from its work.
        if let Err(error) = write() {
            tracing::warn!("{}: the process id could not be written: {error}", self.file(role.lock()).display());
        }
        Ok(Some(lock))
    }

    /// The process that has a role. `None`: nobody has it.
    pub fn taken(&self, role: Role) -> Option<Owner> {
        let mut lock = File::open(self.file(role.lock())).ok()?;
        match lock.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Some(owner(&mut lock).unwrap_or(Owner::unknown())),
            _ => None,
        }
    }

    /// The running agent. `None`: no agent runs.
    pub fn agent(&self) -> Option<Owner> {
        self.taken(Role::Agent)
    }

    /// Waits until no other process is changing the policy; held until the value is dropped.
    pub fn lock_policy(&self) -> Result<PolicyLock, StateError> {
        let lock = self.open_lock(POLICY_LOCK)?;
        lock.lock().map_err(self.can_not_lock(POLICY_LOCK))?;
        Ok(PolicyLock(lock))
    }

    /// Whether somebody is making a change right now. Holds nobody up.
    pub fn is_changing(&self) -> bool {
        let lock = File::open(self.file(POLICY_LOCK));
        lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// The same without waiting; `None` while somebody else is changing the policy.
    pub fn try_lock_policy(&self) -> Result<Option<PolicyLock>, StateError> {
        let lock = self.open_lock(POLICY_LOCK)?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(PolicyLock(lock))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(self.can_not_lock(POLICY_LOCK)(error)),
        }
    }

    /// Says that an operator opened the node.
    pub fn mark_detached(&self) -> Result<(), StateError> {
        self.write_whole(DETACHED, b"by `nodewall detach`; `apply` and `run` remove this mark\n")
    }

    /// Whether an operator opened the node since the last apply.
    pub fn is_detached(&self) -> bool {
        self.file(DETACHED).exists()
    }

    /// Takes the mark of a detach away.
    pub fn clear_detached(&self) -> Result<(), StateError> {
        self.remove(DETACHED)
    }
}

/// The process in a lock. The owner writes it right after locking; a reader that is quicker sees none.
fn owner(lock: &mut File) -> Option<Owner> {
    let mut text = String::new();
    lock.rewind().ok()?;
    lock.read_to_string(&mut text).ok()?;
    Owner::read(&text)
}

#[cfg(test)]
mod tests {
    use std::{process::Command, thread};

    use super::*;

    #[test]
    fn a_lock_that_is_let_go_in_a_moment_keeps_no_agent_from_its_start() {
        let parent = tempfile::tempdir().unwrap();
        let state = StateDir::create(&parent.path().join("state")).unwrap();
        // Of an agent that is dead.
        let mut dead = Command::new("true").spawn().unwrap();
        dead.wait().unwrap();
        fs::write(state.file(Role::Agent.lock()), format!("{}\n", dead.id())).unwrap();
        let moment = File::open(state.file(Role::Agent.lock())).unwrap();
        moment.lock_shared().unwrap();
        let started = thread::scope(|scope| {
            let agent = scope.spawn(|| state.lock_agent());
            thread::sleep(OWNER_RETRY * 3);
            drop(moment);
            agent.join().unwrap()
        });
        let lock = started.unwrap();
        assert!(state.agent().unwrap().is_this());
        let StateError::Running { owner, .. } = state.lock_agent().unwrap_err() else { panic!("not refused so") };
        assert!(owner.is_this(), "{owner}");
        drop(lock);
        assert_eq!(state.agent(), None);
    }
}
