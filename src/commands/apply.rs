//! `nodewall apply`: one shot. At a boot, a configuration that can not be read must not leave the node open: the last good policy is put into force.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{DEGRADED, FINE, Failure, block_on, enforceable, print, run::has_last_good, site};
use crate::{
    cli::{AllowArgs, Common},
    control::{self, Applied, AttachAction, Cause, CoverageState, InForce, InterfaceCoverage, Site},
    ui,
};
use nodewall_datapath::{Maps, PinDir};
use nodewall_host::{net, state::Who};
use nodewall_policy::mode_in_words;

#[derive(Serialize)]
struct Report {
    generation: u64,
    policy_sha256: String,
    mode: String,
    audited: Vec<String>,
    interfaces: Vec<Interface>,
    /// Filtered until now; nobody asks for them any more.
    released: Vec<String>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct Interface {
    #[serde(flatten)]
    coverage: InterfaceCoverage,
    /// `attached`, `replaced` or `kept`; `null`: it is not covered.
    outcome: Option<&'static str>,
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
    let code = if applied.coverage.alarms().is_empty() { FINE } else { DEGRADED };
    tell(common, &report(applied, warnings))?;
    Ok(code)
}

/// Nothing is in force and a policy is stored: a boot. Else the refusal stands.
fn last_good(common: &Common, refused: Failure) -> Result<u8, Failure> {
    let runs = match Maps::live(&common.bpffs) {
        Err(error) if error.is_other_layout() => true,
        live => live?.is_some(),
    };
    if !has_last_good(common) || runs {
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
    let network = net::snapshot().await?;
    let pins = PinDir::open(&site.bpffs)?;
    let interfaces = control::look(pins.as_ref(), Some(&site.state), Some(&policy.desired), &network)?;
    let kept = |coverage: InterfaceCoverage| Interface { outcome: coverage.is_covered().then_some("kept"), coverage };
    let interfaces = interfaces.into_iter().map(kept).collect();
    tell(common, &Report { interfaces, ..Report::of(policy) })
}

impl Report {
    fn of(policy: InForce) -> Self {
        Self {
            generation: policy.generation,
            mode: policy.policy().mode.to_string(),
            audited: policy.policy().audited().into_iter().map(str::to_owned).collect(),
            policy_sha256: policy.policy_sha256,
            interfaces: Vec::new(),
            released: Vec::new(),
            warnings: Vec::new(),
        }
    }
}

fn report(applied: Applied, mut warnings: Vec<String>) -> Report {
    let Applied { in_force, coverage, .. } = applied;
    warnings.extend(coverage.alarms());
    let with_outcome = |coverage: InterfaceCoverage, actions: &BTreeMap<u32, AttachAction>| {
        let action = coverage.if_index.and_then(|index| actions.get(&index)).filter(|_| coverage.is_covered());
        let outcome = action.map(|action| match action {
            AttachAction::Attached => "attached",
            AttachAction::Replaced => "replaced",
            AttachAction::Kept => "kept",
        });
        Interface { coverage, outcome }
    };
    let actions = coverage.actions;
    Report {
        interfaces: coverage.interfaces.into_iter().map(|interface| with_outcome(interface, &actions)).collect(),
        released: coverage.released,
        warnings,
        ..Report::of(in_force)
    }
}

fn print_table(report: &Report) -> anyhow::Result<()> {
    let mode = mode_in_words(&report.mode, &report.audited);
    ui::print_line(&format!("generation {} in force, mode {mode}", report.generation))?;
    for Interface { coverage, outcome } in &report.interfaces {
        let reason = coverage.reason.as_deref().unwrap_or_default();
        match (coverage.state, outcome) {
            (CoverageState::Covered, outcome) => {
                ui::print_line(&format!("{}: {}", coverage.name, outcome.unwrap_or("covered")))?;
                if coverage.wrong {
                    ui::print_line(&format!("{}: {reason}", coverage.name))?;
                }
            }
            (CoverageState::Missing, _) => ui::print_line(&format!("{}: missing", coverage.name))?,
            (CoverageState::Failing | CoverageState::Released, _) => {
                ui::print_line(&format!("{}: NOT FILTERED: {reason}", coverage.name))?;
            }
            (CoverageState::NotEligible, _) if coverage.wrong => {
                ui::print_line(&format!("{}: cannot be attached: {reason}", coverage.name))?;
            }
            (CoverageState::NotEligible, _) => {}
        }
    }
    for name in &report.released {
        ui::print_line(&format!("{name}: released, it is open"))?;
    }
    Ok(())
}
