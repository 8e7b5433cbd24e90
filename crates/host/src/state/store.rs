//! Files that are whole or not there: written beside, flushed, renamed; read only when the checksum in the first line is right.
//!
//! ```text
//! nodewall-state 1 sha256 <hash of all that follows, hexadecimal>
//! <JSON>
//! ```

use std::io::{self, Read, Write};

use nodewall_files::{OFlags, WRITABLE};
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use super::{Stamp, StateDir, StateError};
use nodewall_text::hex;

/// Number of this form of file.
const HEADING: &str = "nodewall-state 1 sha256 ";
/// More than any state; a larger file is not ours.
const MAX_BYTES: u64 = 64 << 20;

/// A value with a sealed file of its own: whole or not there, and believed only when its checksum is right.
pub trait Stored: Serialize + DeserializeOwned {
    /// The file's name in the state directory.
    const FILE: &'static str;
}

/// A value that is only told to people, in a file of its own: without a checksum, and not flushed.
pub trait Note: Serialize + DeserializeOwned {
    /// The file's name in the state directory.
    const FILE: &'static str;
}

impl StateDir {
    /// Reads a stored value; `None` where none was saved.
    pub fn load<T: Stored>(&self) -> Result<Option<T>, StateError> {
        let path = self.file(T::FILE);
        let damaged = |problem: String| StateError::Damaged { path: path.clone(), problem };
        let text = match self.read(T::FILE, WRITABLE) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(damaged("it is not text".into())),
            Err(error) => return Err(StateError::io(format!("can not read {}", path.display()))(error)),
        };
        let Some((sum, body)) = text.strip_prefix(HEADING).and_then(|rest| rest.split_once('\n')) else {
            return Err(damaged(format!("the first line is not \"{HEADING}…\"")));
        };
        if hex(&Sha256::digest(body.as_bytes())) != sum {
            return Err(damaged("its checksum is wrong: it was changed or cut short".into()));
        }
        serde_json::from_str(body).map(Some).map_err(|e| damaged(format!("another version wrote it: {e}")))
    }

    /// Writes a value: whole or not at all, also when the power goes.
    pub fn save<T: Stored>(&self, value: &T) -> Result<(), StateError> {
        // On one line: 16,384 peers are read before anything is enforced.
        let body = serde_json::to_string(value)
            .map_err(|e| StateError::io(format!("can not write {}", self.file(T::FILE).display()))(e.into()))?;
        let sum = hex(&Sha256::digest(body.as_bytes()));
        self.write_whole(T::FILE, format!("{HEADING}{sum}\n{body}").as_bytes())
    }

    /// Removes a stored value; none is fine.
    pub fn forget<T: Stored>(&self) -> Result<(), StateError> {
        self.remove(T::FILE)
    }

    /// Which version of a stored value there is; `None`: none.
    pub fn stamp<T: Stored>(&self) -> Option<Stamp> {
        self.stamp_of(T::FILE)
    }

    /// The same of a file of this name.
    pub fn stamp_of(&self, name: &str) -> Option<Stamp> {
        self.dir.stat(name).ok().map(|stat| Stamp::read(&stat, 0))
    }

    /// What was noted last, if it can be read.
    pub fn read_note<T: Note>(&self) -> Option<T> {
        serde_json::from_str(&self.read(T::FILE, WRITABLE).ok()?).ok()
    }

    /// Writes a note.
    pub fn write_note<T: Note>(&self, value: &T) -> io::Result<()> {
        self.replace(T::FILE, &serde_json::to_vec_pretty(value)?, false)
    }

    /// Removes a note. Failing to is not told: a reader would still show it.
    pub fn forget_note<T: Note>(&self) {
        drop(self.dir.remove(T::FILE));
    }

    /// Reads a file of which others have none of the rights in `others`.
    pub fn read(&self, name: &str, others: u32) -> io::Result<String> {
        let mut text = String::new();
        self.dir.file(name, OFlags::RDONLY, others)?.take(MAX_BYTES).read_to_string(&mut text)?;
        Ok(text)
    }

    pub(super) fn remove(&self, name: &str) -> Result<(), StateError> {
        let path = self.file(name);
        match self.dir.remove(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            result => result.map_err(StateError::io(format!("can not remove {}", path.display())))?,
        }
        // A removal that a power cut undoes would bring back what was ended.
        self.dir.sync().map_err(StateError::io(format!("can not flush {}", self.path().display())))
    }

    pub(super) fn write_whole(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        let failed = StateError::io(format!("can not write {}", self.file(name).display()));
        self.replace(name, bytes, true).map_err(failed)
    }

    /// Writes a file beside the one of this name, for its owner alone, and then in its place. Flushed, it is there whole also when the power goes.
    pub fn replace(&self, name: &str, bytes: &[u8], flush: bool) -> io::Result<()> {
        let new = format!("{name}.new");
        let mut file = self.dir.file(&new, OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC, WRITABLE)?;
        file.write_all(bytes)?;
        if flush {
            file.sync_all()?;
        }
        self.dir.rename(&new, name)?;
        if flush { self.dir.sync() } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[derive(Debug, PartialEq, Eq, serde::Deserialize, Serialize)]
    struct Numbers(Vec<u32>);

    impl Stored for Numbers {
        const FILE: &'static str = "x";
    }

    fn directory() -> (tempfile::TempDir, StateDir) {
        let parent = tempfile::tempdir().unwrap();
        let state = StateDir::create(&parent.path().join("state")).unwrap();
        (parent, state)
    }

    #[test]
    fn what_was_written_is_read_and_any_changed_byte_is_found() {
        let (_parent, state) = directory();
        assert_eq!(state.load::<Numbers>().unwrap(), None);
        state.save(&Numbers(vec![1, 2, 3])).unwrap();
        assert_eq!(state.load().unwrap(), Some(Numbers(vec![1, 2, 3])));
        let good = fs::read(state.file("x")).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            *bad.get_mut(at).unwrap() ^= 1;
            for damaged in [&bad, good.get(..at).unwrap()] {
                fs::write(state.file("x"), damaged).unwrap();
                assert!(matches!(state.load::<Numbers>(), Err(StateError::Damaged { .. })), "byte {at}: {damaged:?}");
            }
        }
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_file() {
        let (_parent, state) = directory();
        state.save(&Numbers(vec![1])).unwrap();
        // A directory is in the way of the new file: an error that root gets, too.
        fs::create_dir(state.file("x.new")).unwrap();
        let error = state.save(&Numbers(vec![2])).unwrap_err().to_string();
        assert!(error.starts_with("can not write") && error.contains('x'), "{error}");
        assert_eq!(state.load().unwrap(), Some(Numbers(vec![1])));
    }
}
