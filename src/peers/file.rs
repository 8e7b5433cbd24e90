//! The source `file`: one address or prefix a line, `#` comments, blank lines. One bad line refuses the whole file. Must not keep what it read: the
//! registry does.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Answer, Fetch, Source, SourceError, SourceName};
use nodewall_host::state::Stamp;
use nodewall_policy::config::{SourceCount, Trust, parse_peer, read_trusted};

/// More than the most addresses with a comment each.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// A file that was written within this time may still be being written…
const FRESH: Duration = Duration::from_secs(1);
/// …so it must have stayed the same for this long,
const SETTLE: Duration = Duration::from_millis(150);
/// unless it never does: then it counts as it is, and the next look reads it anew.
const SETTLE_LOOKS: u32 = 3;

/// A file with the cluster's nodes, written by whoever deploys them.
#[derive(Clone, Debug)]
pub struct FileSource {
    name: SourceName,
    path: PathBuf,
}

impl FileSource {
    /// The file at `path`, which must be owned by root or this process's user and writable by nobody else.
    pub fn new(path: &Path) -> Self {
        Self { name: SourceName::file(path), path: path.to_path_buf() }
    }

    /// Reads it.
    pub fn read(&self) -> Result<Answer, SourceError> {
        let text =
            read_trusted(&self.path, Trust::OwnerOnly, MAX_FILE_BYTES, "write it, or take `file` out of [peers]")
                .map_err(|error| self.refused("", error.message, error.help))?;
        let peers = self.parse(&text)?;
        if peers.is_empty() {
            // More likely cut short than meant.
            let help = "write at least one address, or take `file` out of [peers]";
            return Err(SourceError::at(self.path.display(), "names no peer", help));
        }
        Ok(Answer { peers, valid_for: None, unanswered: None })
    }

    fn parse(&self, text: &str) -> Result<BTreeSet<ipnet::IpNet>, SourceError> {
        let (mut peers, mut count) = (BTreeSet::new(), SourceCount::default());
        for (line, whole) in (1..).zip(text.lines()) {
            let entry = whole.split('#').next().unwrap_or_default();
            let column = entry.chars().take_while(|c| c.is_whitespace()).count() + 1;
            let entry = entry.trim();
            if entry.is_empty() {
                continue;
            }
            let read = parse_peer(entry).and_then(|net| count.add(net).map(|()| net));
            let peer = read.map_err(|error| self.refused(&format!(":{line}:{column}"), error.message, error.help))?;
            peers.insert(peer);
        }
        Ok(peers)
    }

    fn refused(&self, place: &str, problem: String, help: Option<String>) -> SourceError {
        let help = help.unwrap_or_else(|| "one address or prefix a line, # before a comment".into());
        SourceError::at(format_args!("{}{place}", self.path.display()), problem, help)
    }
}

/// A time to come is the clock's fault, and no reason to wait.
fn is_fresh(path: &Path) -> bool {
    let modified = std::fs::metadata(path).and_then(|data| data.modified());
    modified.ok().and_then(|modified| modified.elapsed().ok()).is_some_and(|age| age < FRESH)
}

impl Source for FileSource {
    fn name(&self) -> &SourceName {
        &self.name
    }

    fn fetch(&mut self) -> Fetch<'_> {
        Box::pin(async {
            // A program that writes in place has the first half there before the second.
            for _ in 0..SETTLE_LOOKS {
                let before = self.stamp();
                if !is_fresh(&self.path) {
                    break;
                }
                tokio::time::sleep(SETTLE).await;
                if self.stamp() == before {
                    break;
                }
            }
            self.read()
        })
    }

    fn stamp(&self) -> Option<Stamp> {
        Stamp::of(&self.path)
    }
}
