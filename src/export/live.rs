//! Reading what is shown, once for each request: the live system through `src/view`. Must not format it.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use crate::{
    control::{self, Blocks},
    memory::give_back,
    peers::Registry,
    view::{
        denied_sources::DeniedSources,
        peers::{Numbers, Peers},
        status::{self, Status},
    },
};
use nodewall_datapath::{DatapathError, Maps};
use nodewall_host::state::{Clock, Stamp, StateDir};

/// Where what is shown is read.
#[derive(Clone, Debug)]
pub struct Roots {
    /// The agent's state directory.
    pub state: StateDir,
    /// The pins.
    pub bpffs: PathBuf,
}

/// Reads; keeps only what would cost much to compute at each scrape.
pub(super) struct Reader {
    roots: Roots,
    numbers: Mutex<Option<(Version, Numbers)>>,
}

/// Of the files that the numbers were computed from.
type Version = (Option<Stamp>, [Option<Stamp>; 3]);

impl Reader {
    pub(super) fn new(roots: Roots) -> Self {
        Self { roots, numbers: Mutex::new(None) }
    }

    /// What `status` shows.
    pub(super) async fn status(&self) -> Result<Status, String> {
        let looked = status::look(&self.roots.bpffs, Some(&self.roots.state)).await;
        looked.map(|(status, _)| status).map_err(|error| error.to_string())
    }

    /// Who was denied most in the last hour.
    pub(super) fn denied_sources(&self) -> Result<DeniedSources, String> {
        DeniedSources::read(&self.roots.state, Clock::now().unix_ns).map_err(|error| error.to_string())
    }

    /// What `read` finds in the maps (counters, peers' traffic, ports); `None`: no policy is in force.
    pub(super) fn live<T>(&self, read: impl FnOnce(&Maps) -> Result<T, DatapathError>) -> Result<Option<T>, String> {
        let Some((_, maps)) = Maps::live(&self.roots.bpffs).map_err(|error| error.to_string())? else {
            return Ok(None);
        };
        match read(&maps) {
            Ok(value) => Ok(Some(value)),
            Err(DatapathError::NoPolicy) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    /// What `peers list` shows.
    pub(super) fn peers(&self) -> Result<Peers, String> {
        Ok(Peers::of(&self.registry()?, &Clock::now()))
    }

    /// How many peers there are. Computed anew when a file changed, as the agent changes it when anything runs out.
    pub(super) fn numbers(&self) -> Result<Numbers, String> {
        let version = (self.roots.state.stamp::<Registry>(), control::stamps(&self.roots.state));
        let mut kept = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, numbers)) = kept.as_ref().filter(|(of, _)| *of == version) {
            return Ok(numbers.clone());
        }
        let now = Clock::now();
        let blocks = Blocks::load(&self.roots.state).map_err(|error| error.to_string())?.prefixes(&now);
        let numbers = Numbers::of(&self.registry()?, &blocks, &now);
        *kept = Some((version, numbers.clone()));
        give_back();
        Ok(numbers)
    }

    fn registry(&self) -> Result<Registry, String> {
        Registry::load(&self.roots.state).map_err(|error| error.to_string())
    }
}
