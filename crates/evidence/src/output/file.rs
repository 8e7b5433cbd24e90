//! Lines in files of a known size: `path` is written, `path.1` is the one before, and so on. It must not write anywhere else.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use nodewall_files::{Dir, OFlags, WRITABLE};

use super::message::{Message, Output, SendError};

pub(super) struct Files {
    path: PathBuf,
    max_bytes: u64,
    keep: u32,
    open: Option<Open>,
}

struct Open {
    dir: Dir,
    name: OsString,
    file: File,
    /// Whole lines.
    bytes: u64,
}

impl Files {
    pub(super) fn new(path: PathBuf, max_bytes: u64, keep: u32) -> Self {
        Self { path, max_bytes, keep, open: None }
    }

    fn opened(&mut self) -> io::Result<&mut Open> {
        if self.open.is_none() {
            self.open = Some(open(&self.path)?);
        }
        self.open.as_mut().ok_or_else(|| io::Error::other("no file"))
    }

    /// Each file gets the next number; the last one is overwritten.
    fn rotate(&mut self) -> io::Result<()> {
        let Some(Open { dir, name, file, .. }) = self.open.take() else { return Ok(()) };
        file.sync_data()?;
        let older = |number: u32| {
            let mut name = name.clone();
            name.push(format!(".{number}"));
            name
        };
        for number in (1..self.keep).rev() {
            absent_is_fine(dir.rename(older(number), older(number + 1)))?;
        }
        absent_is_fine(dir.rename(&name, older(1)))
    }
}

impl Output for Files {
    fn send(&mut self, message: &Message) -> Result<(), SendError> {
        let Message::Record { line, .. } = message else { return Ok(()) };
        let text = format!("{line}\n");
        let added = text.len() as u64;
        let full = self.max_bytes;
        let bytes = self.opened()?.bytes;
        if bytes > 0 && bytes + added > full {
            self.rotate()?;
        }
        let open = self.opened()?;
        if let Err(error) = open.file.write_all(text.as_bytes()) {
            // Half a line would spoil the next one, too.
            let _ = open.file.set_len(open.bytes);
            return Err(error.into());
        }
        open.bytes += added;
        Ok(())
    }

    /// Somebody may have moved or removed it.
    fn idle(&mut self) -> io::Result<()> {
        let Some(open) = &self.open else { return Ok(()) };
        let ours = open.file.metadata()?;
        let is_there = fs::symlink_metadata(&self.path)
            .is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino()) && there.len() == open.bytes);
        if !is_there {
            self.open = None;
        }
        Ok(())
    }
}

/// For its owner alone, and no link: whoever can write into the directory must not choose what is written to.
fn open(path: &Path) -> io::Result<Open> {
    let (dir, name) = Dir::of_output(path).map_err(io::Error::other)?;
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let mut file = dir.file(&name, OFlags::RDWR | OFlags::APPEND | OFlags::CREATE, WRITABLE).map_err(named)?;
    let mut bytes = file.metadata()?.len();
    if bytes > 0 && !ends_a_line(&file, bytes)? {
        // Cut by a power cut.
        file.write_all(b"\n")?;
        bytes += 1;
    }
    Ok(Open { dir, name, file, bytes })
}

fn ends_a_line(file: &File, bytes: u64) -> io::Result<bool> {
    let mut last = [0];
    file.read_exact_at(&mut last, bytes - 1)?;
    Ok(last == *b"\n")
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
