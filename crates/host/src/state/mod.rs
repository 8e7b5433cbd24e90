//! The state directory: what outlives a process. Sealed files of the values that others own ([`Stored`]), notes, locks, the journal of operators'
//! commands. A sealed file is whole or not there, also when the power goes; what is damaged is found by its checksum. It must not know what is stored.

mod deadline;
mod error;
mod journal;
mod owner;
mod store;
mod who;

use std::{
    fs::{File, TryLockError},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use nodewall_files::{Dir, OFlags, Stat, WRITABLE};
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

/// A checked state directory, held: whoever moves it away, or puts another in its place, changes nothing for who has it.
#[derive(Clone, Debug)]
pub struct StateDir {
    path: PathBuf,
    dir: Arc<Dir>,
}

/// Which version of a file this is, without reading it: by what it is, and not by which is the newer one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    file: (u64, u64),
    bytes: i64,
    modified_ns: i128,
    changed_ns: i128,
}

impl Stamp {
    /// Of the file that `path` leads to; `None` where there is none.
    pub fn of(path: &Path) -> Option<Self> {
        nodewall_files::follow(path).map(|(stat, links_made_ns)| Self::read(&stat, links_made_ns))
    }

    fn read(stat: &Stat, links_made_ns: i128) -> Self {
        Self {
            file: (stat.st_dev, stat.st_ino),
            bytes: stat.st_size,
            modified_ns: i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec),
            changed_ns: nodewall_files::changed_ns(stat).max(links_made_ns),
        }
    }

    /// Whether the file was written, or renamed to where it is, or the link made that leads to it, before this Unix time, ns.
    pub fn is_before(&self, unix_ns: u64) -> bool {
        self.changed_ns < i128::from(unix_ns)
    }
}

/// A change is being made, by this process alone. Ends when it is dropped.
#[derive(Debug)]
pub struct PolicyLock(#[expect(dead_code, reason = "held, not read")] File);

impl StateDir {
    /// Makes the directory (0700) where it is missing, and checks that nobody else can change what is in it, or put another in its place.
    pub fn create(path: &Path) -> Result<Self, StateError> {
        Ok(Self { path: path.to_path_buf(), dir: Arc::new(Dir::create(path, 0o700)?) })
    }

    /// The directory as it is, or `None` where there is none.
    pub fn open(path: &Path) -> Result<Option<Self>, StateError> {
        match Dir::open(path) {
            Err(refusal) if refusal.system().is_some_and(|error| error.kind() == io::ErrorKind::NotFound) => Ok(None),
            dir => Ok(Some(Self { path: path.to_path_buf(), dir: Arc::new(dir?) })),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it is called, for what can only be opened by its name: without links.
    pub fn real_path(&self) -> &Path {
        self.dir.path()
    }

    /// What a file of this name in it is called.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn open_lock(&self, name: &str) -> Result<File, StateError> {
        let flags = OFlags::RDWR | OFlags::CREATE;
        let opened = self.dir.file(name, flags, WRITABLE);
        opened.map_err(StateError::io(format!("can not open {}", self.file(name).display())))
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
        let mut lock = self.dir.file(role.lock(), OFlags::RDONLY, WRITABLE).ok()?;
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
        let lock = self.dir.file(POLICY_LOCK, OFlags::RDONLY, WRITABLE);
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
        self.dir.has(DETACHED)
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
    use std::{fs, process::Command, thread};

    use nodewall_testbed::until;

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
        // A child that another test starts has all descriptors until it is another program.
        until("the lock is free", || state.agent().is_none());
    }
}
