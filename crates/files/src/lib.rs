//! Files as a privileged process must open them: what it believes, and what it writes, is where nobody else could have put it. A path is walked from the
//! root, directory by directory, each opened in the one before it that is held; no step follows a link unseen. It must not know what is in a file.
//!
//! `openat2` is not used: it can refuse links, but it does not tell whose the directories are, and so every step is looked at all the same.

mod dir;
mod refusal;
mod walk;

use std::{fs::File, path::Path};

use rustix::fs::{AtFlags, CWD, FileType, Mode, fstat, ftruncate, openat, statat};

pub use dir::Dir;
pub use refusal::Refusal;
pub use rustix::fs::{OFlags, Stat};
pub use walk::{SECRET, WRITABLE, changed_ns};

use refusal::{Part, Why};
use walk::{End, Way, is_ours, judge, judge_dir, walk};

/// Without `O_NONBLOCK`, opening a FIFO would wait for its other end for ever.
const NO_WAIT: OFlags = OFlags::NONBLOCK.union(OFlags::NOCTTY);
/// A link that was not looked at is not followed.
const STEP: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC);
/// What is made is its owner's alone.
const OWNER_ALONE: Mode = Mode::RUSR.union(Mode::WUSR);

/// What a path is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The owner.
    pub uid: u32,
    /// Permission bits.
    pub mode: u32,
}

/// Opens a regular file for reading that root or this process's user owns, and of which others have none of the rights in `others` ([`WRITABLE`],
/// [`SECRET`]); each directory and each link on the way to it is owned so, too, and nobody else can write in it.
///
/// # Errors
/// When it, or a part of the way, is not so, and when the system refuses.
pub fn open(path: &Path, others: u32) -> Result<File, Refusal> {
    let found = walk(path, Way::Ours, End::Before)?;
    let name = found.name.as_deref().ok_or_else(|| Refusal::new(path, path, Why::NotAFile))?;
    let file = openat(&found.dir, name, NO_WAIT | STEP, Mode::empty()).map_err(Refusal::io(path, path))?;
    // Judged on the open file, so that what was judged is what is read.
    judge(path, &fstat(&file).map_err(Refusal::io(path, path))?, others, found.shared)?;
    Ok(file.into())
}

/// Opens a regular file for reading, whoever owns it: for what only computes.
///
/// # Errors
/// When the system refuses.
pub fn open_any(path: &Path) -> Result<File, Refusal> {
    let file = openat(CWD, path, NO_WAIT | OFlags::CLOEXEC, Mode::empty()).map_err(Refusal::io(path, path))?;
    let is_file = FileType::from_raw_mode(fstat(&file).map_err(Refusal::io(path, path))?.st_mode).is_file();
    if is_file { Ok(file.into()) } else { Err(Refusal::new(path, path, Why::NotAFile)) }
}

/// Opens a file for writing, empty, where an operator wants it: the directories may be anybody's, but a link of somebody else is not followed, and a file of
/// somebody else, or with a second name, is left alone.
///
/// # Errors
/// When there is such a one, and when the system refuses.
pub fn output(path: &Path) -> Result<File, Refusal> {
    let found = walk(path, Way::Links, End::Before)?;
    let name = found.name.as_deref().ok_or_else(|| Refusal::new(path, path, Why::NotAFile))?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOCTTY | OFlags::CLOEXEC;
    if found.is_descriptor {
        return openat(&found.dir, name, flags, OWNER_ALONE).map(File::from).map_err(Refusal::io(path, path));
    }
    let file = openat(&found.dir, name, flags | OFlags::NOFOLLOW, OWNER_ALONE).map_err(Refusal::io(path, path))?;
    let stat = fstat(&file).map_err(Refusal::io(path, path))?;
    judge_output(path, &stat)?;
    if FileType::from_raw_mode(stat.st_mode).is_file() {
        ftruncate(&file, 0).map_err(Refusal::io(path, path))?;
    }
    Ok(file.into())
}

/// Whose a file or directory is that nodewall believes, judged with its way as [`open`] and [`Dir::open`] do, but not opened. `None`: nothing is there.
///
/// # Errors
/// As [`open`].
pub fn look(path: &Path) -> Result<Option<Seen>, Refusal> {
    let seen = || -> Result<Seen, Refusal> {
        let found = walk(path, Way::Ours, End::Before)?;
        let name = found.name.as_deref().unwrap_or(".".as_ref());
        let stat = statat(&found.dir, name, AtFlags::SYMLINK_NOFOLLOW).map_err(Refusal::io(path, path))?;
        if FileType::from_raw_mode(stat.st_mode).is_dir() {
            judge_dir(path, path, &stat, false)?;
        } else {
            judge(path, &stat, WRITABLE, found.shared)?;
        }
        Ok(Seen { uid: stat.st_uid, mode: stat.st_mode & 0o7777 })
    };
    match seen() {
        Err(refusal) if refusal.is_absent() => Ok(None),
        seen => seen.map(Some),
    }
}

/// What `path` leads to, and when the last of the links on the way was made (Unix time, ns; 0: there is none): what it leads to may be older.
pub fn follow(path: &Path) -> Option<(Stat, i128)> {
    let found = walk(path, Way::Any, End::Before).ok()?;
    let name = found.name.as_deref().unwrap_or(".".as_ref());
    let stat = statat(&found.dir, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    Some((stat, found.links_made_ns))
}

/// A file of somebody else is left alone, and so is one that may have another name.
fn judge_output(path: &Path, stat: &Stat) -> Result<(), Refusal> {
    if !is_ours(stat.st_uid) {
        return Err(Refusal::new(path, path, Why::Owner { is: Part::Output, uid: stat.st_uid }));
    }
    if FileType::from_raw_mode(stat.st_mode).is_file() && stat.st_nlink > 1 {
        return Err(Refusal::new(path, path, Why::SecondName));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
