//! `nodewall run`: the agent in the foreground.

use super::{FINE, Failure, block_on, enforceable, reread_config, site, watched};
use crate::{
    agent::{self, Confined, Start},
    cli::{Common, RunArgs},
    control::Good,
};
use nodewall_datapath::PinDir;
use nodewall_host::state::StateDir;
use nodewall_policy::config::{Config, Export, Trust};

pub(super) fn run(common: &Common, args: &RunArgs) -> Result<u8, Failure> {
    let Err(failure) = run_agent(common, args) else { return Ok(FINE) };
    // Told before the wait, not after it.
    let code = failure.report();
    if let Ok(Some(state)) = StateDir::open(&common.state_dir) {
        block_on(agent::back_off(&state, &watched(common)))?;
    }
    Ok(code)
}

fn run_agent(common: &Common, args: &RunArgs) -> Result<(), Failure> {
    let listen = args.listen;
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
        reload: || reread_config(common, Trust::OwnerOnly)?.with_listen(listen),
    };
    let site = site(common, args.kernel_log)?;
    confine(common, start.config.as_ref().ok())?;
    block_on(agent::run(site, start))??;
    Ok(())
}

/// Before any thread is there. Whatever keeps this from being done, the ports are kept all the same.
fn confine(common: &Common, config: Option<&Config>) -> Result<(), Failure> {
    // A process that is confined can not mount bpffs any more.
    PinDir::mount(&common.bpffs)?;
    let outputs = config.map(|config| config.evidence.files()).unwrap_or_default();
    match agent::confine(&agent::writable(&common.state_dir, &common.bpffs, &outputs)) {
        Ok(Confined::Whole | Confined::Partly) => tracing::debug!("confined to writing where the agent writes"),
        Ok(Confined::Not) => tracing::debug!("this kernel has no Landlock: not confined by the agent itself"),
        Err(error) => tracing::warn!("not confined by Landlock: {error}"),
    }
    Ok(())
}

/// Whether a policy is stored that an operator has not detached.
pub(super) fn has_last_good(common: &Common) -> bool {
    let state = StateDir::open(&common.state_dir).ok().flatten();
    state.is_some_and(|state| !state.is_detached() && matches!(Good::last(&state), Ok(Some(_))))
}
