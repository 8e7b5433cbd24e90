//! A transient timer of systemd's: the first process itself waits, so that there is nothing to kill. What it starts is the guard, which then has
//! nothing left to wait for. Such a timer is gone after a boot, as the trial is.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use super::arguments;
use crate::control::{change::Site, trial_file::Trial};
use nodewall_host::{state::Clock, tool};

/// There where systemd is the first process (`sd_booted(3)`).
const BOOTED: &str = "/run/systemd/system";
/// Where systemd keeps transient units for as long as it knows them.
const TRANSIENT: &str = "/run/systemd/transient";

fn unit(trial: &Trial) -> String {
    format!("nodewall-trial-{}", trial.number())
}

/// Whether what systemd starts finds here what this process finds: the network that is filtered, and the pins.
pub(super) fn is_possible() -> bool {
    let is_hosts = |namespace: &str| {
        let of = |process: &str| fs::read_link(format!("/proc/{process}/ns/{namespace}")).ok();
        of("self").is_some_and(|own| of("1") == Some(own))
    };
    Path::new(BOOTED).is_dir() && is_hosts("net") && is_hosts("mnt")
}

/// Whether systemd knows the timer. Asks nobody: the agent does this, too, for whoever reads its metrics.
pub(super) fn is_set(trial: &Trial) -> bool {
    Path::new(TRANSIENT).join(format!("{}.timer", unit(trial))).exists()
}

pub(super) fn set(site: &Site, trial: &Trial) -> Result<(), String> {
    let systemd_run = found("systemd-run")?;
    let program = std::env::current_exe().map_err(|error| format!("this executable is not found: {error}"))?;
    if !program.is_file() {
        return Err(format!("{} was replaced", program.display()));
    }
    let mut words = options(trial, trial.deadline.left(&Clock::now()));
    words.push(program.into());
    words.extend(arguments(site, trial).map_err(|error| error.to_string())?);
    tool::run(&systemd_run, &words).map(drop).map_err(|why| format!("systemd-run: {why}"))
}

pub(super) fn stop(trial: &Trial) -> Result<(), String> {
    let words = ["stop".to_owned(), "--quiet".to_owned(), format!("{}.timer", unit(trial))];
    tool::run(&found("systemctl")?, &words).map(drop).map_err(|why| format!("systemctl: {why}"))
}

fn found(name: &str) -> Result<PathBuf, String> {
    tool::find(name).ok_or_else(|| format!("there is no {name}"))
}

/// How systemd-run is called, up to what it is to run: in words that systemd 239 knows.
fn options(trial: &Trial, left: Duration) -> Vec<OsString> {
    // Up, so that what it starts has nothing to wait for.
    let left_ms = left.as_nanos().div_ceil(1_000_000);
    [
        "--quiet".to_owned(),
        "--collect".to_owned(),
        format!("--unit={}", unit(trial)),
        format!("--description=nodewall: what {} began goes back", trial.kind.command()),
        format!("--on-active={left_ms}ms"),
        // Without it, a minute.
        "--timer-property=AccuracySec=100ms".to_owned(),
        // Killed, it is started again, not so fast that systemd gives up.
        "--property=Restart=on-failure".to_owned(),
        "--property=RestartSec=3".to_owned(),
        "--".to_owned(),
    ]
    .map(OsString::from)
    .into()
}
