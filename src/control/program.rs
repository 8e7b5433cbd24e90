//! The program: loaded at a start, at an upgrade, and where a configuration wants what the running one has no instructions for. A lever never comes here.

use std::time::Instant;

use super::{
    change::{InForce, Request, Site, require_privilege, swap},
    coverage::{Coverage, CoverageState, Program, Remembered, Retries, cover},
    error::AgentError,
};
use crate::control::Good;
use node_ebpf_common::Shape;
use nodewall_datapath::{self as datapath, Loaded, Maps, PinDir};
use nodewall_host::state::PolicyLock;
use nodewall_policy::Policy;

/// A filtered node as the process sees it that made it so. Enforcement does not depend on this value.
pub struct Applied {
    /// The policy in force.
    pub in_force: InForce,
    /// The interfaces.
    pub coverage: Coverage,
    /// The program, for its log and for interfaces to come.
    pub loaded: Loaded,
    /// Its instructions.
    shape: Shape,
    /// Interfaces that could not be covered yet.
    pub(crate) retries: Retries,
}

impl Applied {
    /// Whether this program has the instructions for `policy`, and none too many.
    pub(crate) fn fits(&self, site: &Site, policy: &Policy) -> bool {
        self.shape == shape(site, policy)
    }

    /// Whether every link of ours runs this very program.
    pub(crate) fn runs_everywhere(&mut self, site: &Site) -> Result<bool, AgentError> {
        let Some(pins) = PinDir::open(&site.bpffs)? else { return Ok(false) };
        let ours = self.loaded.filter_ids();
        Ok(datapath::links(&pins)?.iter().all(|link| ours.contains(&link.program_id)))
    }

    /// Looks after the interfaces. `since`: when the change that this follows was noticed. The caller holds the lock.
    pub(crate) async fn cover(
        &mut self,
        site: &Site,
        lock: &PolicyLock,
        program: Program,
        since: Instant,
    ) -> Result<(), AgentError> {
        let Self { in_force, loaded, retries, .. } = self;
        self.coverage = cover(site, lock, &in_force.desired, loaded, (program, retries, since)).await?;
        Ok(())
    }
}

/// The instructions that are asked for.
fn shape(site: &Site, policy: &Policy) -> Shape {
    Shape { log: site.kernel_log, atomic: datapath::is_realtime(), ..policy.shape() }
}

/// Puts a policy into force with a program of this executable, whatever ran before, and covers the interfaces. The caller holds the lock.
pub(super) async fn start(site: &Site, lock: &PolicyLock, request: Request) -> Result<Applied, AgentError> {
    require_privilege()?;
    let first = match Maps::live(&site.bpffs) {
        // Some pins are gone: those maps are made anew.
        Err(error) if error.is_not_found() => false,
        Err(error) if error.is_other_layout() => {
            // An agent that holds the old maps would take the links back to them.
            if let Some(agent) = site.state.agent().filter(|agent| !agent.is_this()) {
                return Err(AgentError::OtherBuild { agent, why: error.to_string() });
            }
            false
        }
        live => live?.is_none(),
    };
    let known = Good::last(&site.state).ok().flatten().is_some();
    let pins = PinDir::create(&site.bpffs)?;
    let mut started = load_and_swap(site, lock, &pins, request).await;
    // Where nothing ever was in force, a policy that no interface carries is no protection, and must not look like one.
    if let Ok(applied) = &started
        && first
        && !known
        && applied.coverage.covered().next().is_none()
        && let Some(failing) = applied.coverage.interfaces.iter().find(|i| i.state == CoverageState::Failing)
    {
        let reason = format!("{}: {}", failing.name, failing.reason.as_deref().unwrap_or_default());
        Good::forget(&site.state)?;
        site.state.forget::<Remembered>()?;
        started = Err(AgentError::NothingCovered(reason));
    }
    if started.is_err() && first {
        // Nothing was in force before: leave no trace.
        let _ = pins.remove();
    }
    started
}

async fn load_and_swap(site: &Site, lock: &PolicyLock, pins: &PinDir, request: Request) -> Result<Applied, AgentError> {
    let shape = shape(site, &request.desired.policy);
    let mut loaded = Loaded::new(Some(pins), shape)?;
    loaded.load()?;
    datapath::load_in_use(&mut loaded, pins)?;
    let upgrade = loaded.begin_upgrade(pins)?;
    let in_force = swap(site, lock, &mut loaded.maps, request).await?;
    if let Some(upgrade) = upgrade {
        upgrade.end(&mut loaded, pins)?;
        tracing::info!("the maps of another layout were taken over, with all that they had counted");
    }
    let mut applied = Applied { in_force, coverage: Coverage::default(), loaded, shape, retries: Retries::default() };
    if let Err(error) = applied.cover(site, lock, Program::Exchange, Instant::now()).await {
        applied.coverage.problems.push(format!("the interfaces can not be looked after: {error}"));
    }
    Ok(applied)
}
