//! `cargo xtask faults`: the faults rung (tests/faults), and with it the faults that need a machine of their own. The tests own what is done and what
//! must come of it; this file says how many runs, gathers what they measured, and prints it as a table.

mod next;
mod table;

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use fs_err as fs;

use crate::{cmd::Cmd, last_round, progress::seconds, setup, vm, workspace};
use table::FaultResult;

/// Where a fault is done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RunsIn {
    /// By this test, in namespaces of this machine.
    Here(&'static str),
    /// In a guest.
    Guest,
}

/// Every fault by its name, in the order of the table.
const FAULTS: [(&str, RunsIn); 23] = [
    ("kill", RunsIn::Here("kill::kill_9_under_a_flood")),
    ("kill-tcx", RunsIn::Here("kill::kill_9_under_a_flood_at_tcx")),
    ("kill-clsact", RunsIn::Here("kill::kill_9_under_a_flood_at_clsact")),
    ("stop", RunsIn::Here("stopped::a_stopped_agent_under_a_flood")),
    ("reload", RunsIn::Here("reload::reload_under_load")),
    ("hangups", RunsIn::Here("reload::reloads_upon_reloads")),
    ("upgrade", RunsIn::Here("upgrade::upgrades_under_load")),
    ("upgrade-kill", RunsIn::Here("upgrade::an_upgrade_that_is_killed_anywhere_goes_on")),
    ("layouts", RunsIn::Here("layouts::layout_7_is_taken_over_whole")),
    ("looks", RunsIn::Here("looks::whoever_looks_beside_changes_is_told_what_is_so")),
    ("interfaces", RunsIn::Here("interfaces::an_interface_is_made_again_and_again")),
    ("interfaces-tc", RunsIn::Here("interfaces::an_interface_is_made_again_and_again_at_tc")),
    ("agents", RunsIn::Here("agents::two_agents_at_once")),
    ("foreign", RunsIn::Here("strangers::a_foreign_program_is_left_alone")),
    ("strangers", RunsIn::Here("strangers::what_somebody_else_can_write_is_not_believed")),
    ("watchdog", RunsIn::Here("watchdog::interference_is_repaired")),
    ("disk", RunsIn::Here("disk::a_state_directory_that_is_full_or_read_only")),
    ("io-error", RunsIn::Here("disk::an_io_error_in_any_call_on_the_state_directory")),
    ("malformed", RunsIn::Here("malformed::malformed_configurations_are_refused_at_their_place")),
    ("malformed-live", RunsIn::Here("malformed::malformed_configurations_change_nothing")),
    ("clock", RunsIn::Guest),
    ("cpus", RunsIn::Guest),
    ("power", RunsIn::Guest),
];

/// Tests beside the faults' that have a bar of time or of rate, too. It is judged here alone: elsewhere others use the machine.
const TIMED: [&str; 15] = [
    "a_busy_receiver_is_left_alone_for_as_long_as_it_says_and_longer_each_time",
    "a_changed_file_reaches_the_kernel_within_a_second",
    "a_proxy_that_refuses_dawdles_or_is_none_is_told",
    "a_scrape_of_192_peers_on_20_ports_ends_in_time",
    "a_scrape_with_the_most_peers_is_quick_and_shows_numbers_only",
    "a_silent_name_server_and_a_silent_wire_end_in_bounded_time",
    "a_slow_answer_ends_in_time_however_it_drips",
    "a_thousand_slow_clients_do_not_slow_a_healthy_scrape",
    "a_trial_ends_although_its_command_and_the_agent_were_killed",
    "an_agent_of_128_processors_needs_a_hundredth_of_one_at_most",
    "one_that_takes_nothing_holds_nobody_up_and_costs_bounded_memory",
    "peers_of_the_network_are_enforced_follow_their_sources_and_outlive_them",
    "silence_ends_at_each_step_in_bounded_time",
    "ten_thousand_addresses_come_over_several_names_and_never_half_over_one",
    "ticks_come_each_second_and_the_counters_move_by_what_was_sent",
];

/// How often the power is cut: short and full.
const POWER_CUTS: [u32; 2] = [2, 50];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// All runs of every fault, those in virtual machines included, optimised (an hour)
    #[arg(long)]
    full: bool,

    /// Only these faults (repeatable)
    #[arg(long, value_name = "NAME", value_parser = FAULTS.map(|(name, _)| name))]
    only: Vec<String>,
}

impl Args {
    /// Guests only when all is wanted, or when they are asked for: a minute is the short form's bar.
    fn chosen(&self) -> Vec<(&'static str, RunsIn)> {
        let wanted = |(name, place): &(&str, RunsIn)| {
            if self.only.is_empty() {
                self.full || *place != RunsIn::Guest
            } else {
                self.only.iter().any(|n| n == name)
            }
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
    lines.extend(FaultResult::parse_all(told.iter().map(String::as_str))?);

    let table = table::render(&chosen.iter().map(|(name, _)| *name).collect::<Vec<_>>(), &lines);
    println!("\n{table}");
    if args.full && args.only.is_empty() {
        timed()?;
    }
    let guests = guest_kernel.map_or_else(String::new, |release| format!(", guests with Linux {release}"));
    println!("{} faults in {}, Linux {}{guests}", chosen.len(), seconds(began.elapsed()), workspace::kernel_release()?);
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
fn here(args: &Args, chosen: &[(&str, RunsIn)], folder: &Path) -> Result<Vec<FaultResult>> {
    let tests: Vec<&str> = chosen
        .iter()
        .filter_map(|(_, place)| if let RunsIn::Here(test) = place { Some(*test) } else { None })
        .collect();
    if tests.is_empty() {
        return Ok(Vec::new());
    }
    let results = folder.join("results.jsonl");
    fs::write(&results, "")?;
    let mut command = Cmd::cargo("test").args(["--package", "nodewall", "--test", "faults"]);
    if args.full {
        // As it is delivered.
        command = command.arg("--release").env("NODEWALL_FAULTS", "full");
    }
    let is_chosen = |name: &str| chosen.iter().any(|(chosen, _)| *chosen == name);
    // Other executables to upgrade to, and from.
    if is_chosen("upgrade") || is_chosen("upgrade-kill") {
        command = command.env("NODEWALL_FAULTS_NEXT", next::build(folder, args.full)?);
    }
    if is_chosen("layouts") {
        command = command.env(last_round::VARIABLE, last_round::build()?);
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
    let text = fs::read_to_string(&results)?;
    ensure!(!text.is_empty(), "no fault left a result in {}: did the tests build?", results.display());
    FaultResult::parse_all(text.lines())
}

/// Runs the other tests that have a bar of time, one after the other.
fn timed() -> Result<()> {
    let command = Cmd::cargo("test").args(["--workspace", "--tests", "--no-fail-fast", "--", "--nocapture"]);
    let command = command.args(["--test-threads", "1"]).args(TIMED);
    command.env("NODEWALL_FAULTS", "full").env("NODEWALL_REQUIRE_ROOT", "1").run().context("a bar of time was missed")
}

fn in_guests(args: &Args, chosen: &[(&str, RunsIn)]) -> Result<(Vec<String>, Option<String>)> {
    let guests: Vec<&str> = chosen.iter().filter(|(_, place)| *place == RunsIn::Guest).map(|(name, _)| *name).collect();
    if guests.is_empty() {
        return Ok((Vec::new(), None));
    }
    let [short, full] = POWER_CUTS;
    let cuts = if args.full { full } else { short };
    let wanted = vm::Wanted {
        power_cuts: if guests.contains(&"power") { cuts } else { 0 },
        checks: guests.into_iter().filter(|name| *name != "power").map(str::to_owned).collect(),
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

    #[test]
    fn every_test_with_a_bar_of_time_is_there() {
        let listed = Cmd::new("git").args(["ls-files", "tests"]).dir(workspace::root()).read().unwrap_or_default();
        let texts = listed.lines().filter_map(|file| fs::read_to_string(workspace::root().join(file)).ok());
        let all: String = texts.collect();
        for name in TIMED {
            assert!(all.contains(&format!("\nfn {name}() {{")), "{name} is in no test");
        }
    }

    /// A name that no test has would run nothing.
    #[test]
    fn every_test_in_the_table_is_there() {
        for (name, place) in FAULTS {
            if let RunsIn::Here(test) = place {
                assert!(workspace::has_test("faults", &format!("{test}() {{")), "{name}: there is no {test}");
            }
        }
    }
}
