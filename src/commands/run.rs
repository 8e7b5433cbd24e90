//! `nodewall run`: the agent in the foreground.

use super::{FINE, Failure, block_on, enforceable, reread_config, site, watched};
use crate::{
    agent::{self, Start},
    cli::{Common, RunArgs},
    config::{Config, Export},
    state::StateDir,
};

pub(super) fn run(common: &Common, args: &RunArgs) -> Result<u8, Failure> {
    let listen = args.listen.as_deref();
    let config = match enforceable(common, "start of the agent", true)
        .and_then(|config| config.with_listen(listen).map_err(Failure::usage))
    {
        Ok(config) => Ok(config),
        // What was in force before is better than nothing; the agent waits for a better file.
        Err(failure) if has_last_good(common) => Err(failure.text()),
        Err(failure) => return Err(failure),
    };
    // Without a configuration, too: that something is wrong must be seen.
    let otherwise = Config::embedded().with_listen(listen).map_or_else(|_| Export::default(), |config| config.export);
    let start = Start {
        export: config.as_ref().map_or(otherwise, |config| config.export.clone()),
        config,
        mode_named: common.mode.is_some(),
        allow: args.allow.allow(),
        watched: watched(common),
        reload: || reread_config(common)?.with_listen(listen),
    };
    block_on(agent::run(site(common, args.kernel_log)?, start))??;
    Ok(FINE)
}

/// Whether a policy is stored that an operator has not detached.
pub(super) fn has_last_good(common: &Common) -> bool {
    let state = StateDir::open(&common.state_dir).ok().flatten();
    state.is_some_and(|state| !state.is_detached() && matches!(state.good(), Ok(Some(_))))
}
