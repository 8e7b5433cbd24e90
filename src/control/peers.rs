//! Learnt peers on their way into force: the registry on disk, asking the sources, and the policy that follows. What the sources say is judged in
//! `peers`; whether a changed set may be enforced, by the one guard.

use std::{collections::BTreeSet, time::Duration};

use tokio::{task::JoinSet, time::timeout};

use super::{
    allow::Allow,
    change::{InForce, Request, Site, put_in_force, require_privilege},
    error::AgentError,
    guard::Guard,
    left::Left,
    state_files::{note, readable, tell_once},
    trial,
};
use crate::{
    control::{Desired, ModeOverride},
    peers::{Answer, Registry, SourceAnswer, SourceError, SourceName, sources},
};
use nodewall_host::state::{Clock, PolicyLock, StateDir};
use nodewall_policy::{Policy, config::Config};

/// At the very first start, when nothing is known, the sources get this long.
const FIRST_WITHIN: Duration = Duration::from_secs(15);

/// What a configuration asks for, with the peers that are known from elsewhere, and the registry as it then is. Nothing is written.
pub fn desired(
    state: Option<&StateDir>,
    config: &Config,
    word: Option<ModeOverride>,
) -> Result<(Desired, Registry), AgentError> {
    let mut registry = match state {
        Some(state) => readable(Registry::load(state))?,
        None => Registry::default(),
    };
    let now = Clock::now();
    registry.configure(config, &now);
    let desired = Desired::from_config(config, word)?;
    let peers = registry.active(&now).into_iter().collect();
    Ok((Desired { policy: Policy { peers, ..desired.policy }, ..desired }, registry))
}

/// Writes the registry, and what changed into the journal. A full disk must not keep a peer out.
pub(crate) fn save(state: &StateDir, registry: &mut Registry) {
    note_changes(state, registry);
    if registry.is_unsaved() {
        tell_once("peers", registry.save(state), "a start from this disk would not know what was learnt");
    }
}

/// Tells what changed: the journal, and the note of those who left.
pub(crate) fn note_changes(state: &StateDir, registry: &mut Registry) {
    for change in registry.changes() {
        if let Some(detail) = &change.detail {
            note(state, "peers", detail, change.who.as_ref());
        }
        let (left, cause) = &change.left;
        if !left.is_empty() {
            Left::note(state, left, (cause, change.who.as_ref()), &Clock::now());
        }
    }
}

/// Asks the sources that need no network, for one-shot commands.
pub async fn ask_local(site: &Site, config: &Config) -> Result<(), AgentError> {
    let mut heard = Vec::new();
    for mut source in sources(config).into_iter().filter(|source| source.name().is_local()) {
        heard.push((source.name().clone(), source.fetch().await));
    }
    if heard.is_empty() { Ok(()) } else { hear(site, config, heard) }
}

/// The very first start: nothing is known, so every source is asked before anything is put into force.
pub(crate) async fn ask_first(site: &Site, config: &Config) -> Result<(), AgentError> {
    let sources = sources(config);
    if sources.is_empty() || !readable(Registry::load(&site.state))?.is_new() {
        return Ok(());
    }
    let mut asked = JoinSet::new();
    for mut source in sources {
        asked.spawn(async move {
            let name = source.name().clone();
            timeout(FIRST_WITHIN, source.fetch()).await.ok().map(|answer| (name, answer))
        });
    }
    let heard: Vec<SourceAnswer> = asked.join_all().await.into_iter().flatten().collect();
    hear(site, config, heard)
}

fn hear(site: &Site, config: &Config, heard: Vec<SourceAnswer>) -> Result<(), AgentError> {
    let _lock = site.state.lock_policy()?;
    let mut registry = readable(Registry::load(&site.state))?;
    let now = Clock::now();
    registry.configure(config, &now);
    for (name, answer) in heard {
        tell(&mut registry, &name, answer, &now);
    }
    save(&site.state, &mut registry);
    Ok(())
}

fn tell(registry: &mut Registry, name: &SourceName, answer: Result<Answer, SourceError>, now: &Clock) {
    match answer {
        Ok(answer) => {
            if registry.answer(name, answer, now) {
                tracing::info!(source = %name, "answers again");
            }
        }
        Err(error) => {
            if registry.failed(name, &error, now) {
                tracing::warn!(source = %name, "{error}; its last answer stays");
            }
        }
    }
}

/// Takes what sources said into the registry on disk.
pub(crate) fn learn(site: &Site, heard: Vec<SourceAnswer>) -> Result<(), AgentError> {
    let _lock = site.state.lock_policy()?;
    let mut registry = readable(Registry::load(&site.state))?;
    let now = Clock::now();
    for (name, answer) in heard {
        tell(&mut registry, &name, answer, &now);
    }
    save(&site.state, &mut registry);
    Ok(())
}

/// Takes out what has run out, and returns the registry as it is then.
pub(crate) fn expire(site: &Site) -> Result<Registry, AgentError> {
    let _lock = site.state.lock_policy()?;
    let mut registry = readable(Registry::load(&site.state))?;
    registry.expire(&Clock::now());
    save(&site.state, &mut registry);
    Ok(registry)
}

/// Puts the registry's peers into force, if they are others than those in force. `None`: they are not, or nothing is in force.
pub async fn peers_changed(site: &Site, allow: Allow) -> Result<Option<InForce>, AgentError> {
    require_privilege()?;
    let lock = site.state.lock_policy()?;
    peers_changed_locked(site, &lock, allow).await
}

async fn peers_changed_locked(site: &Site, lock: &PolicyLock, allow: Allow) -> Result<Option<InForce>, AgentError> {
    let Some(good) = trial::in_force(site)? else { return Ok(None) };
    let registry = readable(Registry::load(&site.state))?;
    let active = registry.active(&Clock::now());
    let in_force: BTreeSet<_> = good.desired.policy.peers.iter().copied().collect();
    // Without a registry the policy came from an earlier version, or from a damaged file.
    if registry.is_new() || active == in_force {
        return Ok(None);
    }
    let policy = Policy { peers: active.into_iter().collect(), ..good.desired.policy.clone() };
    let desired = Desired { policy, ..good.desired };
    let request = Request::kept(desired).guarded(Guard { allow, session: None });
    put_in_force(site, lock, request).await.map(Some)
}
