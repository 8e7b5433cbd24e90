//! The blocked sources. Owns the list on disk and which of them count now; must not judge whether a source may be blocked.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use nodewall_host::state::{Clock, Deadline, StateDir, StateError, Stored, Who};

/// A source that an operator blocked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// The source: an address (full length) or a prefix, without host bits.
    pub prefix: IpNet,
    /// Since when, Unix time, ns.
    pub since_unix_ns: u64,
    /// Until when. `None`: until it is taken back.
    pub until: Option<Deadline>,
    /// Why, in the operator's words.
    pub reason: Option<String>,
    /// Who did it.
    pub who: Who,
}

/// All blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocks {
    /// Sorted by prefix, no duplicates.
    pub list: Vec<Block>,
}

impl Blocks {
    /// The prefixes that are blocked at `now`.
    pub fn prefixes(&self, now: &Clock) -> Vec<IpNet> {
        self.current(now).map(|block| block.prefix).collect()
    }

    /// The blocks that have not run out.
    pub fn current<'a>(&'a self, now: &'a Clock) -> impl Iterator<Item = &'a Block> {
        self.list.iter().filter(|block| block.until.as_ref().is_none_or(|until| !until.left(now).is_zero()))
    }

    /// Whether some have run out.
    pub fn any_over(&self, now: &Clock) -> bool {
        self.current(now).count() != self.list.len()
    }

    /// Takes out those that have run out, and returns them.
    pub fn take_over(&mut self, now: &Clock) -> Vec<Block> {
        let (over, kept) = std::mem::take(&mut self.list)
            .into_iter()
            .partition(|block| block.until.as_ref().is_some_and(|until| until.left(now).is_zero()));
        self.list = kept;
        over
    }

    /// Adds a block; one of the same prefix is replaced.
    pub fn insert(&mut self, block: Block) {
        self.list.retain(|other| other.prefix != block.prefix);
        self.list.push(block);
        self.list.sort_by_key(|block| block.prefix);
    }

    /// Takes a block out. `None`: this prefix was not blocked.
    pub fn remove(&mut self, prefix: &IpNet) -> Option<Block> {
        let at = self.list.iter().position(|block| block.prefix == *prefix)?;
        Some(self.list.remove(at))
    }
}

impl Stored for Blocks {
    const FILE: &'static str = "blocks.state";
}

impl Blocks {
    /// The blocked sources.
    pub fn load(state: &StateDir) -> Result<Self, StateError> {
        Ok(state.load()?.unwrap_or_default())
    }

    /// Writes them.
    pub fn save(&self, state: &StateDir) -> Result<(), StateError> {
        if self.list.is_empty() { state.forget::<Self>() } else { state.save(self) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn block(prefix: &str, until: Option<Deadline>) -> Block {
        Block { prefix: prefix.parse().unwrap(), since_unix_ns: 1, until, reason: None, who: Who::default() }
    }

    #[test]
    fn a_block_counts_until_its_time_is_over() {
        let now = Clock { boot_id: "a".into(), boot_ns: 0, unix_ns: 0 };
        let later = Clock { boot_ns: 60_000_000_000, ..now.clone() };
        let mut blocks = Blocks::default();
        blocks.insert(block("192.0.2.7/32", Some(Deadline::after(&now, Duration::from_secs(60)))));
        blocks.insert(block("10.0.0.0/8", None));
        blocks.insert(block("10.0.0.0/8", None));
        assert_eq!(blocks.prefixes(&now).len(), 2);
        assert!(!blocks.any_over(&now) && blocks.any_over(&later));
        assert_eq!(blocks.prefixes(&later), ["10.0.0.0/8".parse().unwrap()]);
        assert_eq!(blocks.take_over(&later).len(), 1);
        assert!(blocks.remove(&"192.0.2.7/32".parse().unwrap()).is_none());
        assert!(blocks.remove(&"10.0.0.0/8".parse().unwrap()).is_some());
        assert_eq!(blocks, Blocks::default());
    }
}
