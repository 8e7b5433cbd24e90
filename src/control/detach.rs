//! `detach`: opens the node, and says so once the kernel does. It must not judge whether that is wise.

use std::{collections::BTreeSet, time::Duration};

use super::{
    change::{self, Site},
    coverage::Remembered,
    error::AgentError,
    good::Good,
    holder,
    state_files::note,
    trial_file::Trial,
};
use nodewall_datapath::{self as datapath, Owner, PinDir};
use nodewall_host::{
    net::{self, Network},
    state::Who,
};

/// A link that was detached is off its interface at once; one whose pin alone was removed, a moment later.
const LOOKS: u32 = 40;
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Opens the node: removes every link, map and pin. Returns the names of the interfaces that were filtered. A running agent is told by a mark
/// in the state directory, so that it does not attach again.
pub async fn detach(site: &Site, who: &Who) -> Result<Vec<String>, AgentError> {
    change::require_privilege()?;
    let _change = site.state.lock_policy()?;
    site.state.mark_detached()?;
    let mut opened = Vec::new();
    // Names are a courtesy: without them the node is opened all the same.
    let network = net::snapshot().await.unwrap_or_default();
    // Those whose pins are hidden, too: they go on filtering.
    let mut programs = stray(&network);
    if let Some(pins) = PinDir::open(&site.bpffs)? {
        let links = datapath::links(&pins).unwrap_or_default();
        programs.extend(links.iter().map(|link| (link.if_index, link.program_id)));
        opened = links.iter().filter_map(|link| network.by_index(link.if_index).map(|l| l.name.clone())).collect();
        pins.remove()?;
    }
    // There is nothing to go back to any more, and no interface to attach besides those asked for. What was confirmed stays: the mode counts again with the next policy.
    let trial = site.state.load::<Trial>().ok().flatten();
    site.state.forget::<Trial>()?;
    if let Some(trial) = trial {
        holder::release(&trial);
    }
    Good::forget(&site.state)?;
    site.state.forget::<Remembered>()?;
    note(&site.state, "detach", &opened.join(", "), Some(who));
    let left = still_filtered(&programs).await?;
    if left.is_empty() {
        Ok(opened)
    } else {
        Err(AgentError::StillFiltered { interfaces: left.into_iter().collect::<Vec<_>>().join(", ") })
    }
}

/// Every interface with a program of nodewall's, and its number, as far as this process may ask.
fn stray(network: &Network) -> BTreeSet<(u32, u32)> {
    let xdp = network.links().filter_map(|link| Some((link.index, link.xdp.as_ref()?.program_id)));
    let tc = network.links().flat_map(|link| {
        let index = link.index;
        datapath::inbound_programs(index).into_iter().map(move |program| (index, program))
    });
    xdp.chain(tc).filter(|(_, program)| datapath::owner(*program) == Some(Owner::Nodewall)).collect()
}

/// The interfaces that still run these programs, by the kernel's word.
async fn still_filtered(programs: &BTreeSet<(u32, u32)>) -> Result<BTreeSet<String>, AgentError> {
    let mut left = BTreeSet::new();
    for look in 0..LOOKS {
        if look > 0 {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let network = net::snapshot().await?;
        let runs = |(if_index, program): &(u32, u32)| {
            let link = network.by_index(*if_index)?;
            let as_xdp = link.xdp.as_ref().is_some_and(|xdp| xdp.program_id == *program);
            (as_xdp || datapath::inbound_programs(*if_index).contains(program)).then(|| link.name.clone())
        };
        left = programs.iter().filter_map(runs).collect();
        if left.is_empty() {
            break;
        }
    }
    Ok(left)
}
