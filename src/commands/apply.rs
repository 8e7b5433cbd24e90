//! `nodewall apply`: one shot. At a boot, a configuration that can not be read must not leave the node open: the last good policy is put into force.

use serde::Serialize;

use super::{DEGRADED, FINE, Failure, block_on, enforceable, print, run::has_last_good, site};
use crate::{
    cli::{AllowArgs, Common},
    control::{self, Applied, AttachAction, Cause},
    ui,
};
use nodewall_datapath::Maps;
use nodewall_host::state::Who;

#[derive(Serialize)]
struct Report {
    generation: u64,
    policy_sha256: String,
    mode: String,
    interfaces: Vec<Interface>,
    missing: Vec<String>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct Interface {
    name: String,
    outcome: &'static str,
}

pub(super) fn run(common: &Common, args: AllowArgs) -> Result<u8, Failure> {
    let config = match enforceable(common, "nodewall apply", false) {
        Ok(config) => config,
        Err(failure) => return last_good(common, failure),
    };
    let site = site(common, false)?;
    let cause = Cause::Command(Who::here("nodewall apply"));
    let (applied, warnings) = block_on(async {
        control::ask_local(&site, &config).await?;
        let applied = control::apply(&site, &config, common.mode.is_some(), args.allow(), cause).await?;
        let warnings = control::warnings(&applied).await;
        Ok::<_, control::AgentError>((applied, warnings))
    })??;
    let code = if applied.missing.is_empty() { FINE } else { DEGRADED };
    tell(common, applied, warnings)?;
    Ok(code)
}

/// Nothing is in force and a policy is stored: a boot. Else the refusal stands.
fn last_good(common: &Common, refused: Failure) -> Result<u8, Failure> {
    if !has_last_good(common) || Maps::live(&common.bpffs)?.is_some() {
        return Err(refused);
    }
    tracing::error!("{}", refused.text());
    let site = site(common, false)?;
    let applied = block_on(control::reapply(&site))??;
    let warning = "the configuration was refused; the last good policy is in force".to_owned();
    tell(common, applied, vec![warning])?;
    Ok(DEGRADED)
}

fn tell(common: &Common, applied: Applied, warnings: Vec<String>) -> Result<(), Failure> {
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    Ok(print(common, &report(applied, warnings), print_table)?)
}

/// What is in force now, for people; also after the other commands that change it.
pub(super) fn print_in_force(common: &Common, applied: Applied) -> Result<(), Failure> {
    tell(common, applied, Vec::new())
}

fn report(applied: Applied, warnings: Vec<String>) -> Report {
    Report {
        generation: applied.generation,
        mode: applied.policy().mode.to_string(),
        policy_sha256: applied.policy_sha256,
        interfaces: applied
            .interfaces
            .into_iter()
            .map(|i| Interface {
                name: i.name,
                outcome: match i.outcome {
                    AttachAction::Attached => "attached",
                    AttachAction::Replaced => "replaced",
                },
            })
            .collect(),
        missing: applied.missing,
        warnings,
    }
}

fn print_table(report: &Report) -> anyhow::Result<()> {
    ui::print_line(&format!("generation {} in force, mode {}", report.generation, report.mode))?;
    for interface in &report.interfaces {
        ui::print_line(&format!("{}: {}", interface.name, interface.outcome))?;
    }
    for name in &report.missing {
        ui::print_line(&format!("{name}: missing"))?;
    }
    Ok(())
}
