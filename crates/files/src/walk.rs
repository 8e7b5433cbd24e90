//! The way to a file, step by step: each directory is opened in the one before it, and looked at before anything in it is. It must not open the file.

use std::{
    env,
    ffi::{OsStr, OsString},
    os::{fd::OwnedFd, unix::ffi::OsStringExt as _},
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, PROC_SUPER_MAGIC, Stat, fstat, fstatfs, mkdirat, openat, readlinkat},
    io::Errno,
    process::geteuid,
};

use crate::refusal::{Part, Refusal, Why};

/// Rights of others that let them change a file.
pub const WRITABLE: u32 = 0o022;
/// Rights of others that a secret must not have.
pub const SECRET: u32 = 0o077;

/// As the kernel.
const MAX_LINKS: u32 = 40;
const PATH: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What the way must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Nobody else can put anything else there.
    Ours,
    /// Directories may be anybody's; links of others are not followed.
    Links,
    /// It is only looked where it leads.
    Any,
}

/// Where a walk ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// In the directory that the last name is in, which need not be there.
    Before,
    /// In the directory that is named.
    In,
    /// In it, and what is missing of it is made with these permission bits.
    Make(u32),
}

/// The end of a walk.
pub(crate) struct Found {
    pub(crate) dir: OwnedFd,
    /// Without links.
    pub(crate) path: PathBuf,
    /// `None`: the path ends in the directory itself.
    pub(crate) name: Option<OsString>,
    /// Others can make files in the directory, and only not move those of others (a sticky one).
    pub(crate) shared: bool,
    /// The name is a descriptor of this process (`/dev/stdout`), which no name leads to.
    pub(crate) is_descriptor: bool,
    pub(crate) links_made_ns: i128,
}

/// Root, or this process's user.
pub(crate) fn is_ours(uid: u32) -> bool {
    uid == 0 || uid == geteuid().as_raw()
}

/// Whether this file is to be believed: regular, ours, and none of the rights in `others` are anybody else's.
pub(crate) fn judge(path: &Path, stat: &Stat, others: u32, shared: bool) -> Result<(), Refusal> {
    let refuse = |why| Err(Refusal::new(path, path, why));
    let is = if others & !WRITABLE == 0 { Part::File } else { Part::Secret };
    let mode = stat.st_mode & 0o7777;
    if !FileType::from_raw_mode(stat.st_mode).is_file() {
        return refuse(Why::NotAFile);
    }
    if !is_ours(stat.st_uid) {
        return refuse(Why::Owner { is, uid: stat.st_uid });
    }
    if mode & others != 0 {
        return refuse(Why::Mode { is, mode, gid: stat.st_gid });
    }
    // Somebody else may have given another file of ours this name.
    if shared && stat.st_nlink > 1 {
        return refuse(Why::SecondName);
    }
    Ok(())
}

/// Whether nobody else can change what is in this directory. Where it is only on the way, others may make files of their own, but not move those of others.
pub(crate) fn judge_dir(path: &Path, part: &Path, stat: &Stat, is_way: bool) -> Result<(), Refusal> {
    let mode = stat.st_mode & 0o7777;
    let why = if !is_ours(stat.st_uid) {
        Why::Owner { is: Part::Directory, uid: stat.st_uid }
    } else if mode & WRITABLE != 0 && !(is_way && is_sticky(stat)) {
        Why::Mode { is: Part::Directory, mode, gid: stat.st_gid }
    } else {
        return Ok(());
    };
    Err(Refusal::new(path, part, why))
}

fn is_sticky(stat: &Stat) -> bool {
    stat.st_mode & Mode::SVTX.bits() != 0
}

/// A directory on the way, held.
struct Step {
    dir: OwnedFd,
    name: OsString,
    shared: bool,
}

struct Walk<'p> {
    /// What was asked for.
    asked: &'p Path,
    way: Way,
    steps: Vec<Step>,
    links: u32,
    links_made_ns: i128,
}

/// Walks to `path`.
pub(crate) fn walk(path: &Path, way: Way, end: End) -> Result<Found, Refusal> {
    let whole = if path.is_absolute() {
        path.to_owned()
    } else {
        env::current_dir().map_err(Refusal::io(path, path))?.join(path)
    };
    let mut walk = Walk { asked: path, way, steps: Vec::new(), links: 0, links_made_ns: 0 };
    let mut left = names(&whole);
    let root = openat(CWD, "/", PATH | OFlags::DIRECTORY, Mode::empty()).map_err(Refusal::io(path, Path::new("/")))?;
    walk.descend("/".into(), root, end == End::Before || !left.is_empty())?;
    while let Some(name) = left.pop() {
        if name == ".." {
            walk.steps.truncate(walk.steps.len().saturating_sub(1).max(1));
            continue;
        }
        // The last name is for whoever opens it, without a step through a link there either.
        let before = end == End::Before && left.is_empty();
        // The directory that is asked for itself is judged by whoever asks, once it is open.
        let is_way = !left.is_empty();
        match openat(&walk.here()?.dir, &name, PATH | OFlags::DIRECTORY, Mode::empty()) {
            Ok(_) | Err(Errno::NOENT) if before => return walk.end(Some(name), false),
            Ok(dir) => walk.descend(name, dir, is_way)?,
            Err(Errno::NOENT) if let End::Make(mode) = end => walk.make(name, mode, is_way)?,
            Err(Errno::NOTDIR) => match walk.link(&name)? {
                // No directory and no link.
                None if before => return walk.end(Some(name), false),
                None => return Err(walk.failed(&name, Errno::NOTDIR)),
                Some(_) if before && way == Way::Links && walk.is_in_proc()? => return walk.end(Some(name), true),
                Some(target) => {
                    if target.is_absolute() {
                        walk.steps.truncate(1);
                    }
                    left.extend(names(&target));
                }
            },
            Err(error) => return Err(walk.failed(&name, error)),
        }
    }
    walk.end(None, false)
}

impl Walk<'_> {
    fn refused(&self, why: Why) -> Refusal {
        Refusal::new(self.asked, &self.path(), why)
    }

    fn failed(&self, name: &OsStr, error: Errno) -> Refusal {
        Refusal::io(self.asked, &self.path().join(name))(error)
    }

    /// Of the directory that it is in.
    fn path(&self) -> PathBuf {
        self.steps.iter().map(|step| &step.name).collect()
    }

    fn here(&self) -> Result<&Step, Refusal> {
        self.steps.last().ok_or_else(|| self.refused(Why::Io(Errno::NOENT.into())))
    }

    fn descend(&mut self, name: OsString, dir: OwnedFd, is_way: bool) -> Result<(), Refusal> {
        let stat = fstat(&dir).map_err(|error| self.failed(&name, error))?;
        if self.way == Way::Ours && is_way {
            judge_dir(self.asked, &self.path().join(&name), &stat, true)?;
        }
        let shared = stat.st_mode & WRITABLE != 0 || !is_ours(stat.st_uid);
        self.steps.push(Step { dir, name, shared });
        Ok(())
    }

    fn make(&mut self, name: OsString, mode: u32, is_way: bool) -> Result<(), Refusal> {
        let here = &self.here()?.dir;
        match mkdirat(here, &name, Mode::from_raw_mode(mode)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(self.failed(&name, error)),
        }
        let made = openat(here, &name, PATH | OFlags::DIRECTORY, Mode::empty());
        let made = made.map_err(|error| self.failed(&name, error))?;
        self.descend(name, made, is_way)
    }

    /// Where a link leads. `None`: it is none.
    fn link(&mut self, name: &OsStr) -> Result<Option<PathBuf>, Refusal> {
        let link = openat(&self.here()?.dir, name, PATH, Mode::empty()).map_err(|error| self.failed(name, error))?;
        let stat = fstat(&link).map_err(|error| self.failed(name, error))?;
        if !FileType::from_raw_mode(stat.st_mode).is_symlink() {
            return Ok(None);
        }
        if self.way != Way::Any && !is_ours(stat.st_uid) {
            let why = Why::Owner { is: Part::Link, uid: stat.st_uid };
            return Err(Refusal::new(self.asked, &self.path().join(name), why));
        }
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(self.failed(name, Errno::LOOP));
        }
        self.links_made_ns = self.links_made_ns.max(changed_ns(&stat));
        let target = readlinkat(&link, "", Vec::new()).map_err(|error| self.failed(name, error))?;
        Ok(Some(OsString::from_vec(target.into_bytes()).into()))
    }

    fn is_in_proc(&self) -> Result<bool, Refusal> {
        let system = fstatfs(&self.here()?.dir).map_err(|error| self.refused(Why::Io(error.into())))?;
        Ok(system.f_type == PROC_SUPER_MAGIC)
    }

    fn end(mut self, name: Option<OsString>, is_descriptor: bool) -> Result<Found, Refusal> {
        let path = self.path();
        let Some(Step { dir, shared, .. }) = self.steps.pop() else {
            return Err(self.refused(Why::Io(Errno::NOENT.into())));
        };
        Ok(Found { dir, path, name, shared, is_descriptor, links_made_ns: self.links_made_ns })
    }
}

/// When the kernel last changed what a name stands for, Unix time, ns.
pub fn changed_ns(stat: &Stat) -> i128 {
    i128::from(stat.st_ctime) * 1_000_000_000 + i128::from(stat.st_ctime_nsec)
}

/// The names of a path, the first one last.
fn names(path: &Path) -> Vec<OsString> {
    let names = path.components().rev().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    names.collect()
}
