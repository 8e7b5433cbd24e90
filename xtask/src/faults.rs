//! `cargo xtask faults`: the faults rung (tests/faults), and with it the faults that need a machine of their own. The tests own what is done and what
//! must come of it; this file says how many runs, gathers what they measured, and writes the table of docs/RELIABILITY.md.

mod next;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};

use crate::cmd::Cmd;
use crate::progress::seconds;
use crate::{setup, vm, workspace};
use table::Line;

/// Where a fault is done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// By this test, in namespaces of this machine.
    Here(&'static str),
    /// In a guest.
    Guest,
}

/// Every fault by its name, in the order of the table.
const FAULTS: [(&str, Place); 17] = [
    ("kill", Place::Here("kill::kill_9_under_a_flood")),
    ("stop", Place::Here("stopped::a_stopped_agent_under_a_flood")),
    ("reload", Place::Here("reload::reload_under_load")),
    ("hangups", Place::Here("reload::reloads_upon_reloads")),
    ("upgrade", Place::Here("upgrade::upgrades_under_load")),
    ("interfaces", Place::Here("interfaces::an_interface_is_made_again_and_again")),
    ("agents", Place::Here("agents::two_agents_at_once")),
    ("foreign", Place::Here("strangers::a_foreign_program_is_left_alone")),
    ("strangers", Place::Here("strangers::what_somebody_else_can_write_is_not_believed")),
    ("watchdog", Place::Here("watchdog::interference_is_repaired")),
    ("disk", Place::Here("disk::a_state_directory_that_is_full_or_read_only")),
    ("io-error", Place::Here("disk::an_io_error_in_any_call_on_the_state_directory")),
    ("malformed", Place::Here("malformed::malformed_configurations_are_refused_at_their_place")),
    ("malformed-live", Place::Here("malformed::malformed_configurations_change_nothing")),
    ("clock", Place::Guest),
    ("cpus", Place::Guest),
    ("power", Place::Guest),
];

/// How often the power is cut: short and full.
const POWER_CUTS: [u32; 2] = [2, 50];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// All runs of every fault, those in virtual machines included, optimised; renews the table of docs/RELIABILITY.md (an hour)
    #[arg(long)]
    full: bool,

    /// Only these faults (repeatable); docs/RELIABILITY.md stays as it is
    #[arg(long, value_name = "NAME", value_parser = FAULTS.map(|(name, _)| name))]
    only: Vec<String>,
}

impl Args {
    /// Guests only when all is wanted, or when they are asked for: a minute is the short form's bar.
    fn chosen(&self) -> Vec<(&'static str, Place)> {
        let wanted = |(name, place): &(&str, Place)| {
            if self.only.is_empty() { self.full || *place != Place::Guest } else { self.only.iter().any(|n| n == name) }
        };
        FAULTS.into_iter().filter(wanted).collect()
    }
}

/// Ends with an error if a fault's bar was missed, or if a fault has no result.
pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(workspace::is_root(), "faults need network namespaces, BPF and mounts: run this as root");
    setup::run()?;
    let began = Instant::now();
    let chosen = args.chosen();
    let folder = workspace::root().join("target/faults");
    let _lock = setup::lock_file(&folder.join("lock"), "run of faults")?;
    let mut lines = here(args, &chosen, &folder)?;
    let (told, guest_kernel) = in_guests(args, &chosen)?;
    lines.extend(Line::parse_all(&told)?);

    let table = table::render(&chosen.iter().map(|(name, _)| *name).collect::<Vec<_>>(), &lines);
    println!("\n{table}");
    if args.full && args.only.is_empty() {
        let file = workspace::root().join("docs/RELIABILITY.md");
        let page = fs::read_to_string(&file).with_context(|| format!("{} can not be read", file.display()))?;
        let heading = table::heading(&workspace::kernel_release()?, guest_kernel.as_deref(), began.elapsed());
        fs::write(&file, table::put_into(&page, &format!("{heading}\n\n{table}"))?)
            .with_context(|| format!("{} could not be written", file.display()))?;
        println!("written to docs/RELIABILITY.md");
    }
    println!("{} faults in {}", chosen.len(), seconds(began.elapsed()));
    let failed: Vec<&str> = chosen
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| !lines.iter().any(|line| line.name == *name && line.ok))
        .collect();
    ensure!(
        failed.is_empty(),
        "the bar was missed: {}; what was found stands above, where the test failed",
        failed.join(", ")
    );
    Ok(())
}

/// Runs the tests on this machine and reads what they measured.
fn here(args: &Args, chosen: &[(&str, Place)], folder: &Path) -> Result<Vec<Line>> {
    let tests: Vec<&str> =
        chosen.iter().filter_map(|(_, place)| if let Place::Here(test) = place { Some(*test) } else { None }).collect();
    if tests.is_empty() {
        return Ok(Vec::new());
    }
    let results = folder.join("results.jsonl");
    match fs::remove_file(&results) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("{} could not be removed", results.display()));
        }
        _ => {}
    }
    let mut command = Cmd::cargo("test").args(["--package", "nodewall", "--test", "faults"]);
    if args.full {
        // As it is delivered, and an executable of another build beside it.
        let next: PathBuf = next::build(folder)?;
        command = command.arg("--release").env("NODEWALL_FAULTS", "full").env("NODEWALL_FAULTS_NEXT", next);
    }
    let command = command
        .args(["--", "--nocapture", "--exact"])
        .args(tests)
        .env("NODEWALL_FAULTS_OUT", folder)
        .env("NODEWALL_REQUIRE_ROOT", "1");
    if let Err(error) = command.run() {
        // The results say which one; those of the others count.
        eprintln!("{error:#}");
    }
    match fs::read_to_string(&results) {
        Ok(text) => Line::parse_all(&text.lines().map(str::to_owned).collect::<Vec<_>>()),
        Err(error) => bail!("no fault left a result in {} ({error}): did the tests build?", results.display()),
    }
}

fn in_guests(args: &Args, chosen: &[(&str, Place)]) -> Result<(Vec<String>, Option<String>)> {
    let guests: Vec<&str> = chosen.iter().filter(|(_, place)| *place == Place::Guest).map(|(name, _)| *name).collect();
    if guests.is_empty() {
        return Ok((Vec::new(), None));
    }
    let power = guests.contains(&"power");
    let [short, full] = POWER_CUTS;
    let wanted = vm::Wanted {
        checks: guests.into_iter().filter(|name| *name != "power").map(str::to_owned).collect(),
        power_cuts: if !power {
            0
        } else if args.full {
            full
        } else {
            short
        },
    };
    let (lines, kernel) = vm::run_faults(&wanted)?;
    Ok((lines, Some(kernel)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(full: bool, only: &[&str]) -> Vec<&'static str> {
        let args = Args { full, only: only.iter().map(|name| (*name).to_owned()).collect() };
        args.chosen().into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn guests_boot_when_all_is_wanted_or_when_they_are_asked_for() {
        assert_eq!(chosen(true, &[]).len(), FAULTS.len());
        assert_eq!(chosen(false, &[]).len(), FAULTS.len() - 3);
        assert_eq!(chosen(false, &["power", "kill"]), ["kill", "power"]);
    }

    /// A name that no test has would run nothing.
    #[test]
    fn every_test_in_the_table_is_there() {
        for (name, place) in FAULTS {
            if let Place::Here(test) = place {
                let (module, function) = test.split_once("::").unwrap_or_default();
                let file = workspace::root().join("tests/faults").join(format!("{module}.rs"));
                let text = fs::read_to_string(&file).unwrap_or_default();
                assert!(
                    text.contains(&format!("\nfn {function}() {{")),
                    "{name}: {} has no {function}",
                    file.display()
                );
            }
        }
    }
}
