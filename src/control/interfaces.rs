//! Interfaces that appear: attached at once with the program that is loaded already, before anything else is looked at. The time between the kernel's
//! event and the link is the one unasked-for opening; it is measured here.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::{
    change::{Applied, AppliedInterface, AttachAction, Site, attach_one, count_outbound},
    error::AgentError,
    surroundings::{Surroundings, select},
};
use nodewall_datapath::{self as datapath, PinDir, Target};
use nodewall_host::net;

/// An interface that was open and is filtered now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Covered {
    pub(crate) name: String,
    /// Since `since`.
    pub(crate) gap: Duration,
}

/// What looking after the interfaces came to.
#[derive(Debug, Default)]
pub(crate) struct Coverage {
    /// What was attached.
    pub(crate) covered: Vec<Covered>,
    /// What leaves by an interface is counted again.
    pub(crate) recounted: bool,
    /// What could not be attached, and why.
    pub(crate) alarms: Vec<String>,
    /// The surroundings after it.
    pub(crate) surroundings: Surroundings,
}

/// Attaches what should be attached and is not. `since`: when the change was noticed.
pub(crate) async fn cover(site: &Site, applied: &mut Applied, since: Instant) -> Result<Coverage, AgentError> {
    let _lock = site.state.lock_policy()?;
    if site.state.is_detached() {
        return Err(AgentError::Detached);
    }
    let network = net::snapshot().await?;
    let stored: Vec<String> =
        applied.interfaces.iter().map(|i| i.name.clone()).chain(applied.missing.iter().cloned()).collect();
    let selection = select(&applied.desired, &network, &stored)?;
    let pins = PinDir::create(&site.bpffs)?;
    if !applied.loaded.maps.are_pinned(&pins)? {
        return Err(AgentError::OtherMaps);
    }
    datapath::forget_dead(&pins, |index| network.by_index(index).is_some())?;
    let ours = datapath::links(&pins)?;
    // Where they can not be read, attaching says why. Filtering does not wait for it.
    let counted: BTreeSet<u32> =
        datapath::outlets(&pins).unwrap_or_default().iter().map(|outlet| outlet.if_index).collect();
    let mut coverage = Coverage::default();
    let mut interfaces: Vec<AppliedInterface> = Vec::new();
    for selected in &selection.attach {
        let target = Target { name: selected.name.clone(), if_index: selected.index };
        let xdp = network.by_index(selected.index).and_then(|link| link.xdp.as_ref());
        let link = ours.iter().find(|link| link.if_index == selected.index);
        match (link, xdp) {
            (Some(_), Some(_)) => {
                let mut uncounted = None;
                if !counted.contains(&selected.index) {
                    uncounted = count_outbound(&mut applied.loaded, &pins, &target);
                    coverage.recounted |= uncounted.is_none();
                }
                coverage.alarms.extend(uncounted.clone());
                interfaces.push(AppliedInterface {
                    name: target.name.clone(),
                    if_index: target.if_index,
                    outcome: AttachAction::Replaced,
                    uncounted,
                });
            }
            (None, Some(xdp)) => coverage.alarms.push(format!(
                "{}: program {} runs there instead of ours; remove it (`bpftool prog show id {1}` tells whose it is), then it is filtered again",
                target.name, xdp.program_id
            )),
            (_, None) => match attach_one(&mut applied.loaded, &pins, &target, applied.desired.attach_mode) {
                Ok(done) => {
                    coverage.alarms.extend(done.uncounted.clone());
                    interfaces.push(AppliedInterface { outcome: AttachAction::Attached, ..done });
                    coverage.covered.push(Covered { name: target.name, gap: since.elapsed() });
                }
                Err(error) => coverage.alarms.push(error.to_string()),
            },
        }
    }
    coverage.surroundings = Surroundings::new(&selection, &network).all_filtered();
    let attached = interfaces.iter().map(|i| i.if_index).collect();
    applied.uncovered = net::uncovered(&network, &attached);
    applied.interfaces = interfaces;
    applied.missing = selection.missing;
    // What could not be attached is looked for again.
    applied.missing.extend(selection.attach.iter().filter(|s| !attached.contains(&s.index)).map(|s| s.name.clone()));
    Ok(coverage)
}
