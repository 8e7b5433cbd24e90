//! The registry of peers on disk. Owns its file's name only; what is in it is the registry's own.

use super::{Stamp, StateDir, StateError};
use crate::peers::Registry;

pub(super) const PEERS: &str = "peers.state";

impl StateDir {
    /// What is known of peers and from whom; empty where nothing was ever written.
    ///
    /// Whoever means to change it holds the lock of [`Self::lock_policy`] from before this call until after [`Self::save_peers`].
    pub fn peers(&self) -> Result<Registry, StateError> {
        Ok(self.read_sealed(PEERS)?.unwrap_or_default())
    }

    /// What tells whether the registry was written anew since.
    pub fn peers_stamp(&self) -> Option<Stamp> {
        Stamp::of(&self.file(PEERS))
    }

    /// Writes it, whole or not at all.
    pub fn save_peers(&self, registry: &mut Registry) -> Result<(), StateError> {
        self.write_sealed(PEERS, registry)?;
        registry.mark_saved();
        Ok(())
    }
}
