//! What the command line changes in a configuration. Its errors name the flag instead of a file.

use std::net::SocketAddr;

use ipnet::IpNet;

use super::enums::Mode;
use super::error::{ConfigError, ConfigErrors};
use super::interface::InterfacePattern;
use super::model::Config;
use super::peers::{NamedPeer, PeerOrigin};
use super::source_count::SourceCount;

/// The values of the common flags.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--mode`: replaces the configuration's.
    pub mode: Option<Mode>,
    /// `--interface`, repeatable: if any, replaces the configuration's list.
    pub interfaces: Vec<InterfacePattern>,
    /// `--peer`, repeatable: added to the configuration's.
    pub peers: Vec<IpNet>,
}

impl Config {
    /// This configuration under the command line's values, which count against the file's limits.
    pub fn with_overrides(mut self, overrides: &Overrides) -> Result<Self, ConfigErrors> {
        self.mode = overrides.mode.unwrap_or(self.mode);
        if !overrides.interfaces.is_empty() {
            self.interfaces.clear();
        }
        for pattern in &overrides.interfaces {
            if !self.interfaces.contains(pattern) {
                self.interfaces.push(pattern.clone());
            }
        }
        self.add_peers(&overrides.peers)?;
        Ok(self)
    }

    fn add_peers(&mut self, peers: &[IpNet]) -> Result<(), ConfigErrors> {
        let mut errors = Vec::new();
        let mut sources = SourceCount::default();
        let allowed = self.rules.iter().flat_map(|rule| rule.also_allow.iter().copied());
        for net in self.peers.named.iter().map(|peer| peer.prefix).chain(allowed) {
            // The file's own sources are within the limits already.
            let _ = sources.add(net);
        }
        for prefix in peers {
            match sources.add(*prefix) {
                Ok(()) => self.peers.named.push(NamedPeer { prefix: *prefix, from: PeerOrigin::CommandLine }),
                Err(error) => errors.push(ConfigError::whole("--peer", error.message, error.help)),
            }
        }
        self.peers.named.sort_unstable();
        self.peers.named.dedup_by_key(|peer| peer.prefix);
        ConfigErrors::none_of(errors, 0)
    }

    /// This configuration with `--listen`, if it was given; `Some(None)`: nowhere.
    pub fn with_listen(mut self, listen: Option<Option<SocketAddr>>) -> Result<Self, ConfigErrors> {
        let Some(listen) = listen else { return Ok(self) };
        self.export.listen = listen;
        match self.export.refusal() {
            Some(error) => Err(ConfigErrors::whole("--listen", error.message, error.help)),
            None => Ok(self),
        }
    }
}
