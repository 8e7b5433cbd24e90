//! The foreground of a trial: a countdown that outlives SIGHUP and a lost terminal, ends the trial at its deadline or at Ctrl-C, and takes Enter for
//! a confirmation.

use std::{
    io::{self, BufRead, IsTerminal},
    os::fd::AsFd as _,
    time::Duration,
};

use anyhow::Context as _;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use super::{FINE, Failure, cut_off::Live};
use crate::{
    cli::exit_codes::FAILED,
    control::{self, AgentError, InForce, Site, Trial, TrialKind, TrialState},
};
use nodewall_host::state::{Role, Who};
use nodewall_text::out::{Mark, Part, stderr};

/// How often the trial's standing is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Where there is no terminal to count down on, a line this often.
const TELL_EVERY_S: u64 = 60;
/// A return to the policy before that failed is tried again, for as long as it takes.
const RETRY: Duration = Duration::from_secs(1);

/// Waits until the trial is confirmed or over.
pub(super) async fn until_settled(site: &Site, trial: &Trial, policy: &InForce, who: &Who) -> Result<u8, Failure> {
    ignore_terminal_signals();
    let listen = |kind| signal(kind).context("can not listen for signals");
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let mut enter = if trial.kind == TrialKind::Enforce { enter() } else { None };
    begin(trial, policy, enter.is_some());
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    let (mut told_s, mut role) = (Told::default(), None);
    let mut live = (trial.kind == TrialKind::Enforce).then(|| Live::begin(&site.state));
    loop {
        // The countdown of a trial that this one took the place of may still be there for a moment.
        role = role.or_else(|| site.state.take(Role::Countdown).ok().flatten());
        let stop = tokio::select! {
            _ = ticks.tick() => false,
            _ = interrupt.recv() => true,
            _ = terminate.recv() => true,
            () = pressed(&mut enter) => {
                match control::confirm(site, who).await {
                    Ok(_) | Err(AgentError::NoTrial(_)) => {}
                    Err(error) => tell(&format!("can not confirm: {error}")),
                }
                enter = None;
                false
            }
        };
        if stop {
            return go_back(site, who).await;
        }
        match control::trial_state(site, trial).await {
            Ok(TrialState::Left(left)) => {
                if count_down(left, &mut told_s) {
                    live.iter_mut().flat_map(|live| live.lines(&site.state)).for_each(|line| tell(&line));
                }
            }
            Ok(TrialState::Confirmed) => {
                tell("confirmed: enforced for good");
                return Ok(FINE);
            }
            Ok(TrialState::Ended) => return Ok(ended(trial)),
            Err(error) => {
                tell(&format!("the trial can not be ended: {error}; trying again"));
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

fn begin(trial: &Trial, policy: &InForce, enter: bool) {
    let generation = policy.generation;
    match trial.kind {
        TrialKind::Enforce => {
            let press = if enter { ", or Enter here," } else { "" };
            tell(&format!(
                "generation {generation} enforces, on trial: `nodewall confirm`{press} keeps it; without, or with Ctrl-C, the policy before it comes back"
            ));
        }
        TrialKind::PanicOpen => tell(&format!(
            "THE NODE IS OPEN (generation {generation}): nothing is dropped, blocks are lifted; what was in force comes back by itself, and at once with Ctrl-C"
        )),
    }
}

fn ended(trial: &Trial) -> u8 {
    let mode = trial.back_to.desired.policy.mode;
    match trial.kind {
        TrialKind::Enforce => {
            tell(&format!("not confirmed: the policy before it is in force again, mode {mode}"));
            FAILED
        }
        TrialKind::PanicOpen => {
            tell(&format!("the panic-open is over: mode {mode} again"));
            FINE
        }
    }
}

async fn go_back(site: &Site, who: &Who) -> Result<u8, Failure> {
    match control::rollback_trial(site, who).await {
        Ok(Some(policy)) => tell(&format!("ended: generation {}, mode {}", policy.generation, policy.policy().mode)),
        Ok(None) => tell("it was over already"),
        Err(error) => return Err(error.into()),
    }
    Ok(FAILED)
}

/// Tells how long it goes on. Whether another second has passed.
fn count_down(left: Duration, told_s: &mut Told) -> bool {
    let left_s = left.as_millis().div_ceil(1_000) as u64;
    if told_s.seen_s == Some(left_s) {
        return false;
    }
    told_s.seen_s = Some(left_s);
    let text = humantime::format_duration(Duration::from_secs(left_s));
    if stderr().as_fd().is_terminal() {
        // The terminal may be gone at any moment; the countdown goes on.
        let left = format!("{text} left        ");
        let _ = stderr().write(&[Part::Mark(Mark::Return), Part::Text(&left), Part::Mark(Mark::Return)]);
    } else if told_s.line_s.is_none_or(|told| left_s + TELL_EVERY_S <= told) || left_s == 10 {
        tell(&format!("{text} left"));
        told_s.line_s = Some(left_s);
    }
    true
}

/// Seconds that were left when it was last told.
#[derive(Default)]
struct Told {
    seen_s: Option<u64>,
    line_s: Option<u64>,
}

pub(super) fn tell(text: &str) {
    // As above.
    let _ = stderr().line(text);
}

/// Tells when Enter is pressed; `None` where there is no terminal to press it on.
fn enter() -> Option<mpsc::Receiver<()>> {
    if !io::stdin().is_terminal() {
        return None;
    }
    let (sender, receiver) = mpsc::channel(1);
    // Ends with the process: a read can not be called off.
    std::thread::spawn(move || {
        let mut line = String::new();
        // No bytes: the terminal is gone, which confirms nothing.
        if io::stdin().lock().read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
            let _ = sender.blocking_send(());
        }
    });
    Some(receiver)
}

async fn pressed(enter: &mut Option<mpsc::Receiver<()>>) {
    match enter {
        Some(receiver) => {
            if receiver.recv().await.is_none() {
                std::future::pending::<()>().await;
            }
        }
        None => std::future::pending().await,
    }
}

/// A lost terminal, a background shell job or Ctrl-Z must not stop the countdown.
fn ignore_terminal_signals() {
    for number in [libc::SIGHUP, libc::SIGTTIN, libc::SIGTTOU, libc::SIGTSTP, libc::SIGPIPE] {
        // SAFETY: SIG_IGN runs no code of ours, and nothing else in this process handles these signals.
        unsafe { libc::signal(number, libc::SIG_IGN) };
    }
}
