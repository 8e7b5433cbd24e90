//! `nodewall enforce`, `confirm`, `rollback` and `panic-open`.

use super::{DEGRADED, FINE, Failure, apply::print_in_force, block_on, read_config, site, trial_wait};
use crate::{
    cli::{AllowArgs, Common, EnforceArgs, PanicOpenArgs},
    control::{self, AgentError},
    ui,
};
use nodewall_host::state::Who;
use nodewall_policy::config::{Mode, Trust};

pub(super) fn enforce(common: &Common, args: EnforceArgs) -> Result<u8, Failure> {
    let config = read_config(common, Trust::OwnerOnly)?;
    let site = site(common, false)?;
    let (configured, _) = control::desired(Some(&site.state), &config, None)?;
    let who = Who::here("nodewall enforce");
    block_on(async {
        let (policy, trial) =
            match control::enforce(&site, configured, args.allow.allow(), args.confirm_within, &who).await {
                Err(already @ AgentError::Enforcing { .. }) => {
                    ui::print_line(&already.to_string())?;
                    return Ok(FINE);
                }
                result => result?,
            };
        if let Some(trial) = trial {
            return trial_wait::until_settled(&site, &trial, &policy, &who).await;
        }
        print_in_force(common, &site, policy).await?;
        Ok(FINE)
    })?
}

pub(super) fn panic_open(common: &Common, args: PanicOpenArgs) -> Result<u8, Failure> {
    let site = site(common, false)?;
    let who = Who::here("nodewall panic-open");
    block_on(async {
        let (policy, trial) = control::panic_open(&site, args.open_for, &who).await?;
        trial_wait::until_settled(&site, &trial, &policy, &who).await
    })?
}

pub(super) fn confirm(common: &Common) -> Result<u8, Failure> {
    let site = site(common, false)?;
    let good = block_on(control::confirm(&site, &Who::here("nodewall confirm")))??;
    ui::print_line(&format!(
        "generation {} is kept, mode {}; it stays, whatever the configuration's mode, until that is changed",
        good.generation, good.desired.policy.mode
    ))?;
    Ok(FINE)
}

pub(super) fn rollback(common: &Common, args: AllowArgs) -> Result<u8, Failure> {
    let site = site(common, false)?;
    let audit = block_on(async {
        let policy = control::rollback(&site, args.allow(), &Who::here("nodewall rollback")).await?;
        let audit = policy.policy().mode == Mode::Audit;
        print_in_force(common, &site, policy).await?;
        Ok::<_, Failure>(audit)
    })??;
    tracing::warn!("the configuration file is as it was: the next `apply` or reload puts it into force");
    Ok(if audit { DEGRADED } else { FINE })
}
