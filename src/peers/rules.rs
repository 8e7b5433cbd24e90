//! What may be a peer: bounds, limits, and how late a learnt peer leaves. Pure; the words of the refusals are `config`'s.

use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use nodewall_policy::config::{self, Config, DEFAULT_REMOVAL_DELAY, MAX_ADDRESSES, MAX_PREFIXES};

/// The rules of `[peers]`. Kept beside the peers, so that a start without a configuration knows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// Learnt peers must be inside one of these. Empty: anywhere.
    pub within: Vec<IpNet>,
    /// How long a learnt peer stays after the last source that knew it dropped it.
    pub removal_delay: Duration,
    /// At most this many single addresses.
    pub max_addresses: usize,
    /// At most this many prefixes shorter than an address.
    pub max_prefixes: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            within: Vec::new(),
            removal_delay: DEFAULT_REMOVAL_DELAY,
            max_addresses: MAX_ADDRESSES,
            max_prefixes: MAX_PREFIXES,
        }
    }
}

impl Rules {
    /// Those of a configuration. What its rules let in besides counts against the same limits.
    pub fn of(config: &Config) -> Self {
        let allowed = config.allowed_sources();
        let addresses = allowed.iter().filter(|net| is_address(net)).count();
        Self {
            within: config.peers.within.clone(),
            removal_delay: config.peers.removal_delay,
            max_addresses: MAX_ADDRESSES.saturating_sub(addresses),
            max_prefixes: MAX_PREFIXES.saturating_sub(allowed.len() - addresses),
        }
    }

    /// Why a learnt `net` is held back, its number apart.
    pub(super) fn refuse_learnt(&self, net: &IpNet) -> Option<String> {
        refuse(net).or_else(|| {
            let inside = self.within.is_empty() || self.within.iter().any(|bound| bound.contains(net));
            (!inside).then(|| "outside of [peers] within".to_owned())
        })
    }
}

/// Why `net` can be nobody's peer.
pub(super) fn refuse(net: &IpNet) -> Option<String> {
    config::check_peer(*net).err().map(|error| error.message)
}

pub(super) fn is_address(net: &IpNet) -> bool {
    net.prefix_len() == net.max_prefix_len()
}
