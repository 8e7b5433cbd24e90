//! `detach`: opens the node. It must not judge whether that is wise.

use super::{
    change::{self, Site},
    error::AgentError,
    good::{Good, ModeOverride},
    state_files::note,
    trial_file::Trial,
};
use nodewall_datapath::{self as datapath, PinDir};
use nodewall_host::{net, state::Who};

/// Opens the node: removes every link, map and pin. Returns the names of the interfaces that were filtered. A running agent is told by a mark
/// in the state directory, so that it does not attach again.
pub async fn detach(site: &Site, who: &Who) -> Result<Vec<String>, AgentError> {
    change::require_privilege()?;
    let _change = site.state.lock_policy()?;
    site.state.mark_detached()?;
    let mut opened = Vec::new();
    if let Some(pins) = PinDir::open(&site.bpffs)? {
        // Names are a courtesy: without them the node is opened all the same.
        let network = net::snapshot().await.unwrap_or_default();
        opened = datapath::links(&pins)
            .unwrap_or_default()
            .iter()
            .filter_map(|link| network.by_index(link.if_index).map(|l| l.name.clone()))
            .collect();
        pins.remove()?;
    }
    // There is nothing to go back to any more, and no mode to be in.
    site.state.forget::<Trial>()?;
    ModeOverride::save_in(&site.state, None)?;
    Good::forget(&site.state)?;
    note(&site.state, "detach", &opened.join(", "), Some(who));
    Ok(opened)
}
