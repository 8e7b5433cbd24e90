//! From a configuration, or from the last good policy on disk, to what is in force. Every start comes through here, so a trial whose time is over is
//! ended here first.

use std::time::Instant;

use super::{
    allow::Allow,
    change::{InForce, Request, Site, put_in_force, require_privilege},
    coverage::{Program, Remembered},
    error::AgentError,
    guard::Guard,
    peers,
    program::{self, Applied},
    state_files::note,
    surroundings::select,
    trial,
};
use crate::{
    control::{Desired, Good, ModeOverride, Refused},
    peers::Registry,
};
use nodewall_datapath::Maps;
use nodewall_host::{
    net,
    state::{PolicyLock, StateDir, StateError, Who},
};
use nodewall_policy::{Policy, config::Config};

/// Who wants a change that a configuration describes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// An operator's one-shot command.
    Command(Who),
    /// The agent starts. It adopts a change on trial instead of ending it.
    Start,
}

impl Desired {
    /// What a configuration alone asks for, under the operator's word on the mode.
    pub fn from_config(config: &Config, word: Option<ModeOverride>) -> Result<Self, AgentError> {
        let policy = Policy::from_config(config)?;
        Ok(Self {
            policy: Policy { mode: ModeOverride::mode_for(word, config.mode), ..policy },
            configured_mode: config.mode,
            interfaces: config.interfaces.iter().map(ToString::to_string).collect(),
            attach_mode: config.attach_mode,
            interface_attach: config.interface_attach.clone(),
            allow_lockout: config.allow_lockout,
        })
    }
}

/// Puts `config` into force with a program of this executable. With `mode_named` the command line named the mode, which then is the operator's last word.
pub async fn apply(
    site: &Site,
    config: &Config,
    mode_named: bool,
    allow: Allow,
    cause: Cause,
) -> Result<Applied, AgentError> {
    let attempt = match &cause {
        Cause::Command(who) => who.to_string(),
        Cause::Start => "start of the agent".into(),
    };
    let unattended = cause == Cause::Start;
    noted(site, &attempt, unattended, apply_locked(site, config, mode_named, allow, &cause).await)
}

/// Puts a changed configuration into force beside a running agent: the policy always, another program only where the configuration wants what this one has no
/// instructions for. Whether there is another program.
pub(crate) async fn reload(site: &Site, config: &Config, applied: &mut Applied) -> Result<bool, AgentError> {
    noted(site, "reload", true, reload_locked(site, config, applied).await)
}

/// Notes how the attempt ended, for `status`.
fn noted<T>(site: &Site, attempt: &str, unattended: bool, result: Result<T, AgentError>) -> Result<T, AgentError> {
    match &result {
        Ok(_) => site.state.forget_note::<Refused>(),
        Err(error) => Refused::note(&site.state, attempt, unattended, &error.to_string()),
    }
    result
}

async fn apply_locked(
    site: &Site,
    config: &Config,
    mode_named: bool,
    allow: Allow,
    cause: &Cause,
) -> Result<Applied, AgentError> {
    require_privilege()?;
    let lock = site.state.lock_policy()?;
    if let Some(trial) = trial::pending(site, &lock).await? {
        return match cause {
            Cause::Start => start_last_good(site, &lock).await,
            Cause::Command(_) => Err(AgentError::OnTrial { kind: trial.kind }),
        };
    }
    let word = if mode_named { None } else { word(&site.state)? };
    let (desired, registry) = peers::desired(Some(&site.state), config, word)?;
    let who = match cause {
        Cause::Command(who) => Some(who),
        Cause::Start => None,
    };
    // A start of what ran before goes on, whatever has become of the interfaces; somebody's new word is judged.
    if who.is_some() || Good::last(&site.state).ok().flatten().is_none() {
        require_interface(site, &desired).await?;
    }
    let guard = Guard { allow, session: who.and_then(|_| super::session::current()) };
    let applied = program::start(site, &lock, Request::decided(desired).guarded(guard)).await?;
    decided(site, &applied.in_force, registry, who);
    if mode_named {
        in_force_all_the_same(ModeOverride::save_in(&site.state, None));
    }
    Ok(applied)
}

async fn reload_locked(site: &Site, config: &Config, applied: &mut Applied) -> Result<bool, AgentError> {
    require_privilege()?;
    let lock = site.state.lock_policy()?;
    if let Some(trial) = trial::pending(site, &lock).await? {
        return Err(AgentError::OnTrial { kind: trial.kind });
    }
    let (desired, registry) = peers::desired(Some(&site.state), config, word(&site.state)?)?;
    require_interface(site, &desired).await?;
    let fits = applied.fits(site, &desired.policy) && Maps::live(&site.bpffs)?.is_some();
    // What was allowed at the start is not allowed for ever.
    let request = Request::decided(desired).guarded(Guard::default());
    if fits {
        applied.in_force = put_in_force(site, &lock, request).await?;
        applied.retries.forget();
        applied.cover(site, &lock, Program::Keep, Instant::now()).await?;
    } else {
        *applied = program::start(site, &lock, request).await?;
    }
    decided(site, &applied.in_force, registry, None);
    Ok(!fits)
}

/// Refuses a word of somebody's that names no interface which could ever be filtered.
async fn require_interface(site: &Site, desired: &Desired) -> Result<(), AgentError> {
    let network = net::snapshot().await?;
    select(desired, &network, &Remembered::load(&site.state)?.0)?;
    Ok(())
}

/// A configuration is in force.
fn decided(site: &Site, policy: &InForce, mut registry: Registry, who: Option<&Who>) {
    peers::save(&site.state, &mut registry);
    in_force_all_the_same(site.state.clear_detached());
    if policy.opens || who.is_some() {
        let detail = format!("generation {}, mode {}", policy.generation, policy.policy().mode);
        note(&site.state, "apply", &detail, who);
    }
}

/// A word of before that could not be taken away: what was asked for is in force, so it is no failure, but whoever reads the word acts on it.
fn in_force_all_the_same(taken_away: Result<(), StateError>) {
    if let Err(error) = taken_away {
        tracing::error!(
            "{error}; the policy is in force, but a detach or a mode of before still counts: remove the file"
        );
    }
}

/// The operator's word on the mode. Where its file is damaged, the mode that was in force.
fn word(state: &StateDir) -> Result<Option<ModeOverride>, AgentError> {
    match state.load::<ModeOverride>() {
        Err(error @ StateError::Damaged { .. }) => {
            tracing::error!("{error}; keeping the mode that was in force");
            let in_force = |good: Good| ModeOverride {
                mode: good.desired.policy.mode,
                while_configured: good.desired.configured_mode,
            };
            Ok(Good::last(state)?.map(in_force))
        }
        result => Ok(result?),
    }
}

/// Puts the last good policy into force again with a program of this executable: a start without a usable configuration, a data path that somebody else made
/// anew.
pub async fn start_again(site: &Site) -> Result<Applied, AgentError> {
    require_privilege()?;
    let lock = lock_attached(site)?;
    trial::pending(site, &lock).await?;
    start_last_good(site, &lock).await
}

/// Puts the last good policy into force again: a repair, a change of the node's addresses.
pub(crate) async fn put_last_good(site: &Site) -> Result<InForce, AgentError> {
    require_privilege()?;
    let lock = lock_attached(site)?;
    trial::pending(site, &lock).await?;
    last_good(site, &lock).await
}

/// The lock, unless an operator opened the node: under it, a detach can not slip in between.
pub(crate) fn lock_attached(site: &Site) -> Result<PolicyLock, AgentError> {
    let lock = site.state.lock_policy()?;
    if site.state.is_detached() { Err(AgentError::Detached) } else { Ok(lock) }
}

pub(crate) async fn last_good(site: &Site, lock: &PolicyLock) -> Result<InForce, AgentError> {
    put_in_force(site, lock, Request::kept(stored(site)?)).await
}

async fn start_last_good(site: &Site, lock: &PolicyLock) -> Result<Applied, AgentError> {
    program::start(site, lock, Request::kept(stored(site)?)).await
}

fn stored(site: &Site) -> Result<Desired, AgentError> {
    Ok(Good::last(&site.state)?.ok_or(AgentError::NothingInForce)?.desired)
}
