//! `nodewall detach`: opens the node.

use serde::Serialize;

use super::{FINE, Failure, block_on, print, site};
use crate::{cli::Common, control, ui};
use nodewall_host::state::Who;

#[derive(Serialize)]
struct Report {
    removed: Vec<String>,
}

pub(super) fn run(common: &Common) -> Result<u8, Failure> {
    let site = site(common, false)?;
    let report = Report { removed: block_on(control::detach(&site, &Who::here("nodewall detach")))?? };
    tracing::warn!(links = report.removed.len(), "the node is open: nodewall filters nothing any more");
    print(common, &report, |report| match report.removed.as_slice() {
        [] => ui::print_line("nothing was attached"),
        links => ui::print_line(&format!("detached {}", links.join(", "))),
    })?;
    Ok(FINE)
}
