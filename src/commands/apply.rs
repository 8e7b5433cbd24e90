//! `nodewall apply`: one shot.

use serde::Serialize;

use super::{DEGRADED, FINE, Failure, block_on, settings};
use crate::{
    agent::{self, Outcome},
    cli::{Common, Format},
    ui,
};

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

pub(super) fn run(common: &Common) -> Result<u8, Failure> {
    let (settings, state) = settings(common, false)?;
    let (applied, warnings) = block_on(async {
        let applied = agent::apply(&settings, &state, agent::Cause::Operator).await?;
        let warnings = agent::warnings(&applied).await;
        Ok::<_, agent::AgentError>((applied, warnings))
    })??;
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    let code = if applied.missing.is_empty() { FINE } else { DEGRADED };
    let report = Report {
        generation: applied.generation,
        policy_sha256: applied.policy_sha256,
        mode: applied.policy.mode.to_string(),
        interfaces: applied
            .interfaces
            .into_iter()
            .map(|i| Interface {
                name: i.name,
                outcome: match i.outcome {
                    Outcome::Attached => "attached",
                    Outcome::Replaced => "replaced",
                },
            })
            .collect(),
        missing: applied.missing,
        warnings,
    };
    match common.output {
        Format::Table => {
            ui::print_line(&format!("generation {} in force, mode {}", report.generation, report.mode))?;
            for interface in &report.interfaces {
                ui::print_line(&format!("{}: {}", interface.name, interface.outcome))?;
            }
            for name in &report.missing {
                ui::print_line(&format!("{name}: missing"))?;
            }
        }
        Format::Json => ui::print_json(&report)?,
        Format::Jsonl => ui::print_jsonl([&report])?,
    }
    Ok(code)
}
