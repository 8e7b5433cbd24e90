//! Whether what should be in force is: pins, links, the image. Looks only; the agent repairs. A look costs a few system calls.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use crate::control::{
    Applied, InterfaceCoverage,
    change::Site,
    coverage::{AttachAction, Coverage},
    error::AgentError,
};
use nodewall_datapath::{self as datapath, DatapathError, Outlet, PinDir};
use nodewall_policy::config::Mode;
use nodewall_text::hex;

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// Pins are gone; the maps are still held by this process.
    Pins,
    /// An interface is not covered as it was: its name, and what was found.
    Link(String, LinkFault),
    /// The pins are of other maps than those that this process holds.
    OtherMaps,
    /// The policy in force is not the last good one.
    Image(String),
}

/// What is wrong with an interface's link or its outbound counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkFault {
    /// It is gone, or was detached.
    Gone,
    /// Its program is another.
    Replaced,
    /// The outbound counter is gone.
    OutboundGone,
    /// Another program is where the outbound counter was.
    OutboundReplaced,
}

impl LinkFault {
    /// Whether somebody else's program runs instead: to attach again is not enough.
    pub(super) const fn is_foreign_program(self) -> bool {
        matches!(self, Self::Replaced | Self::OutboundReplaced)
    }
}

impl std::fmt::Display for LinkFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Gone => "its link was gone",
            Self::Replaced => "another program was in its link",
            Self::OutboundGone => "its outbound counter was gone",
            Self::OutboundReplaced => "another program was in the place of its outbound counter",
        })
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pins => f.write_str("pins of maps were gone"),
            Self::OtherMaps => f.write_str("other maps were pinned"),
            Self::Link(interface, fault) => write!(f, "{interface}: {fault}"),
            Self::Image(what) => f.write_str(what),
        }
    }
}

/// The programs that run, by interface index.
#[derive(Debug)]
pub(super) struct Programs {
    inbound: BTreeMap<u32, u32>,
    outbound: BTreeMap<u32, Outlet>,
    /// When all of them were last seen to run.
    pub(super) seen: Instant,
}

/// The programs as they are.
pub(super) fn programs(site: &Site) -> Result<Programs, DatapathError> {
    let seen = Instant::now();
    let Some(pins) = PinDir::open(&site.bpffs)? else {
        return Ok(Programs { inbound: BTreeMap::new(), outbound: BTreeMap::new(), seen });
    };
    Ok(Programs {
        seen,
        inbound: datapath::links(&pins)?.into_iter().map(|link| (link.if_index, link.program_id)).collect(),
        outbound: datapath::outlets(&pins)
            .unwrap_or_default()
            .into_iter()
            .map(|outlet| (outlet.if_index, outlet))
            .collect(),
    })
}

impl Programs {
    /// After a reconciliation: what that put in place is as it should be, what is not covered any more is nobody's. Of all others nothing is learnt here, so
    /// that what somebody exchanged meanwhile is still found.
    pub(super) fn follow(&mut self, now: &Self, coverage: &Coverage) {
        self.seen = now.seen;
        let covered: BTreeSet<u32> = covered(coverage).map(|(_, if_index)| if_index).collect();
        self.inbound.retain(|if_index, _| covered.contains(if_index));
        self.outbound.retain(|if_index, _| covered.contains(if_index));
        for (if_index, action) in &coverage.actions {
            let is_new = *action != AttachAction::Kept;
            if is_new && let Some(program) = now.inbound.get(if_index) {
                self.inbound.insert(*if_index, *program);
            }
            if (is_new || coverage.recounted.contains(if_index))
                && let Some(outlet) = now.outbound.get(if_index)
            {
                self.outbound.insert(*if_index, *outlet);
            }
        }
    }
}

fn covered(coverage: &Coverage) -> impl Iterator<Item = (&InterfaceCoverage, u32)> {
    coverage.covered().filter_map(|interface| Some((interface, interface.if_index?)))
}

/// What a reconciliation has just put back onto interfaces that carried it.
pub(super) fn lost(coverage: &Coverage, programs: &Programs) -> Vec<Finding> {
    let fault = |if_index: &u32| match coverage.actions.get(if_index)? {
        AttachAction::Attached => programs.inbound.contains_key(if_index).then_some(LinkFault::Gone),
        AttachAction::Kept if coverage.recounted.contains(if_index) => {
            programs.outbound.contains_key(if_index).then_some(LinkFault::OutboundGone)
        }
        AttachAction::Kept | AttachAction::Replaced => None,
    };
    let lost = |(interface, if_index): (&InterfaceCoverage, u32)| {
        Some(Finding::Link(interface.name.clone(), fault(&if_index)?))
    };
    covered(coverage).filter_map(lost).collect()
}

/// Everything that is wrong. The caller knows that nobody is making a change.
pub(super) fn look(site: &Site, applied: &Applied, programs: &Programs) -> Result<Vec<Finding>, AgentError> {
    let Some(pins) = PinDir::open(&site.bpffs)? else { return Ok(vec![Finding::Pins]) };
    let mut findings = Vec::new();
    if applied.loaded.maps.lack_pins(&pins) {
        findings.push(Finding::Pins);
    }
    if !applied.loaded.maps.are_pinned(&pins)? {
        findings.push(Finding::OtherMaps);
    }
    let links = datapath::links(&pins)?;
    for (interface, if_index) in covered(&applied.coverage) {
        let link = links.iter().find(|link| link.if_index == if_index);
        let fault = match (link, programs.inbound.get(&if_index)) {
            (None, _) => LinkFault::Gone,
            (Some(link), Some(program)) if link.program_id != *program => LinkFault::Replaced,
            _ => continue,
        };
        findings.push(Finding::Link(interface.name.clone(), fault));
    }
    // What can not be read is told by `status`; no repair of the filter waits for it.
    let Ok(outlets) = datapath::outlets(&pins) else { return Ok(findings) };
    for (interface, if_index) in covered(&applied.coverage) {
        // What never was attached is an alarm, not a finding.
        let Some(noted) = programs.outbound.get(&if_index) else { continue };
        let fault = match outlets.iter().find(|outlet| outlet.if_index == if_index) {
            None => LinkFault::OutboundGone,
            Some(outlet) if outlet != noted => LinkFault::OutboundReplaced,
            Some(_) => continue,
        };
        findings.push(Finding::Link(interface.name.clone(), fault));
    }
    match applied.loaded.maps.in_force_facts() {
        Ok(facts) => {
            let enforce = applied.in_force.policy().mode == Mode::Enforce;
            if facts.enforce != enforce {
                findings.push(Finding::Image(format!("the mode was changed to {}", mode(facts.enforce))));
            } else if facts.generation != applied.in_force.generation
                || hex(&facts.policy_sha256) != applied.in_force.policy_sha256
            {
                findings.push(Finding::Image(format!(
                    "another policy was in force (generation {} instead of {})",
                    facts.generation, applied.in_force.generation
                )));
            }
        }
        Err(error) => findings.push(Finding::Image(error.to_string())),
    }
    Ok(findings)
}

const fn mode(enforce: bool) -> &'static str {
    if enforce { "enforce" } else { "audit" }
}
