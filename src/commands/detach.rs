//! `nodewall detach`: opens the node.

use serde::Serialize;

use super::{FINE, Failure, block_on, require_privilege};
use crate::{
    agent::{self, StateDir},
    cli::{Common, Format},
    ui,
};

#[derive(Serialize)]
struct Report {
    removed: Vec<String>,
}

pub(super) fn run(common: &Common) -> Result<u8, Failure> {
    require_privilege()?;
    let state = StateDir::create(&common.state_dir)?;
    let report = Report { removed: block_on(agent::detach(&common.bpffs, &state))?? };
    tracing::warn!(links = report.removed.len(), "the node is open: nodewall filters nothing any more");
    match common.output {
        Format::Table => match report.removed.as_slice() {
            [] => ui::print_line("nothing was attached")?,
            links => ui::print_line(&format!("detached {}", links.join(", ")))?,
        },
        Format::Json => ui::print_json(&report)?,
        Format::Jsonl => ui::print_jsonl([&report])?,
    }
    Ok(FINE)
}
