//! The state directory: locks, the record of what was applied last, and the mark of a detach. It must not know what a policy means.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::error::AgentError;

/// Held by an agent for its whole life; holds its process id.
const AGENT_LOCK: &str = "agent.lock";
/// Held for each change.
const POLICY_LOCK: &str = "policy.lock";
/// What was applied last.
const RECORD: &str = "applied.json";
/// Says that an operator opened the node.
const DETACHED: &str = "detached";

/// What was applied last, for a boot at which the default set of interfaces can not be found yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Number of the policy image.
    pub generation: u64,
    /// SHA-256 of the policy, in hexadecimal.
    pub policy_sha256: String,
    /// Names of the attached interfaces.
    pub interfaces: Vec<String>,
}

/// A checked state directory.
#[derive(Clone, Debug)]
pub struct StateDir {
    path: PathBuf,
}

impl StateDir {
    /// Makes the directory (0700) where it is missing, and checks that nobody else can write into it.
    pub fn create(path: &Path) -> Result<Self, AgentError> {
        match DirBuilder::new().recursive(true).mode(0o700).create(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(AgentError::io(format!("can not create {}", path.display()))(error)),
        }
        let data = fs::symlink_metadata(path).map_err(AgentError::io(format!("can not look at {}", path.display())))?;
        let refuse =
            |problem: String, help| Err(AgentError::StateDirectory { path: path.to_path_buf(), problem, help });
        if !data.is_dir() {
            return refuse("this is not a directory".into(), "name another with --state-dir");
        }
        let own = rustix::process::geteuid().as_raw();
        if data.uid() != own || data.mode() & 0o022 != 0 {
            return refuse(
                format!(
                    "owner {} and mode {:04o}: others can write what nodewall believes",
                    data.uid(),
                    data.mode() & 0o7777
                ),
                "`chown` it to the user that runs nodewall and `chmod 0700` it, or name another with --state-dir",
            );
        }
        Ok(Self { path: path.to_path_buf() })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn open_lock(&self, name: &str) -> Result<File, AgentError> {
        let path = self.file(name);
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(AgentError::io(format!("can not open {}", path.display())))
    }

    /// Makes this process the one agent, until the value is dropped.
    pub fn lock_agent(&self) -> Result<File, AgentError> {
        let path = self.file(AGENT_LOCK);
        let mut lock = self.open_lock(AGENT_LOCK)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                // The owner writes its pid right after locking; a reader that is quicker sees none.
                let _ = lock.read_to_string(&mut pid);
                let pid = if pid.trim().is_empty() { "not yet known".into() } else { pid.trim().to_string() };
                return Err(AgentError::Running { pid, lock: path });
            }
            Err(TryLockError::Error(error)) => {
                return Err(AgentError::io(format!("can not lock {}", path.display()))(error));
            }
        }
        let failed = |e| AgentError::io(format!("can not write {}", path.display()))(e);
        lock.set_len(0).map_err(failed)?;
        writeln!(lock, "{}", std::process::id()).map_err(failed)?;
        Ok(lock)
    }

    /// Waits until no other process is changing the policy; held until the value is dropped.
    pub fn lock_policy(&self) -> Result<File, AgentError> {
        let lock = self.open_lock(POLICY_LOCK)?;
        lock.lock().map_err(AgentError::io(format!("can not lock {}", self.file(POLICY_LOCK).display())))?;
        Ok(lock)
    }

    /// What was applied last; `None` when nothing was, or when the record can not be read (which is logged: it is a convenience).
    pub fn record(&self) -> Option<Record> {
        let path = self.file(RECORD);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!("{}: {error}; going on without the record of what was applied last", path.display());
                return None;
            }
        };
        serde_json::from_str(&text)
            .inspect_err(|e| {
                tracing::warn!("{}: {e}; going on without the record of what was applied last", path.display());
            })
            .ok()
    }

    /// Writes the record: whole or not at all, also when the power goes.
    pub fn save(&self, record: &Record) -> Result<(), AgentError> {
        let text =
            serde_json::to_vec_pretty(record).map_err(|e| AgentError::io("can not write the record")(e.into()))?;
        self.write_whole(RECORD, &text)
    }

    /// Forgets what was applied.
    pub fn forget_record(&self) -> Result<(), AgentError> {
        self.remove(RECORD)
    }

    /// Says that an operator opened the node.
    pub fn mark_detached(&self) -> Result<(), AgentError> {
        self.write_whole(DETACHED, b"by `nodewall detach`; `apply` and `run` remove this mark\n")
    }

    /// Whether an operator opened the node since the last apply.
    pub fn is_detached(&self) -> bool {
        self.file(DETACHED).exists()
    }

    /// Takes the mark of a detach away.
    pub fn clear_detached(&self) -> Result<(), AgentError> {
        self.remove(DETACHED)
    }

    fn remove(&self, name: &str) -> Result<(), AgentError> {
        let path = self.file(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(AgentError::io(format!("can not remove {}", path.display()))(error))
            }
            _ => Ok(()),
        }
    }

    fn write_whole(&self, name: &str, bytes: &[u8]) -> Result<(), AgentError> {
        let (path, new) = (self.file(name), self.file(&format!("{name}.new")));
        let write = || -> io::Result<()> {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(AgentError::io(format!("can not write {}", path.display())))
    }
}
