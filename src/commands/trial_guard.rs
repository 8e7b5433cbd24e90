//! `nodewall trial-guard`, which nobody types: the countdown of a trial without a terminal. A timer of systemd's or the command that began the trial starts it.

use std::time::Duration;

use super::{FINE, Failure, block_on, require_privilege};
use crate::{
    cli::{Common, TrialGuardArgs},
    control::{self, Refused, Site, Trial, TrialState},
};
use nodewall_host::state::{Role, StateDir};

/// How often it looks whether the trial is settled. It is also how long a deadline can be missed after a sleep of the whole machine.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// As `status` names it when it fails.
const ATTEMPT: &str = "the end of the trial";

pub(super) fn run(common: &Common, args: TrialGuardArgs) -> Result<u8, Failure> {
    control::stand_apart();
    require_privilege()?;
    // Without a directory there is no trial.
    let Some(state) = StateDir::open(&common.state_dir)? else { return Ok(FINE) };
    let site = Site { state, bpffs: common.bpffs.clone(), kernel_log: false };
    // Settled since, or another one: that has a holder of its own.
    let Some(trial) = site.state.load::<Trial>()?.filter(|trial| trial.number() == args.trial) else { return Ok(FINE) };
    block_on(until_settled(&site, &trial))?;
    Ok(FINE)
}

async fn until_settled(site: &Site, trial: &Trial) {
    let (mut role, mut told) = (None, String::new());
    loop {
        // The guard of the trial before may still be there for a moment.
        role = role.or_else(|| site.state.take(Role::Guard).ok().flatten());
        let wait = match control::trial_state(site, trial).await {
            Ok(TrialState::Left(left)) => left.min(LOOK_EVERY),
            Ok(TrialState::Confirmed | TrialState::Ended) => break,
            Err(error) => {
                let error = error.to_string();
                if error != told {
                    tracing::error!("the trial cannot be ended: {error}; trying again");
                    Refused::note(&site.state, ATTEMPT, true, &error);
                    told = error;
                }
                LOOK_EVERY
            }
        };
        tokio::time::sleep(wait).await;
    }
    if !told.is_empty() {
        site.state.forget_note::<Refused>();
    }
}
