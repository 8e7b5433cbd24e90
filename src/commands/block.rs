//! `nodewall block` and `unblock`: a source in an incident.

use serde::Serialize;

use super::{DEGRADED, FINE, Failure, block_on, print, site};
use crate::{
    cli::{BlockArgs, Common, UnblockArgs},
    control::{self, Blocking, Changed},
    ui,
};
use nodewall_host::state::Who;
use nodewall_policy::config::show;

#[derive(Serialize)]
struct Report {
    source: String,
    blocked: bool,
    generation: Option<u64>,
    lifted: bool,
}

pub(super) fn block(common: &Common, args: &BlockArgs) -> Result<u8, Failure> {
    let site = site(common, false)?;
    let wanted = Blocking { prefix: args.source, ttl: args.ttl, reason: args.reason.clone(), force: args.force };
    let changed = block_on(control::block(&site, &wanted, &Who::here("nodewall block")))??;
    let until = args.ttl.map_or_else(
        || "until `nodewall unblock`".to_owned(),
        |ttl| format!("for {}", humantime::format_duration(ttl)),
    );
    tell(common, &changed, true, &format!("{} is blocked {until}", show(&args.source)))?;
    if args.ttl.is_some() && site.state.agent().is_none() {
        tracing::warn!("no agent runs: the block ends with the first command or agent after its time");
    }
    Ok(if changed.generation.is_some() && !changed.lifted { FINE } else { DEGRADED })
}

pub(super) fn unblock(common: &Common, args: UnblockArgs) -> Result<u8, Failure> {
    let site = site(common, false)?;
    let changed = block_on(control::unblock(&site, &args.source, &Who::here("nodewall unblock")))??;
    tell(common, &changed, false, &format!("{} is no longer blocked", show(&args.source)))?;
    Ok(FINE)
}

fn tell(common: &Common, changed: &Changed, blocked: bool, text: &str) -> anyhow::Result<()> {
    let report =
        Report { source: show(&changed.block.prefix), blocked, generation: changed.generation, lifted: changed.lifted };
    print(common, &report, |report| {
        ui::print_line(text)?;
        if report.generation.is_none() {
            ui::print_line("no policy is in force: it counts from the next `nodewall apply` on")?;
        } else if report.lifted {
            ui::print_line("a panic-open has lifted all blocks: it counts when that ends")?;
        }
        Ok(())
    })
}
