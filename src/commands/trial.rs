//! `nodewall enforce`, `confirm`, `rollback` and `panic-open`.

use anyhow::anyhow;
use serde::Serialize;

use super::{DEGRADED, FINE, Failure, apply::print_in_force, block_on, cut_off, print, read_config, site, trial_wait};
use crate::{
    cli::{AllowArgs, Common, EnforceArgs, PanicOpenArgs},
    control::{self, AgentError, Desired, Difference, Good, Observed, Site},
    ui,
};
use nodewall_datapath::PinDir;
use nodewall_host::state::Who;
use nodewall_policy::{
    Policy,
    config::{Mode, Trust},
};

/// What is in force, and was before.
#[derive(Serialize)]
struct Standing {
    generation: u64,
    mode: &'static str,
}

pub(super) fn enforce(common: &Common, args: EnforceArgs) -> Result<u8, Failure> {
    let config = read_config(common, Trust::OwnerOnly)?;
    let site = site(common, false)?;
    let (configured, _) = control::desired(Some(&site.state), &config, None)?;
    let who = Who::here("nodewall enforce");
    block_on(async {
        let difference = foresee(&site, &configured, args.allow).await?;
        for line in difference.as_ref().map(cut_off::lines).unwrap_or_default() {
            trial_wait::tell(&line);
        }
        if let Some(why) = difference.as_ref().filter(|_| !args.allow_affected).and_then(cut_off::refusal) {
            return Err(Failure::would_cut(anyhow!(why)));
        }
        let (policy, trial) =
            match control::enforce(&site, configured, args.allow.allow(), args.confirm_within, &who).await {
                Err(already @ AgentError::Enforcing { generation }) => {
                    let standing = Standing { generation, mode: Mode::Enforce.as_str() };
                    print(common, &standing, |_| ui::print_line(&already.to_string()))?;
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

/// What enforcing would change. `None`: it is refused for another reason, or enforced already, and that is told.
async fn foresee(site: &Site, configured: &Desired, allow: AllowArgs) -> Result<Option<Difference>, Failure> {
    let good = if site.state.is_detached() { None } else { Good::last(&site.state)? };
    let desired = good.map_or_else(|| configured.clone(), |good| good.desired);
    if desired.policy.mode == Mode::Enforce && Good::last(&site.state)?.is_some() {
        return Ok(None);
    }
    let policy = Policy { mode: Mode::Enforce, ..desired.policy.clone() };
    let desired = Desired { policy, ..desired };
    let audited = Observed::read(&site.bpffs, Some(&site.state), &desired.policy);
    let pins = PinDir::open(&site.bpffs)?;
    let difference = control::plan((Some(&site.state), pins.as_ref()), &desired, allow.allow(), audited).await?;
    Ok(Some(difference).filter(|difference| difference.held.is_none()))
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
    let standing = Standing { generation: good.generation, mode: good.desired.policy.mode.as_str() };
    print(common, &standing, |Standing { generation, mode }| {
        ui::print_line(&format!(
            "generation {generation} is kept, mode {mode}; it stays, whatever the configuration's mode, until that is changed"
        ))
    })?;
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
