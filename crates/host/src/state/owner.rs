//! Who holds a lock: a process id, which means nothing in another process namespace (a container's), and so says which one it is of. It holds and takes
//! no lock.

use std::{fmt, fs, os::unix::fs::MetadataExt as _, path::Path};

/// `PROC_PID_INIT_INO` of the kernel: the first process namespace, on every kernel.
const FIRST: u64 = 0xefff_fffc;

/// A process, seen from any process namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    pid: u32,
    /// The number of its process namespace.
    processes: u64,
}

impl Owner {
    /// This process.
    pub fn this() -> Self {
        // Without /proc nothing is known of namespaces, and nobody has one of his own.
        let processes = fs::metadata("/proc/self/ns/pid").map_or(FIRST, |namespace| namespace.ino());
        Self { pid: std::process::id(), processes }
    }

    /// Its process id, in its own process namespace. 0: not known yet.
    pub const fn pid(self) -> u32 {
        self.pid
    }

    /// Whether it is this process. Another container's process may have the same id.
    pub fn is_this(self) -> bool {
        self == Self::this()
    }

    /// Whether its process id means another process, or none, where this process runs.
    pub fn is_elsewhere(self) -> bool {
        self.processes != Self::this().processes
    }

    /// Whether it lives as long as the first process of a container, at most.
    pub const fn is_contained(self) -> bool {
        self.processes != FIRST
    }

    /// Whether it lives, as far as that can be seen here: /proc knows nothing of a process elsewhere.
    pub(super) fn lives(&self) -> bool {
        self.is_elsewhere() || Path::new("/proc").join(self.pid.to_string()).exists()
    }

    /// One that has not written down who it is.
    pub(super) const fn unknown() -> Self {
        Self { pid: 0, processes: FIRST }
    }

    /// As a lock has it. Earlier versions read a number alone, and nothing else is written where that is enough.
    pub(super) fn written(self) -> String {
        if self.is_contained() { format!("{} {}\n", self.pid, self.processes) } else { format!("{}\n", self.pid) }
    }

    pub(super) fn read(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace().map(str::parse);
        let pid = u32::try_from(words.next()?.ok()?).ok()?;
        Some(Self { pid, processes: words.next().map_or(Ok(FIRST), |word| word).ok()? })
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.pid, self.is_elsewhere()) {
            (0, _) => f.write_str("not yet known"),
            (pid, false) => pid.fmt(f),
            (pid, true) => write!(f, "{pid} in another process namespace, a container's or the host's"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_id_and_its_namespace() {
        let this = Owner::this();
        assert!(this.is_this() && !this.is_elsewhere());
        assert_eq!(Owner::read(&this.written()), Some(this));
        assert_eq!(this.to_string(), std::process::id().to_string());
        // What earlier versions write, and can read.
        assert_eq!(Owner::read("7\n"), Some(Owner { pid: 7, processes: FIRST }));
        assert_eq!(Owner { pid: 7, processes: FIRST }.written(), "7\n");
        // The same id in a container.
        let other = Owner::read(&format!("{} 17\n", std::process::id())).unwrap();
        assert!(!other.is_this() && other.is_elsewhere() && other.is_contained());
        assert_eq!(Owner::read(&other.written()), Some(other));
        assert!(other.to_string().ends_with(" in another process namespace, a container's or the host's"));
        for nobody in ["", "\n", "x", "7 x", "-1"] {
            assert_eq!(Owner::read(nobody), None, "{nobody:?}");
        }
    }
}
