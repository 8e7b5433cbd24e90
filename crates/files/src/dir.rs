//! A directory that is held: whoever moves it away, or puts another in its place, changes nothing of what is opened in it.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, fsync, ftruncate, openat, renameat, statat, unlinkat};

use crate::{
    NO_WAIT, OWNER_ALONE, STEP, judge_output,
    refusal::Refusal,
    walk::{End, Found, Way, judge, judge_dir, walk},
};

/// A directory, held open.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    path: PathBuf,
    shared: bool,
    way: Way,
}

impl Dir {
    /// A directory that nobody can change but root and this process's user, and neither the way to it.
    ///
    /// # Errors
    /// When it is not so, or not there.
    pub fn open(path: &Path) -> Result<Self, Refusal> {
        Self::held(path, Way::Ours, End::In)
    }

    /// The same, made where it is missing, with the directories that it is in: all of them with these permission bits.
    ///
    /// # Errors
    /// When it is not so, and when the system refuses.
    pub fn create(path: &Path, mode: u32) -> Result<Self, Refusal> {
        Self::held(path, Way::Ours, End::Make(mode))
    }

    /// The directory of a file that an operator wants written, which may be anybody's, and the file's name: without a link of somebody else on the way.
    ///
    /// # Errors
    /// When there is one, and when the directory is not there.
    pub fn of_output(path: &Path) -> Result<(Self, OsString), Refusal> {
        let name =
            path.file_name().ok_or_else(|| Refusal::io(path, path)(io::Error::from(io::ErrorKind::IsADirectory)))?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Ok((Self::held(parent, Way::Links, End::In)?, name.to_owned()))
    }

    fn held(path: &Path, way: Way, end: End) -> Result<Self, Refusal> {
        let Found { dir, path: real, shared, .. } = walk(path, way, end)?;
        if way != Way::Ours {
            return Ok(Self { fd: dir, path: real, shared, way });
        }
        // First whether this user may look into it: whoever may not needs no word on whose it is.
        let held = openat(&dir, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let fd = held.map_err(Refusal::io(path, path))?;
        judge_dir(path, path, &fstat(&fd).map_err(Refusal::io(path, path))?, false)?;
        Ok(Self { fd, path: real, shared, way })
    }

    /// Where it was when it was opened, without links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a file in it, made for its owner alone where `flags` say so. It is regular and ours, and no link; [`OFlags::TRUNC`] is for after that was seen.
    ///
    /// # Errors
    /// When it is not so, and when the system refuses.
    pub fn file(&self, name: impl AsRef<OsStr>, flags: OFlags, others: u32) -> io::Result<File> {
        let name = name.as_ref();
        let wanted = flags.difference(OFlags::TRUNC) | NO_WAIT | STEP;
        let file = openat(&self.fd, name, wanted, OWNER_ALONE)?;
        self.judge(name, &fstat(&file)?, others)?;
        if flags.contains(OFlags::TRUNC) {
            ftruncate(&file, 0)?;
        }
        Ok(file.into())
    }

    fn judge(&self, name: &OsStr, stat: &Stat, others: u32) -> io::Result<()> {
        let path = self.path.join(name);
        let judged = match self.way {
            Way::Ours => judge(&path, stat, others, self.shared),
            Way::Links | Way::Any => judge(&path, stat, 0, false).and_then(|()| judge_output(&path, stat)),
        };
        judged.map_err(io::Error::other)
    }

    /// Judges a file as [`Self::file`] does, without opening it: for what may only be opened by its name. Whether it is there.
    ///
    /// # Errors
    /// When it is not so, and when the system refuses.
    pub fn look(&self, name: impl AsRef<OsStr>, others: u32) -> io::Result<bool> {
        match self.stat(&name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            stat => self.judge(name.as_ref(), &stat?, others).map(|()| true),
        }
    }

    /// What a name in it stands for; a link for itself.
    ///
    /// # Errors
    /// When nothing is there, and when the system refuses.
    pub fn stat(&self, name: impl AsRef<OsStr>) -> io::Result<Stat> {
        Ok(statat(&self.fd, name.as_ref(), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Whether a regular file of this name is in it.
    pub fn has(&self, name: impl AsRef<OsStr>) -> bool {
        self.stat(name).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_file())
    }

    /// Puts one file in another's place.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn rename(&self, from: impl AsRef<OsStr>, to: impl AsRef<OsStr>) -> io::Result<()> {
        Ok(renameat(&self.fd, from.as_ref(), &self.fd, to.as_ref())?)
    }

    /// Removes a file.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn remove(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        Ok(unlinkat(&self.fd, name.as_ref(), AtFlags::empty())?)
    }

    /// Flushes its names.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn sync(&self) -> io::Result<()> {
        Ok(fsync(&self.fd)?)
    }
}
