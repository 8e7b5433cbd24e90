//! From a configuration, or from the last good policy on disk, to what is in force. Every start comes through here, so a trial whose time is over is
//! ended here first.

use super::{
    allow::Allow,
    change::{Applied, Blocking, Persist, Request, Site, put_in_force, require_privilege, unjudged},
    error::AgentError,
    guard::Guard,
    peers,
    state_files::note,
    trial,
};
use crate::control::{Desired, Good, ModeOverride, Refused};
use nodewall_host::state::{PolicyLock, StateDir, StateError, Who};
use nodewall_policy::{Policy, config::Config};

/// Who wants a change that a configuration describes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// An operator's one-shot command.
    Command(Who),
    /// The agent starts. It adopts a change on trial instead of ending it.
    Start,
    /// SIGHUP or a changed file.
    Reload,
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
            allow_lockout: config.allow_lockout,
        })
    }
}

/// Puts `config` into force. With `mode_named` the command line named the mode, which then is the operator's last word.
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
        Cause::Reload => "reload".into(),
    };
    let result = apply_locked(site, config, mode_named, allow, &cause).await;
    match &result {
        Ok(_) => site.state.forget_note::<Refused>(),
        Err(error) => {
            Refused::note(&site.state, &attempt, !matches!(cause, Cause::Command(_)), &error.to_string());
        }
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
            Cause::Start => last_good(site, &lock).await,
            _ => Err(AgentError::OnTrial { kind: trial.kind }),
        };
    }
    let word = if mode_named { None } else { word(&site.state)? };
    let (desired, mut registry) = peers::desired(Some(&site.state), config, word)?;
    let operator = matches!(cause, Cause::Command(_));
    let guard = Guard { allow, session: operator.then(super::session::current).flatten() };
    let applied = put_in_force(
        site,
        &lock,
        Request {
            judge: &|image, own, before| guard.judge(&desired, image, own, before),
            desired: desired.clone(),
            persist: Persist::Required,
            blocking: Blocking::AsListed,
            decides: true,
            keep_previous: true,
        },
    )
    .await?;
    peers::save(&site.state, &mut registry);
    if mode_named {
        ModeOverride::save_in(&site.state, None)?;
    }
    site.state.clear_detached()?;
    if applied.opens || operator {
        let who = match cause {
            Cause::Command(who) => Some(who),
            _ => None,
        };
        let detail = format!("generation {}, mode {}", applied.generation, applied.policy().mode);
        note(&site.state, "apply", &detail, who);
    }
    Ok(applied)
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

/// Puts the last good policy into force again: a start without a usable configuration, a repair, a change of the network, of blocks.
pub async fn reapply(site: &Site) -> Result<Applied, AgentError> {
    require_privilege()?;
    let lock = site.state.lock_policy()?;
    // Under the lock: a detach can not slip in between.
    if site.state.is_detached() {
        return Err(AgentError::Detached);
    }
    trial::pending(site, &lock).await?;
    last_good(site, &lock).await
}

pub(crate) async fn last_good(site: &Site, lock: &PolicyLock) -> Result<Applied, AgentError> {
    let good = Good::last(&site.state)?.ok_or(AgentError::NothingInForce)?;
    put_in_force(
        site,
        lock,
        Request {
            desired: good.desired,
            persist: Persist::IfPossible,
            blocking: Blocking::AsListed,
            judge: &unjudged,
            decides: false,
            keep_previous: false,
        },
    )
    .await
}
