//! Who sees to it that a trial ends: the countdown of the command that began it, the agent, and a third that shares no fate with them. That is a timer of
//! systemd's; where there is none, a guard: a process that belongs to nobody. When a trial ends stands in its file alone, and whoever holds it asks there.
//! A holder must not end any trial but its own.

mod guard;
mod timer;

use std::{ffi::OsString, io, path::Path};

use serde::Serialize;

use super::{change::Site, trial_file::Trial};
use nodewall_host::state::{Owner, Role, StateDir};

pub use guard::stand_apart;

/// Somebody who ends a trial when its time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Holder {
    /// The command that began it.
    Countdown,
    /// The agent.
    Agent,
    /// A timer of systemd's.
    Timer,
    /// A process of its own.
    Guard,
}

impl Holder {
    /// In a sentence.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Countdown => "its countdown",
            Self::Agent => "the agent",
            Self::Timer => "a timer of systemd",
            Self::Guard => "a guard",
        }
    }
}

/// Who holds `trial` now.
pub fn holders(state: &StateDir, trial: &Trial) -> Vec<Holder> {
    [
        (Holder::Countdown, state.taken(Role::Countdown).is_some()),
        (Holder::Agent, state.agent().is_some()),
        (Holder::Timer, timer::is_set(trial)),
        (Holder::Guard, state.taken(Role::Guard).is_some()),
    ]
    .into_iter()
    .filter_map(|(holder, is_there)| is_there.then_some(holder))
    .collect()
}

/// Gives a trial that is on disk its third holder. A lever works without one, too.
pub(super) fn hold(site: &Site, trial: &Trial) {
    if timer::is_possible() {
        match timer::set(site, trial) {
            Ok(()) => return,
            Err(why) => tracing::warn!("systemd takes no timer for the trial's end: {why}; a guard takes its place"),
        }
    }
    if Owner::this().is_contained() {
        tracing::warn!(
            "this is a container: when it ends, so does whoever waits in it for the trial's end; it then ends with the next `apply` or `run`, or by an agent \
             on the host"
        );
    }
    if let Err(error) = guard::start(site, trial) {
        tracing::error!(
            "the guard of the trial cannot be started: {error}; this command and the agent alone end it, if they live"
        );
    }
}

/// Takes back the holder of a trial that was settled before its time. A guard sees that for itself.
pub(super) fn release(trial: &Trial) {
    if timer::is_set(trial)
        && let Err(why) = timer::stop(trial)
    {
        // It finds nothing to end.
        tracing::debug!("the timer of the trial stays: {why}");
    }
}

/// What a holder is started with. An upgrade may come between, so later versions must know these words.
fn arguments(site: &Site, trial: &Trial) -> io::Result<Vec<OsString>> {
    let whole = |path: &Path| std::path::absolute(path).map(OsString::from);
    Ok(vec![
        "trial-guard".into(),
        trial.number().to_string().into(),
        "--state-dir".into(),
        whole(site.state.path())?,
        "--bpffs".into(),
        whole(&site.bpffs)?,
    ])
}
