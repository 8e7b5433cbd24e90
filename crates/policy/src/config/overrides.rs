//! What the command line changes in a configuration. Its errors name the flag instead of a file.

use super::address::{SourceCount, parse_peer};
use super::error::{ConfigErrors, FlagProblems};
use super::{Config, InterfacePattern, NamedPeer, PeerOrigin};

/// The values of the common flags, as they were typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--mode`: replaces the configuration's.
    pub mode: Option<String>,
    /// `--interface`, repeatable: if any, replaces the configuration's list.
    pub interfaces: Vec<String>,
    /// `--peer`, repeatable: added to the configuration's.
    pub peers: Vec<String>,
}

impl Config {
    /// This configuration under the command line's values, which obey the file's rules.
    pub fn with_overrides(mut self, overrides: &Overrides) -> Result<Self, ConfigErrors> {
        let mut problems = FlagProblems::default();
        if let Some(mode) = &overrides.mode {
            match mode.parse() {
                Ok(mode) => self.mode = mode,
                Err(error) => problems.value("--mode", error),
            }
        }
        if !overrides.interfaces.is_empty() {
            self.interfaces.clear();
        }
        for text in &overrides.interfaces {
            match text.parse::<InterfacePattern>() {
                Ok(pattern) if self.interfaces.contains(&pattern) => {}
                Ok(pattern) => self.interfaces.push(pattern),
                Err(error) => problems.value("--interface", error),
            }
        }
        self.add_peers(&overrides.peers, &mut problems);
        problems.finish()?;
        Ok(self)
    }

    fn add_peers(&mut self, peers: &[String], problems: &mut FlagProblems) {
        let mut sources = SourceCount::default();
        let allowed = self.rules.iter().flat_map(|rule| rule.also_allow.iter().copied());
        for net in self.peers.named.iter().map(|peer| peer.prefix).chain(allowed) {
            // The file's own sources are within the limits already.
            let _ = sources.add(net);
        }
        for text in peers {
            match parse_peer(text).and_then(|net| sources.add(net).map(|()| net)) {
                Ok(prefix) => self.peers.named.push(NamedPeer { prefix, from: PeerOrigin::CommandLine }),
                Err(error) => problems.value("--peer", error),
            }
        }
        self.peers.named.sort_unstable();
        self.peers.named.dedup_by_key(|peer| peer.prefix);
    }
}
