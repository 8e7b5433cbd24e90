//! Changes on trial: `enforce` with a confirmation, `panic-open` with an end, and the ways out: `confirm`, `rollback`, the deadline. What a trial goes
//! back to is on disk before the change is made; whoever comes first after the deadline (whom `holder` knows, any start) ends it.

use std::time::Duration;

use super::{
    allow::Allow,
    change::{InForce, Request, Site, put_in_force, require_privilege},
    error::AgentError,
    guard::Guard,
    holder, program,
    state_files::{note, readable},
};
use crate::control::{Desired, Good, ModeOverride, Trial, TrialKind};
use nodewall_datapath as datapath;
use nodewall_host::state::{Clock, Deadline, PolicyLock, StateDir, Who};
use nodewall_policy::{Policy, config::Mode};

/// How a trial stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrialState {
    /// It goes on for this long.
    Left(Duration),
    /// Somebody confirmed it.
    Confirmed,
    /// It was ended: the policy before it is in force again.
    Ended,
}

/// The change on trial, unless its time is over: then it is ended here.
pub(crate) async fn pending(site: &Site, lock: &PolicyLock) -> Result<Option<Trial>, AgentError> {
    let Some(trial) = readable(site.state.load::<Trial>())? else { return Ok(None) };
    if !trial.is_over(&Clock::now()) {
        return Ok(Some(trial));
    }
    end_over(site, lock, &trial).await?;
    Ok(None)
}

async fn end_over(site: &Site, lock: &PolicyLock, trial: &Trial) -> Result<(), AgentError> {
    if site.state.is_detached() {
        // The node is open by an operator's word; there is nothing to go back to any more.
        return Ok(site.state.forget::<Trial>()?);
    }
    end(site, lock, trial, None, "its time is over").await.map(drop)
}

/// Ends a trial whose time is over. Whether there was one.
pub(crate) async fn end_overdue(site: &Site) -> Result<bool, AgentError> {
    // Asked each second, and mostly there is none.
    if site.state.load::<Trial>()?.is_none() {
        return Ok(false);
    }
    let lock = site.state.lock_policy()?;
    let before = site.state.load::<Trial>()?.is_some();
    Ok(before && pending(site, &lock).await?.is_none())
}

/// Goes back to what was in force before the trial. `None`: nothing of nodewall is in the kernel, as at a boot; what starts next finds it on disk.
async fn end(
    site: &Site,
    lock: &PolicyLock,
    trial: &Trial,
    who: Option<&Who>,
    why: &str,
) -> Result<Option<InForce>, AgentError> {
    let ended = bring_back(site, lock, trial).await?;
    site.state.forget::<Trial>()?;
    // One whose time is over has come, or is about to.
    if who.is_some() {
        holder::release(trial);
    }
    let generation = ended.as_ref().map_or(trial.back_to.generation, |policy| policy.generation);
    let (command, mode) = (trial.kind.command(), trial.back_to.desired.policy.mode);
    tracing::warn!(generation, "{command} ended: {why}; mode {mode} again");
    note(&site.state, "rollback", &format!("{command} ended ({why}): generation {generation}, mode {mode}"), who);
    Ok(ended)
}

/// Puts the policy of before the trial into force by whatever there is: the maps; where their pins are gone and links still filter, a program loaded anew.
async fn bring_back(site: &Site, lock: &PolicyLock, trial: &Trial) -> Result<Option<InForce>, AgentError> {
    let request = || Request::back_to(&trial.back_to);
    let lost = match put_in_force(site, lock, request()).await {
        Err(error) if error.is_lost_pins() => error,
        result => return result.map(Some),
    };
    if datapath::links_remain(&site.bpffs) {
        // An agent beside this process holds the maps, and pins them again: nothing that was counted is lost. It is tried again.
        return match site.state.agent() {
            Some(agent) if !agent.is_this() => Err(lost),
            _ => Ok(Some(program::start(site, lock, request()).await?.in_force)),
        };
    }
    // A number of its own, which an agent that still holds the maps follows.
    let generation = Good::last(&site.state).ok().flatten().map_or(0, |good| good.generation) + 1;
    site.state.save(&Good { generation, ..trial.back_to.clone() })?;
    Ok(None)
}

/// Enforces the policy that is in force in audit. With `within`, on trial for that long; else for good.
///
/// `configured` is what the configuration asks for, used where nothing is in force yet.
pub async fn enforce(
    site: &Site,
    configured: Desired,
    allow: Allow,
    within: Option<Duration>,
    who: &Who,
) -> Result<(InForce, Option<Trial>), AgentError> {
    require_privilege()?;
    let lock = site.state.lock_policy()?;
    refuse_pending(site, &lock).await?;
    let guard = Guard { allow, session: super::session::current() };
    if let Some(good) = in_force(site)?.filter(|good| good.desired.policy.mode == Mode::Enforce) {
        return Err(AgentError::Enforcing { generation: good.generation });
    }
    let before = if let Some(good) = in_force(site)? {
        good
    } else {
        audit(site, &lock, configured).await?;
        Good::last(&site.state)?.ok_or(AgentError::NothingInForce)?
    };
    let policy = Policy { mode: Mode::Enforce, ..before.desired.policy.clone() };
    let desired = Desired { policy, ..before.desired.clone() };
    let trial = within.map(|within| Trial {
        kind: TrialKind::Enforce,
        deadline: Deadline::after(&Clock::now(), within),
        back_to: before.clone(),
        who: who.clone(),
    });
    let request = if trial.is_some() { Request::on_trial(desired) } else { Request::decided(desired) };
    let policy = begin(site, &lock, trial.as_ref(), request.guarded(guard)).await?;
    if trial.is_none() {
        keep_mode(site, &policy.desired)?;
    }
    let detail = match within {
        Some(within) => {
            format!("generation {}, unless confirmed within {} s it goes back", policy.generation, within.as_secs())
        }
        None => format!("generation {}", policy.generation),
    };
    note(&site.state, "enforce", &detail, Some(who));
    Ok((policy, trial))
}

/// Puts what is configured into force in audit: what a first `enforce` goes back to.
async fn audit(site: &Site, lock: &PolicyLock, configured: Desired) -> Result<(), AgentError> {
    let policy = Policy { mode: Mode::Audit, ..configured.policy };
    program::start(site, lock, Request::decided(Desired { policy, ..configured })).await?;
    Ok(site.state.clear_detached()?)
}

/// Opens the node for `open_for`: audit, blocks lifted. What was in force comes back by itself.
pub async fn panic_open(site: &Site, open_for: Duration, who: &Who) -> Result<(InForce, Trial), AgentError> {
    require_privilege()?;
    let lock = site.state.lock_policy()?;
    let pending = pending(site, &lock).await?;
    let good = in_force(site)?.ok_or(AgentError::NothingInForce)?;
    // In the middle of a trial the node must open, too; it then goes back to what was before the trial.
    let back_to = match pending {
        Some(trial) => trial.back_to,
        None => good.clone(),
    };
    let policy = Policy { mode: Mode::Audit, ..good.desired.policy.clone() };
    let trial = Trial {
        kind: TrialKind::PanicOpen,
        deadline: Deadline::after(&Clock::now(), open_for),
        back_to,
        who: who.clone(),
    };
    let request = Request::on_trial(Desired { policy, ..good.desired }).lifting_blocks();
    let policy = begin(site, &lock, Some(&trial), request).await?;
    let detail = format!(
        "generation {}, for {} s: nothing is dropped, blocks are lifted",
        policy.generation,
        open_for.as_secs()
    );
    note(&site.state, "panic_open", &detail, Some(who));
    Ok((policy, trial))
}

/// The trial is on disk and held first: a crash right after the swap cannot make it permanent.
async fn begin(site: &Site, lock: &PolicyLock, trial: Option<&Trial>, request: Request) -> Result<InForce, AgentError> {
    let before = site.state.load::<Trial>()?;
    if let Some(trial) = trial {
        site.state.save(trial)?;
        holder::hold(site, trial);
    }
    let policy = put_in_force(site, lock, request).await;
    match (&policy, trial) {
        (Err(_), Some(trial)) => {
            match before {
                Some(before) => site.state.save(&before)?,
                None => site.state.forget::<Trial>()?,
            }
            holder::release(trial);
        }
        (Ok(_), _) => before.iter().for_each(holder::release),
        (Err(_), None) => {}
    }
    policy
}

/// Keeps a policy that is on trial.
pub async fn confirm(site: &Site, who: &Who) -> Result<Good, AgentError> {
    require_privilege()?;
    let lock = site.state.lock_policy()?;
    let Some(trial) = pending(site, &lock).await? else {
        return Err(AgentError::NoTrial(
            "nothing is on trial: there is nothing to confirm (a trial whose time is over has gone back)",
        ));
    };
    if trial.kind == TrialKind::PanicOpen {
        return Err(AgentError::NoTrial(
            "a panic-open is not confirmed: it ends by itself, and `nodewall rollback` ends it now; to stay open, set mode = \"audit\"",
        ));
    }
    let good = Good::last(&site.state)?.ok_or(AgentError::NothingInForce)?;
    keep_mode(site, &good.desired)?;
    trial.back_to.save_as_previous(&site.state)?;
    site.state.forget::<Trial>()?;
    holder::release(&trial);
    note(
        &site.state,
        "confirm",
        &format!("generation {}, mode {}", good.generation, good.desired.policy.mode),
        Some(who),
    );
    Ok(good)
}

/// Ends a trial now. `None`: there was none any more.
pub async fn rollback_trial(site: &Site, who: &Who) -> Result<Option<InForce>, AgentError> {
    let lock = site.state.lock_policy()?;
    match pending(site, &lock).await? {
        Some(trial) => end(site, &lock, &trial, Some(who), "by command").await,
        None => Ok(None),
    }
}

/// Ends a trial now, or goes back to the policy before the last change.
pub async fn rollback(site: &Site, allow: Allow, who: &Who) -> Result<InForce, AgentError> {
    require_privilege()?;
    let lock = site.state.lock_policy()?;
    if let Some(trial) = pending(site, &lock).await? {
        return end(site, &lock, &trial, Some(who), "by command").await?.ok_or(AgentError::NothingRuns);
    }
    in_force(site)?.ok_or(AgentError::NothingInForce)?;
    let previous = Good::previous(&site.state)?.ok_or(AgentError::NoPrevious)?;
    let guard = Guard { allow, session: super::session::current() };
    let desired = previous.desired;
    let policy = put_in_force(site, &lock, Request::decided(desired).guarded(guard)).await?;
    keep_mode(site, &policy.desired)?;
    let detail = format!(
        "to what was generation {}: generation {}, mode {}",
        previous.generation,
        policy.generation,
        policy.policy().mode
    );
    note(&site.state, "rollback", &detail, Some(who));
    Ok(policy)
}

/// How the trial that `mine` began stands now; ends it when its time is over.
pub async fn trial_state(site: &Site, mine: &Trial) -> Result<TrialState, AgentError> {
    let left = |trial: &Trial| {
        let now = Clock::now();
        (!trial.is_over(&now)).then(|| TrialState::Left(trial.deadline.left(&now)))
    };
    if let Some(left) = site.state.load::<Trial>()?.filter(|trial| trial == mine).as_ref().and_then(left) {
        return Ok(left);
    }
    // Somebody who takes nodewall away with all it kept has nothing to lock, and no trial.
    if StateDir::open(site.state.path())?.is_none() {
        return Ok(TrialState::Ended);
    }
    // Under the lock: another change that failed may have put it back.
    let lock = site.state.lock_policy()?;
    match site.state.load::<Trial>()? {
        Some(trial) if trial != *mine => return Ok(TrialState::Ended),
        Some(trial) => match left(&trial) {
            Some(left) => return Ok(left),
            None => end_over(site, &lock, mine).await?,
        },
        None => {}
    }
    outcome(site, mine)
}

/// Of a trial that is no longer on disk.
fn outcome(site: &Site, mine: &Trial) -> Result<TrialState, AgentError> {
    let good = Good::last(&site.state)?;
    let kept = mine.kind == TrialKind::Enforce && good.is_some_and(|good| good.desired.policy.mode == Mode::Enforce);
    // What enforced before the trial enforces after its end, too.
    let told = kept && mine.back_to.desired.policy.mode != Mode::Enforce;
    Ok(if told { TrialState::Confirmed } else { TrialState::Ended })
}

/// The operator's word counts from now on, also for the next reload of a configuration that says otherwise.
fn keep_mode(site: &Site, desired: &Desired) -> Result<(), AgentError> {
    let word = ModeOverride { mode: desired.policy.mode, while_configured: desired.configured_mode };
    let needed = word.mode != word.while_configured;
    Ok(ModeOverride::save_in(&site.state, needed.then_some(&word))?)
}

async fn refuse_pending(site: &Site, lock: &PolicyLock) -> Result<(), AgentError> {
    match pending(site, lock).await? {
        Some(trial) => Err(AgentError::OnTrial { kind: trial.kind }),
        None => Ok(()),
    }
}

/// The last good policy, unless an operator opened the node.
pub(crate) fn in_force(site: &Site) -> Result<Option<Good>, AgentError> {
    if site.state.is_detached() {
        return Ok(None);
    }
    Ok(Good::last(&site.state)?)
}
