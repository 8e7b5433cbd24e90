//! What the agent sets right by itself: pins, links and images that somebody else removed or exchanged. What is wrong is the watchdog's to say.

use std::{collections::BTreeSet, time::Instant};

use super::{About, Keeper};
use crate::{
    agent::watchdog::{self, Finding},
    control::{Good, Repair, coverage::Program, error::AgentError, state_files::note},
};
use nodewall_datapath::PinDir;
use nodewall_host::state::Clock;
use nodewall_policy::config::{Config, ConfigErrors};

impl<R> Keeper<R>
where
    R: Fn() -> Result<Config, ConfigErrors>,
{
    pub(super) async fn repair(&mut self) {
        let Some(lock) = self.undisturbed() else { return };
        let looked = watchdog::look(&self.site, &self.applied, &self.programs);
        // Under the lock disk and kernel agree, so a newer policy on disk than this agent knows is a command's: it came after the look at the files, or
        // between a change of the agent's own and its look at them. That is no tampering; the next look follows it.
        let is_newer = |good: Good| good.generation > self.applied.in_force.generation;
        if looked.as_ref().is_ok_and(|findings| !findings.is_empty())
            && Good::last(&self.site.state).ok().flatten().is_some_and(is_newer)
        {
            self.state_stamp = Default::default();
            return;
        }
        drop(lock);
        let findings = match looked {
            Ok(findings) => findings,
            Err(error) => {
                self.alarms.set_one(About::Path, Some(format!("the data path can not be looked at: {error}")));
                return;
            }
        };
        if findings.is_empty() {
            self.programs.seen = Instant::now();
            self.alarms.set_one(About::Repair, None);
            // What an alarm was about may be over; interfaces that could not be attached are tried again.
            if !self.alarms.of(About::Path).is_empty() {
                self.look_after_interfaces().await;
            }
            return;
        }
        let found = |finding: &Finding| format!("{finding}; repairing");
        self.alarms.set(About::Repair, findings.iter().map(found).collect());
        if findings.contains(&Finding::Pins)
            && let Err(error) = self.repin()
        {
            if !matches!(error, AgentError::Detached) {
                self.alarms.set_one(About::Path, Some(format!("pins can not be made again: {error}")));
            }
            return;
        }
        if findings.contains(&Finding::OtherMaps) {
            if !self.start_again("repair").await {
                return;
            }
        } else {
            let image = findings.iter().any(|finding| matches!(finding, Finding::Image(_)));
            if image && !self.put_last_good("repair").await {
                return;
            }
            let replaced =
                findings.iter().any(|finding| matches!(finding, Finding::Link(_, fault) if fault.is_foreign_program()));
            self.reconcile(if replaced { Program::Exchange } else { Program::Keep }, Instant::now()).await;
        }
        let Some(lock) = self.undisturbed() else { return };
        let left = watchdog::look(&self.site, &self.applied, &self.programs).unwrap_or_default();
        drop(lock);
        if left.is_empty() {
            self.alarms.set_one(About::Repair, None);
            // What an interface refuses is its own alarm, and takes no other's repair with it.
            let covered: BTreeSet<&str> =
                self.applied.coverage.covered().map(|interface| interface.name.as_str()).collect();
            let is_right = |finding: &Finding| match finding {
                Finding::Link(interface, _) => covered.contains(interface.as_str()),
                Finding::Pins | Finding::OtherMaps | Finding::Image(_) => true,
            };
            let repaired: Vec<Finding> = findings.into_iter().filter(is_right).collect();
            self.repaired(&repaired);
        }
    }

    /// Tells what was set right.
    pub(super) fn repaired(&mut self, findings: &[Finding]) {
        if findings.is_empty() {
            return;
        }
        let found: Vec<String> = findings.iter().map(ToString::to_string).collect();
        let found = found.join("; ");
        self.health.repairs += 1;
        self.health.last_repair = Some(Repair { unix_ns: Clock::now().unix_ns, found: found.clone() });
        tracing::warn!(repairs = self.health.repairs, "repaired: {found}");
        note(&self.site.state, "repair", &found, None);
    }

    /// Under the lock: a detach in the meantime must not find its pins made again behind its back.
    fn repin(&self) -> Result<(), AgentError> {
        let _lock = self.site.state.lock_policy()?;
        if self.site.state.is_detached() {
            return Err(AgentError::Detached);
        }
        let pins = PinDir::create(&self.site.bpffs)?;
        self.applied.loaded.maps.repin(&pins)?;
        Ok(())
    }
}
