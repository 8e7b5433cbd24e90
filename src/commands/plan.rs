//! `nodewall plan`: what `apply` would change. Changes nothing.

use super::{DEGRADED, FINE, Failure, WOULD_CUT, block_on, cut_off, print, read_config};
use crate::{
    cli::{AllowArgs, Common},
    control::{self, Difference, ModeOverride, Observed},
    ui,
};
use nodewall_datapath::PinDir;
use nodewall_host::state::StateDir;
use nodewall_policy::config::Trust;

pub(super) fn run(common: &Common, args: AllowArgs) -> Result<u8, Failure> {
    let config = read_config(common, Trust::OwnerOnly)?;
    let state = StateDir::open(&common.state_dir)?;
    let word = match &state {
        Some(state) if common.mode.is_none() => state.load::<ModeOverride>()?,
        _ => None,
    };
    let pins = PinDir::open(&common.bpffs)?;
    let (desired, _) = control::desired(state.as_ref(), &config, word)?;
    let audited = Observed::read(&common.bpffs, state.as_ref(), &desired.policy);
    let difference = block_on(control::plan((state.as_ref(), pins.as_ref()), &desired, args.allow(), audited))??;
    print(common, &difference, print_text)?;
    Ok(match () {
        () if difference.hurts() => WOULD_CUT,
        () if difference.is_empty() && difference.held.is_none() => FINE,
        () => DEGRADED,
    })
}

pub(super) fn print_text(difference: &Difference) -> anyhow::Result<()> {
    if difference.nothing_in_force {
        ui::print_line("nothing is in force: nothing is filtered")?;
    } else if difference.is_empty() {
        ui::print_line("nothing would change")?;
    }
    for setting in &difference.settings {
        let from = setting.from.as_deref().unwrap_or("nothing in force");
        ui::print_line(&format!("~ {}: {from} -> {}", setting.name, setting.to))?;
    }
    for change in &difference.ports {
        ui::print_line(&format!("~ {}/{}: {} -> {}", change.protocol, change.ports, change.from, change.to))?;
    }
    let lists = [
        ("+ peer", &difference.peers_added),
        ("- peer", &difference.peers_removed),
        ("+ interface", &difference.interfaces_added),
        ("- interface (let go, and open)", &difference.interfaces_removed),
    ];
    for (what, names) in lists {
        for name in names {
            ui::print_line(&format!("{what} {name}"))?;
        }
    }
    for problem in &difference.not_covered {
        ui::print_line(&format!("! {problem}"))?;
    }
    for line in cut_off::lines(difference) {
        ui::print_line(&line)?;
    }
    if let Some(held) = &difference.held {
        ui::print_line(&format!("apply would refuse this: {held}"))?;
    }
    Ok(())
}
