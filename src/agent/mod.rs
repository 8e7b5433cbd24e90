//! Changes of what is in force, each under one lock (`apply`, `enforce`, `confirm`, `rollback`, `panic_open`, `block`, `detach`), and the foreground
//! agent (`run`). It must not print: commands do, and events go to `tracing`.

mod apply;
mod block;
mod change;
mod confine;
mod error;
mod evidence;
mod guard;
mod interfaces;
mod keeper;
mod notify;
mod peer_watch;
mod peers;
mod plan;
mod run;
mod session;
mod surroundings;
mod trial;
mod warnings;
mod watchdog;

pub use apply::{Allow, Cause, apply, reapply};
pub use block::{Blocking, Changed, block, unblock};
pub use change::{Applied, AppliedInterface, Outcome, Site};
pub use confine::{Confined, confine, writable};
pub use error::AgentError;
pub use peers::{ask_local, desired, peers_changed};
pub use plan::{Affected, Difference, plan};
pub use run::{Start, run};
pub use trial::{Standing, confirm, enforce, panic_open, rollback, rollback_trial, standing};
pub use warnings::warnings;

use crate::{
    datapath::{self, PinDir},
    net,
    state::Who,
};

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
    site.state.clear_trial()?;
    site.state.save_mode_override(None)?;
    site.state.forget_good()?;
    apply::note(&site.state, "detach", &opened.join(", "), Some(who));
    Ok(opened)
}
