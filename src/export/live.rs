//! Reading what is shown, once for each request: the live system through `src/view`. Must not format it.

use std::sync::{Mutex, PoisonError};

use super::Place;
use crate::{
    control::{self, Blocks},
    memory::give_back,
    peers::Registry,
    view::{
        counters::Counters,
        denied_sources::DeniedSources,
        peer_traffic::PeerTraffic,
        peers::{Numbers, Peers},
        ports::{self, Port},
        status::{self, Status},
    },
};
use nodewall_datapath::{DatapathError, Maps};
use nodewall_host::{
    net,
    state::{Clock, Stamp},
};

/// Reads; keeps only what would cost much to compute at each scrape.
pub(super) struct Reader {
    place: Place,
    numbers: Mutex<Option<(Version, Numbers)>>,
}

/// Of the files that the numbers were computed from.
type Version = (Option<Stamp>, [Option<Stamp>; 3]);

impl Reader {
    pub(super) fn new(place: Place) -> Self {
        Self { place, numbers: Mutex::new(None) }
    }

    /// What `status` shows.
    pub(super) async fn status(&self) -> Result<Status, String> {
        let network = net::snapshot().await.map_err(|error| error.to_string())?;
        let mut status = status::look(&self.place.bpffs, &network).map_err(|error| error.to_string())?;
        status::add_state(&mut status, &self.place.state);
        Ok(status)
    }

    /// What `counters` shows; `None`: no policy is in force.
    pub(super) fn counters(&self) -> Result<Option<Counters>, String> {
        self.live(Counters::read)
    }

    /// What `counters --per-peer` shows; `None`: no policy is in force.
    pub(super) fn peer_traffic(&self) -> Result<Option<PeerTraffic>, String> {
        self.live(PeerTraffic::read)
    }

    /// The ports that the policy names; `None`: no policy is in force.
    pub(super) fn ports(&self) -> Result<Option<Vec<Port>>, String> {
        self.live(ports::read)
    }

    /// Who was denied most in the last hour.
    pub(super) fn denied_sources(&self) -> Result<DeniedSources, String> {
        DeniedSources::read(&self.place.state, Clock::now().unix_ns).map_err(|error| error.to_string())
    }

    fn live<T>(&self, read: impl FnOnce(&Maps) -> Result<T, DatapathError>) -> Result<Option<T>, String> {
        let Some((_, maps)) = Maps::live(&self.place.bpffs).map_err(|error| error.to_string())? else {
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
        let version = (self.place.state.stamp::<Registry>(), control::stamps(&self.place.state));
        let mut kept = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, numbers)) = kept.as_ref().filter(|(of, _)| *of == version) {
            return Ok(numbers.clone());
        }
        let now = Clock::now();
        let blocks = Blocks::load(&self.place.state).map_err(|error| error.to_string())?.prefixes(&now);
        let numbers = Numbers::of(&self.registry()?, &blocks, &now);
        *kept = Some((version, numbers.clone()));
        give_back();
        Ok(numbers)
    }

    fn registry(&self) -> Result<Registry, String> {
        Registry::load(&self.place.state).map_err(|error| error.to_string())
    }
}
