//! The journal: one line of JSON for each lever that an operator pulled and each opening or closing that followed, appended and flushed. Entries are numbered, and
//! that is their order: a clock can be wrong. It has an end: a full file becomes the one before, and of the one before that, what others can cause is let go.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, ErrorKind, Read, Write},
    os::unix::fs::FileExt as _,
};

use nodewall_files::{OFlags, WRITABLE};
use serde::{Deserialize, Serialize};

use super::{Clock, StateDir, StateError, Who};

/// The journal's file in the state directory.
pub const JOURNAL: &str = "journal.jsonl";
/// The one before.
const BEFORE: &str = "journal.1.jsonl";
/// Of all before that, what operators did and what followed from it.
const COMMANDS: &str = "journal.commands.jsonl";
const LOCK: &str = "journal.lock";
/// Of each of the three files. The newest is larger by one entry at most.
const FILE_BYTES: u64 = 4 << 20;
/// Of what one entry says.
const DETAIL_BYTES: usize = 16 << 10;
/// How much of a file's end is read first.
const TAIL_BYTES: u64 = 64 << 10;
/// What happens without a command, as often as a source of peers or somebody else's interface wants it.
const FROM_OUTSIDE: [&str; 4] = ["peers", "attach", "release", "repair"];

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its place in the journal, from 1 on; 0: it is from before entries were numbered.
    #[serde(default)]
    pub number: u64,
    /// Unix time, ns.
    pub unix_ns: u64,
    /// What was done: `block`, `unblock`, `enforce`, `confirm`, `rollback`, `panic_open`, `detach`, `apply`, `repair`, …
    pub action: String,
    /// To what, and why.
    pub detail: String,
    /// Who wanted it. `None`: the agent did it by itself.
    pub who: Option<Who>,
}

impl Entry {
    fn is_from_outside(&self) -> bool {
        self.who.is_none() && FROM_OUTSIDE.contains(&self.action.as_str())
    }
}

/// The end of the journal.
#[derive(Debug, Default)]
pub struct Tail {
    /// The newest entry that was known; `None`: there is none any more.
    pub known: Option<Entry>,
    /// Those after it, oldest first.
    pub new: Vec<Entry>,
}

impl StateDir {
    /// Appends to the journal.
    pub fn journal(&self, action: &str, detail: &str, who: Option<&Who>) -> Result<(), StateError> {
        self.journal_at(Clock::now().unix_ns, action, detail, who)
    }

    /// The same, with the time that the clock tells.
    pub fn journal_at(&self, unix_ns: u64, action: &str, detail: &str, who: Option<&Who>) -> Result<(), StateError> {
        let write = || -> io::Result<()> {
            let _lock = self.lock_journal()?;
            let number = self.tail(|_| false)?.known.map_or(0, |last| last.number) + 1;
            let entry =
                Entry { number, unix_ns, action: action.to_owned(), detail: shortened(detail), who: who.cloned() };
            let mut file = self.dir.file(JOURNAL, OFlags::RDWR | OFlags::APPEND | OFlags::CREATE, WRITABLE)?;
            // After a line that a power cut left half.
            let mut line = Vec::new();
            if let Some(last) = file.metadata()?.len().checked_sub(1) {
                let mut end = [0];
                file.read_exact_at(&mut end, last)?;
                line.extend((end != *b"\n").then_some(b'\n'));
            }
            serde_json::to_writer(&mut line, &entry)?;
            line.push(b'\n');
            file.write_all(&line)?;
            file.sync_data()
        };
        write().map_err(StateError::io(format!("can not write {}", self.file(JOURNAL).display())))
    }

    /// The journal's end, read from there backwards: what is new, as far as the journal goes. Lines that are no entries are left out.
    pub fn journal_tail(&self, is_new: impl Fn(&Entry) -> bool) -> Result<Tail, StateError> {
        let read = || {
            let _lock = self.lock_journal()?;
            self.tail(is_new)
        };
        read().map_err(StateError::io(format!("can not read {}", self.file(JOURNAL).display())))
    }

    /// Nobody else writes or rotates until the value is dropped.
    fn lock_journal(&self) -> io::Result<File> {
        let lock = self.dir.file(LOCK, OFlags::WRONLY | OFlags::CREATE, WRITABLE)?;
        lock.lock()?;
        // A journal that is too large is better than a command that is in none.
        if let Err(error) = self.rotate() {
            tracing::warn!("{} can not be rotated: {error}", self.file(JOURNAL).display());
        }
        Ok(lock)
    }

    fn tail(&self, is_new: impl Fn(&Entry) -> bool) -> io::Result<Tail> {
        let mut tail = Tail::default();
        for name in [JOURNAL, BEFORE, COMMANDS] {
            let older = end_of(self.part(name)?, &is_new)?;
            tail = Tail { known: older.known, new: [older.new, tail.new].concat() };
            if tail.known.is_some() {
                break;
            }
        }
        Ok(tail)
    }

    /// Makes the full file the one before, and keeps of that one what operators did.
    fn rotate(&self) -> io::Result<()> {
        let Some(mut file) = self.part(JOURNAL)? else { return Ok(()) };
        let bytes = file.metadata()?.len();
        if bytes < FILE_BYTES {
            return Ok(());
        }
        let mut kept = Vec::new();
        if let Some(mut commands) = self.part(COMMANDS)? {
            commands.read_to_end(&mut kept)?;
        }
        // One that was kept before the power went is not kept twice.
        let last = end_of(self.part(COMMANDS)?, |_| false)?.known.map_or(0, |last| last.number);
        if let Some(before) = self.part(BEFORE)? {
            keep_commands(before, last, &mut kept)?;
        }
        // Up to a version that knew no end, it could have any size.
        let beyond = if bytes > 2 * FILE_BYTES { bytes - FILE_BYTES } else { 0 };
        keep_commands((&mut file).take(beyond), last, &mut kept)?;
        newest(&mut kept);
        self.replace(COMMANDS, &kept, true)?;
        if beyond == 0 {
            return self.dir.rename(JOURNAL, BEFORE);
        }
        let mut end = Vec::new();
        file.read_to_end(&mut end)?;
        self.replace(BEFORE, &end, true)?;
        self.dir.remove(JOURNAL)
    }

    /// One of its files; `None`: it is not there.
    fn part(&self, name: &str) -> io::Result<Option<File>> {
        match self.dir.file(name, OFlags::RDONLY, WRITABLE) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            opened => opened.map(Some),
        }
    }
}

fn shortened(detail: &str) -> String {
    let shown = detail.floor_char_boundary(DETAIL_BYTES);
    let more = detail.len() - shown;
    let more = if more > 0 { format!("… ({more} bytes more)") } else { String::new() };
    detail.get(..shown).unwrap_or_default().to_owned() + &more
}

fn end_of(file: Option<File>, is_new: impl Fn(&Entry) -> bool) -> io::Result<Tail> {
    let Some(file) = file else { return Ok(Tail::default()) };
    let bytes = file.metadata()?.len();
    let mut looked = TAIL_BYTES;
    loop {
        let from = bytes.saturating_sub(looked);
        let mut end = vec![0; usize::try_from(bytes - from).unwrap_or(0)];
        file.read_exact_at(&mut end, from)?;
        let mut tail = Tail::default();
        // Cut in the middle, the first line is no entry.
        for entry in end.rsplit(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()) {
            if !is_new(&entry) {
                tail.known = Some(entry);
                break;
            }
            tail.new.push(entry);
        }
        if tail.known.is_some() || from == 0 {
            tail.new.reverse();
            return Ok(tail);
        }
        looked *= 4;
    }
}

/// Adds what operators did and what followed from it, after the entry of number `last`.
fn keep_commands(from: impl Read, last: u64, kept: &mut Vec<u8>) -> io::Result<()> {
    for line in BufReader::new(from).split(b'\n') {
        let mut line = line?;
        let is_kept = |entry: Entry| !entry.is_from_outside() && (entry.number == 0 || entry.number > last);
        if serde_json::from_slice(&line).is_ok_and(is_kept) {
            line.push(b'\n');
            kept.append(&mut line);
            if kept.len() as u64 > 2 * FILE_BYTES {
                newest(kept);
            }
        }
    }
    Ok(())
}

/// Lets go of the oldest lines beyond the size of a file.
fn newest(kept: &mut Vec<u8>) {
    let beyond = kept.len().saturating_sub(FILE_BYTES as usize);
    if beyond > 0 {
        let line = kept.iter().skip(beyond - 1).position(|byte| *byte == b'\n').map_or(kept.len(), |at| beyond + at);
        kept.drain(..line);
    }
}

#[cfg(test)]
mod tests;
