//! `nodewall apply`: one shot. At a boot, a configuration that can not be read must not leave the node open: the last good policy is put into force.

use serde::Serialize;

use super::{DEGRADED, FINE, Failure, block_on, enforceable, print, run::has_last_good, site};
use crate::{
    cli::{AllowArgs, Common},
    control::{self, Applied, AttachAction, Cause, CoveredInterface, InForce, Site},
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
    /// Not there yet.
    missing: Vec<String>,
    /// There, and not filtered, or not as configured.
    failing: Vec<Failing>,
    /// Filtered until now; nobody asks for them any more.
    released: Vec<String>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct Failing {
    name: String,
    reason: String,
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
    let code = if applied.coverage.is_whole() { FINE } else { DEGRADED };
    tell(common, &report(applied, warnings))?;
    Ok(code)
}

/// Nothing is in force and a policy is stored: a boot. Else the refusal stands.
fn last_good(common: &Common, refused: Failure) -> Result<u8, Failure> {
    if !has_last_good(common) || Maps::live(&common.bpffs)?.is_some() {
        return Err(refused);
    }
    tracing::error!("{}", refused.text());
    let site = site(common, false)?;
    let applied = block_on(control::start_again(&site))??;
    let warning = "the configuration was refused; the last good policy is in force".to_owned();
    tell(common, &report(applied, vec![warning]))?;
    Ok(DEGRADED)
}

fn tell(common: &Common, report: &Report) -> Result<(), Failure> {
    for warning in &report.warnings {
        tracing::warn!("{warning}");
    }
    Ok(print(common, report, print_table)?)
}

/// What is in force now, after a command that changed the policy alone.
pub(super) async fn print_in_force(common: &Common, site: &Site, policy: InForce) -> Result<(), Failure> {
    let filtered = control::filtered_interfaces(site).await?;
    let kept = filtered.into_iter().map(|name| Interface { name, outcome: "kept" }).collect();
    tell(common, &Report { interfaces: kept, ..Report::of(policy) })
}

impl Report {
    fn of(policy: InForce) -> Self {
        Self {
            generation: policy.generation,
            mode: policy.policy().mode.to_string(),
            policy_sha256: policy.policy_sha256,
            interfaces: Vec::new(),
            missing: Vec::new(),
            failing: Vec::new(),
            released: Vec::new(),
            warnings: Vec::new(),
        }
    }
}

fn report(applied: Applied, mut warnings: Vec<String>) -> Report {
    let Applied { in_force, coverage, .. } = applied;
    warnings.extend(coverage.problems());
    let outcome = |interface: CoveredInterface| Interface {
        name: interface.name,
        outcome: match interface.outcome {
            AttachAction::Attached => "attached",
            AttachAction::Replaced => "replaced",
            AttachAction::Kept => "kept",
        },
    };
    Report {
        interfaces: coverage.interfaces.into_iter().map(outcome).collect(),
        missing: coverage.missing,
        failing: coverage.failing.into_iter().map(|f| Failing { name: f.name, reason: f.reason }).collect(),
        released: coverage.released,
        warnings,
        ..Report::of(in_force)
    }
}

fn print_table(report: &Report) -> anyhow::Result<()> {
    ui::print_line(&format!("generation {} in force, mode {}", report.generation, report.mode))?;
    for interface in &report.interfaces {
        ui::print_line(&format!("{}: {}", interface.name, interface.outcome))?;
    }
    for failing in &report.failing {
        ui::print_line(&format!("{}: NOT FILTERED: {}", failing.name, failing.reason))?;
    }
    for name in &report.missing {
        ui::print_line(&format!("{name}: missing"))?;
    }
    for name in &report.released {
        ui::print_line(&format!("{name}: released, it is open"))?;
    }
    Ok(())
}
