//! Why a path is not used: which part of it is at fault, who may write there, and what to type. It must not look at anything.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use rustix::process::geteuid;

/// A path that is not used.
#[derive(Debug)]
pub struct Refusal {
    /// What was asked for.
    path: PathBuf,
    /// What is at fault: it, or a directory or link on the way.
    part: PathBuf,
    why: Why,
}

#[derive(Debug)]
pub(crate) enum Why {
    /// The system's answer.
    Io(io::Error),
    /// A directory, a device, a socket.
    NotAFile,
    /// Somebody else's.
    Owner { is: Part, uid: u32 },
    /// Others have rights in it.
    Mode { is: Part, mode: u32, gid: u32 },
    /// A hard link: it may be anything.
    SecondName,
}

/// What is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    File,
    /// A file that others must not read, either.
    Secret,
    /// That was to be written.
    Output,
    Directory,
    Link,
}

impl Refusal {
    pub(crate) fn new(path: &Path, part: &Path, why: Why) -> Self {
        Self { path: path.to_owned(), part: part.to_owned(), why }
    }

    pub(crate) fn io<E: Into<io::Error>>(path: &Path, part: &Path) -> impl FnOnce(E) -> Self {
        |error| Self::new(path, part, Why::Io(error.into()))
    }

    /// The system's answer, where that is why.
    pub const fn system(&self) -> Option<&io::Error> {
        if let Why::Io(error) = &self.why { Some(error) } else { None }
    }

    fn is_system(&self, kinds: &[io::ErrorKind]) -> bool {
        self.system().is_some_and(|error| kinds.contains(&error.kind()))
    }

    /// Nothing is there.
    pub fn is_absent(&self) -> bool {
        self.is_system(&[io::ErrorKind::NotFound, io::ErrorKind::NotADirectory])
    }

    /// The caller lacks the right.
    pub fn is_denied(&self) -> bool {
        self.is_system(&[io::ErrorKind::PermissionDenied])
    }

    /// What is wrong, as a sentence that begins with what was asked for.
    pub fn problem(&self) -> String {
        let (us, part) = (geteuid().as_raw(), self.part.display());
        let is_itself = self.part == self.path;
        match &self.why {
            Why::Io(error) if is_itself => error.to_string(),
            Why::Io(error) => format!("{part}: {error}"),
            Why::NotAFile => "is not a regular file".into(),
            Why::Owner { is: Part::File | Part::Secret | Part::Output, uid } => {
                format!("is owned by user {uid}; expected root or user {us}")
            }
            Why::Owner { is: Part::Directory, uid } if is_itself => {
                format!("belongs to user {uid}; expected root or user {us}")
            }
            Why::Owner { is: Part::Directory, uid } => format!(
                "can be changed by others: the directory {part} on the way to it belongs to user {uid}; expected root or user {us}"
            ),
            Why::Owner { is: Part::Link, uid } => format!(
                "can be changed by others: the link {part} on the way to it belongs to user {uid}; expected root or user {us}"
            ),
            Why::Mode { is: Part::Directory, mode, gid } => {
                let who = if mode & 0o002 == 0 { format!("group {gid}") } else { "everybody".into() };
                if is_itself {
                    format!("can be written by others: by {who} (mode {mode:04o})")
                } else {
                    format!(
                        "can be changed by others: {who} can write in the directory {part} on the way to it (mode {mode:04o})"
                    )
                }
            }
            Why::Mode { is: Part::Secret, mode, .. } => format!("is open to others (mode {mode:04o})"),
            Why::Mode { mode, .. } => format!("can be written by others (mode {mode:04o})"),
            Why::SecondName => "has a second name (a hard link), so it may be something else's".into(),
        }
    }

    /// What to type. `None`: the system's answer says it all.
    pub fn help(&self) -> Option<String> {
        let part = self.part.display();
        let owner = if geteuid().is_root() { "root:root".into() } else { geteuid().as_raw().to_string() };
        Some(match &self.why {
            Why::Io(_) if self.is_denied() && !geteuid().is_root() => "it needs root: run it with sudo".into(),
            Why::Io(_) | Why::NotAFile => return None,
            Why::Owner { is: Part::File | Part::Secret, .. } => format!("chown {owner} {part}"),
            Why::Owner { is: Part::Output, .. } | Why::SecondName => format!("name another file, or: rm {part}"),
            Why::Owner { is: Part::Directory, .. } if self.part == self.path => {
                format!("name another, or, where it is meant to be this one: chown -R {owner} {part}")
            }
            Why::Owner { is: Part::Directory, .. } => {
                format!("move it to where root alone can write, or, where that user need not: chown {owner} {part}")
            }
            Why::Owner { is: Part::Link, .. } => {
                format!("name what it leads to, or, where you do not know who made it: rm {part}")
            }
            Why::Mode { is: Part::Secret, .. } => {
                format!("chmod 0600 {part}, and replace the secret if someone may have read it")
            }
            Why::Mode { .. } => format!("chmod go-w {part}"),
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let colon = if self.system().is_some() { ":" } else { "" };
        write!(f, "{}{colon} {}", self.path.display(), self.problem())?;
        self.help().map_or(Ok(()), |help| write!(f, "; {help}"))
    }
}

impl std::error::Error for Refusal {}
