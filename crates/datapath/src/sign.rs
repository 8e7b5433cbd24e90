//! Which layout of the maps is in force: one sign, at a place where every build looks. It is exchanged by a rename, so that there is always exactly one. It must
//! not know what is in a layout's maps.
//!
//! Up to layout 7 the maps themselves were there. Such a build takes the sign for an image of another version, and refuses with both numbers; its `detach`, which
//! asks for no version, fails at the first thing that it would take away, whose name says why.

use std::{
    fs, io,
    os::{fd::AsFd, unix::fs::DirBuilderExt as _},
    path::{Path, PathBuf},
    sync::atomic::Ordering::Relaxed,
};

use node_ebpf_common::{
    ABI_VERSION, Layout,
    maps::{MMAPABLE, name},
    policy::MAGIC,
};

use super::{
    bpffs::{NO_LINK, PinDir},
    error::DatapathError,
    memory::{ReadOnly, Words, new_array},
    sys,
};

/// Its name and that of its pin: where layout 7 had its first image, and a build of that layout looks.
pub(super) const SIGN: &str = "nw_image_0";
/// Words of the sign. Another size than any image's, by which an earlier build tells it from one of its own.
const SIGN_WORDS: u32 = 8;
/// What is to be renamed to its place.
pub(super) const NEXT: &str = "nw_next";

impl PinDir {
    /// The layout in force; `None`: no maps were ever made here.
    pub(super) fn in_force(&self) -> Result<Option<u32>, DatapathError> {
        let path = self.sign();
        let failed = || DatapathError::io(format!("can not open {}", path.display()));
        let sign = match sys::open_pin(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Somebody took it away, or the first maps are being made.
                let ours = is_whole(&self.maps()).then_some(ABI_VERSION);
                return Ok(ours.or_else(|| self.others().ok()?.into_iter().map(|(version, _)| version).next()));
            }
            sign => sign.map_err(failed())?,
        };
        // Of every image and of every sign the first words are the same; an image has more beside its version.
        let mut first_words =
            ReadOnly::part(sign.as_fd(), 0, 2).map_err(failed())?.load().collect::<Vec<_>>().into_iter();
        let (magic, version) = (first_words.next().unwrap_or(0), first_words.next().unwrap_or(0));
        match magic {
            MAGIC => Ok(Some(version as u32)),
            // The first image of layout 7, before there was a policy.
            0 if self.others()?.iter().any(|(version, _)| *version == Layout::SEVEN.version) => {
                Ok(Some(Layout::SEVEN.version))
            }
            _ => Err(DatapathError::ForeignMap {
                found: format!("first words {magic:#x} {version:#x}"),
                expected: "the sign of a layout".into(),
                path,
            }),
        }
    }

    /// Refuses where the layout of another build is in force.
    pub(super) fn require_ours(&self) -> Result<(), DatapathError> {
        match self.in_force()? {
            Some(found) if found != ABI_VERSION => Err(DatapathError::Abi { found, expected: ABI_VERSION }),
            _ => Ok(()),
        }
    }

    /// Makes the layout of this build the one in force, for every process at once.
    pub(super) fn put_sign(&self) -> Result<(), DatapathError> {
        let path = self.sign();
        let failed = || DatapathError::io(format!("can not put {}", path.display()));
        let sign = new_array(SIGN, SIGN_WORDS * 8, 1, MMAPABLE).map_err(failed())?;
        let words = Words::new(sign.as_fd(), SIGN_WORDS as usize).map_err(failed())?;
        for (word, value) in words.all().iter().zip([MAGIC, ABI_VERSION.into()]) {
            word.store(value, Relaxed);
        }
        put(sign.as_fd(), &path)?;
        self.guard_links()
    }

    /// Puts what fails an earlier build's `detach`. Only while the sign is ours: what that build made it may take away.
    pub(super) fn guard_links(&self) -> Result<(), DatapathError> {
        let name =
            format!("{NO_LINK}ABI version {ABI_VERSION}, which a nodewall of an ABI version up to 7 can not take away");
        let failed = |error| DatapathError::io(format!("can not guard {}", self.links().display()))(error);
        for entry in fs::read_dir(self.links()).map_err(failed)?.flatten() {
            let other = entry.file_name();
            let other = other.to_string_lossy();
            if other.starts_with(NO_LINK) && other != name {
                let _ = fs::remove_dir(entry.path()).or_else(|_| fs::remove_file(entry.path()));
            }
        }
        match fs::DirBuilder::new().mode(0o700).create(self.links().join(name)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed(error)),
            _ => Ok(()),
        }
    }

    /// The folders of other layouts' maps that have counters, by their numbers.
    pub(super) fn others(&self) -> Result<Vec<(u32, PathBuf)>, DatapathError> {
        let failed = DatapathError::io(format!("can not list {}", self.root.display()));
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(failed)?.flatten() {
            match entry.file_name().to_str().and_then(|name| name.parse().ok()) {
                Some(ABI_VERSION) | None => {}
                Some(version) => found.push((version, entry.path())),
            }
        }
        found.push((Layout::SEVEN.version, self.maps_of(Layout::SEVEN.version)));
        found.retain(|(_, folder)| is_whole(folder));
        found.sort();
        Ok(found)
    }

    /// Where the sign is.
    pub(super) fn sign(&self) -> PathBuf {
        self.sign_folder().join(SIGN)
    }
}

/// Whether the maps of a folder were all made, and none was removed: the counters go last.
fn is_whole(folder: &Path) -> bool {
    folder.join(name::COUNTERS).exists()
}

/// Pins a map in the place of what is pinned there: whoever looks finds the one or the other. Within a folder: the confined agent may not move anything out of one.
pub(super) fn put(map: std::os::fd::BorrowedFd<'_>, path: &Path) -> Result<(), DatapathError> {
    let failed = || DatapathError::io(format!("can not pin {}", path.display()));
    // Beside links only what begins so is no link.
    let next = if path.parent().is_some_and(|folder| folder.ends_with("links")) {
        format!("{NO_LINK}{NEXT}")
    } else {
        NEXT.into()
    };
    let next = path.with_file_name(next);
    // Of a process that was killed here.
    let _ = fs::remove_file(&next);
    sys::pin(map, &next).map_err(failed())?;
    fs::rename(&next, path).map_err(failed())
}
