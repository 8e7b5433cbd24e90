//! The agent's side of coverage: when the interfaces are looked after, and what is told of it. What one of them refuses is tried again, and stops nothing else.

use std::{collections::BTreeSet, net::IpAddr, time::Instant};

use super::{About, Keeper};
use crate::{
    agent::watchdog::{self, Finding, LinkFault},
    control::{
        apply::lock_attached, coverage::Program, error::AgentError, state_files::note, surroundings::Surroundings,
    },
};
use nodewall_datapath::PinDir;
use nodewall_host::net;
use nodewall_policy::config::{Config, ConfigErrors};

impl<R> Keeper<R>
where
    R: Fn() -> Result<Config, ConfigErrors>,
{
    /// The network changed: attaches what appeared.
    pub(in crate::agent) async fn cover(&mut self, since: Instant) {
        self.applied.retries.forget();
        let lost = self.reconcile(Program::Keep, since).await;
        self.repaired(&lost);
        // Whom an interface lets in is bound to its index: what appeared lets every peer in until the policy knows it.
        if !self.applied.in_force.policy().interface_peers.is_empty() {
            self.follow_surroundings().await;
        }
    }

    /// Tries what is due.
    pub(super) async fn look_after_interfaces(&mut self) {
        let lost = self.reconcile(Program::Keep, Instant::now()).await;
        self.repaired(&lost);
    }

    /// Makes the coverage what it should be, as far as each interface lets it. Returns what somebody had taken off, and is there again.
    pub(super) async fn reconcile(&mut self, program: Program, since: Instant) -> Vec<Finding> {
        match self.try_reconcile(program, since).await {
            Ok(()) => return self.covered(),
            Err(AgentError::Detached) => {
                self.alarms.set_one(About::Path, None);
                self.tell_open();
            }
            Err(AgentError::OtherMaps) => drop(self.start_again("a command made the data path anew").await),
            Err(error) => {
                let told = format!("the interfaces can not be looked after: {error}");
                self.alarms.set_one(About::Path, Some(told));
            }
        }
        Vec::new()
    }

    async fn try_reconcile(&mut self, program: Program, since: Instant) -> Result<(), AgentError> {
        let lock = lock_attached(&self.site)?;
        let pins = PinDir::create(&self.site.bpffs)?;
        if !self.applied.loaded.maps.are_pinned(&pins)? {
            return Err(AgentError::OtherMaps);
        }
        self.applied.cover(&self.site, &lock, program, since).await
    }

    /// Tells what became of the interfaces. Returns what somebody had taken off: a network event may come before the watchdog's look, and then it is a repair
    /// all the same, and not an interface that appeared.
    pub(super) fn covered(&mut self) -> Vec<Finding> {
        let lost = watchdog::lost(&self.applied.coverage, &self.programs);
        let seen = self.programs.seen.elapsed();
        for (interface, gap) in &self.applied.coverage.gaps {
            let is_lost = lost.contains(&Finding::Link(interface.clone(), LinkFault::Gone));
            let (gap, what) = if is_lost {
                (seen, "attached again; it stood open for at most")
            } else {
                self.health.gaps.note(u64::try_from(gap.as_nanos()).unwrap_or(u64::MAX));
                (*gap, "attached; it stood open for")
            };
            let told = format!("{interface} was {what} {:.1} ms", gap.as_secs_f64() * 1e3);
            tracing::info!("{told}");
            note(&self.site.state, "attach", &told, None);
        }
        for interface in &self.applied.coverage.released {
            tracing::warn!(interface, "released: the configuration does not ask for it any more");
        }
        match watchdog::programs(&self.site) {
            Ok(now) => self.programs.follow(&now, &self.applied.coverage),
            Err(error) => tracing::error!("the links can not be read: {error}"),
        }
        self.alarms.set(About::Path, self.applied.coverage.alarms());
        lost
    }

    /// The network has come to rest: the node's own addresses and the ports of its tunnels are part of the policy.
    pub(in crate::agent) async fn settle(&mut self) {
        self.look_after_interfaces().await;
        self.follow_surroundings().await;
    }

    async fn follow_surroundings(&mut self) {
        if self.site.state.is_detached() {
            return;
        }
        match net::snapshot().await {
            Ok(network) => {
                let now = Surroundings::of(&network, self.applied.in_force.policy());
                if now != self.surroundings {
                    let before = std::mem::replace(&mut self.surroundings, now);
                    let named = |these: &BTreeSet<IpAddr>, others: &BTreeSet<IpAddr>| {
                        these.difference(others).map(ToString::to_string).collect::<Vec<_>>().join(" ")
                    };
                    let (old, new) = (&before.own_addresses, &self.surroundings.own_addresses);
                    if old != new {
                        let (came, went) = (named(new, old), named(old, new));
                        tracing::info!(came, went, "own addresses changed");
                    }
                    self.put_last_good("network change").await;
                }
            }
            Err(error) => tracing::error!("the network changed, and it can not be judged how: {error}"),
        }
    }

    /// The kernel tells nobody when one of these ports comes or goes. That they cannot be read, `status` says.
    pub(super) async fn watch_fou(&mut self) {
        let Ok(now) = net::fou() else { return };
        if now != self.fou {
            self.fou = now;
            self.settle().await;
        }
    }
}
