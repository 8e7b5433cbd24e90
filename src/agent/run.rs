//! The foreground agent: applies, then watches. Its end leaves enforcement in place. A reload or a change of the host's network goes through the same
//! `apply` as the start; when that fails, the last good policy stands and the reason is logged.

use std::{pin::Pin, time::Duration};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{
    apply::{Applied, Cause, Outcome, Settings, apply, surroundings},
    error::AgentError,
    state::StateDir,
    warnings,
};
use crate::{
    config::{ConfigErrors, Mode},
    datapath,
    net::{LinkWatch, NetError},
};

/// Link and address changes come in bursts (an interface appears, goes up, gets addresses): act once.
const SETTLE: Duration = Duration::from_millis(20);
/// Wait before a failed network watch is opened again.
const WATCH_RETRY: Duration = Duration::from_secs(1);

/// Why the loop woke up.
enum Wake {
    Stop(&'static str),
    Reload,
    Network,
}

/// Runs until SIGTERM or SIGINT. `reload` reads the configuration anew for SIGHUP.
pub async fn run(
    mut settings: Settings,
    state: &StateDir,
    reload: impl Fn() -> Result<crate::config::Config, ConfigErrors>,
) -> Result<(), AgentError> {
    let _agent = state.lock_agent()?;
    let mut signals = Signals::new()?;
    let mut watch = LinkWatch::new()?;
    let mut applied = apply(&settings, state, Cause::Operator).await?;
    announce(&applied);
    // Also of a failed attempt: it is not made again before something else changes.
    let mut seen = applied.surroundings.clone();
    let mut log = kernel_log(&settings, &mut applied)?;
    loop {
        let wake = tokio::select! {
            wake = wait(&mut signals, &mut watch) => wake,
            // Never ends.
            () = &mut log => continue,
        };
        match wake {
            Wake::Stop(signal) => {
                quiet(&settings, state).await;
                tracing::info!("{signal}: the agent ends, enforcement stays in place (`nodewall detach` removes it)");
                return Ok(());
            }
            Wake::Reload => match reload() {
                Ok(config) => {
                    let next = Settings { config, ..settings.clone() };
                    if let Some(done) = attempt(&next, state, Cause::Operator, "reload").await {
                        settings = next;
                        applied = done;
                        seen = applied.surroundings.clone();
                        log = kernel_log(&settings, &mut applied)?;
                        announce(&applied);
                    }
                }
                Err(errors) => tracing::error!("reload refused, the last good policy stays in force: {errors}"),
            },
            Wake::Network => {
                let now = match surroundings(&settings, state).await {
                    Ok(now) => now,
                    Err(error) => {
                        tracing::error!("the network changed, and it can not be judged how: {error}");
                        continue;
                    }
                };
                // Our own attachments are such events, too.
                if now == seen {
                    continue;
                }
                seen = now;
                if let Some(done) = attempt(&settings, state, Cause::Network, "network change").await {
                    applied = done;
                    seen = applied.surroundings.clone();
                    log = kernel_log(&settings, &mut applied)?;
                    announce_interfaces(&applied);
                }
            }
        }
    }
}

async fn attempt(settings: &Settings, state: &StateDir, cause: Cause, what: &str) -> Option<Applied> {
    apply(settings, state, cause)
        .await
        .inspect_err(|error| tracing::error!("{what}: not applied, the last good policy stays in force: {error}"))
        .ok()
}

/// Prints the in-kernel log of the program that was just loaded; waits for ever where there is none.
fn kernel_log(settings: &Settings, applied: &mut Applied) -> Result<Pin<Box<dyn Future<Output = ()>>>, AgentError> {
    if settings.kernel_log {
        Ok(Box::pin(datapath::forward_kernel_log(&mut applied.loaded)?))
    } else {
        Ok(Box::pin(std::future::pending()))
    }
}

/// Replaces a logging program by a silent one: without a reader its records would only cost.
async fn quiet(settings: &Settings, state: &StateDir) {
    if settings.kernel_log && !state.is_detached() {
        attempt(
            &Settings { kernel_log: false, ..settings.clone() },
            state,
            Cause::Network,
            "turning the in-kernel log off",
        )
        .await;
    }
}

fn announce(applied: &Applied) {
    announce_interfaces(applied);
    let state = match applied.policy.mode {
        Mode::Enforce => "policy enforced",
        Mode::Audit => "policy audited, nothing is dropped",
    };
    tracing::info!(
        generation = applied.generation,
        classes = applied.policy.classes.len(),
        peers = applied.policy.peers.len(),
        interfaces = applied.interfaces.len(),
        config = %applied.policy.source.config,
        "{state}"
    );
    let warnings = warnings(applied);
    tokio::spawn(async {
        for warning in warnings.await {
            tracing::warn!("{warning}");
        }
    });
}

fn announce_interfaces(applied: &Applied) {
    for interface in &applied.interfaces {
        match interface.outcome {
            Outcome::Attached => tracing::info!(interface = interface.name, "attached"),
            Outcome::Replaced => tracing::debug!(interface = interface.name, "program replaced"),
        }
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> Result<Self, AgentError> {
        let listen = |kind| signal(kind).map_err(AgentError::io("can not listen for signals"));
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }
}

async fn wait(signals: &mut Signals, watch: &mut LinkWatch) -> Wake {
    tokio::select! {
        _ = signals.terminate.recv() => Wake::Stop("SIGTERM"),
        _ = signals.interrupt.recv() => Wake::Stop("SIGINT"),
        _ = signals.hangup.recv() => Wake::Reload,
        changed = watch.changed() => {
            if let Err(error) = changed {
                reopen(watch, &error).await;
            }
            tokio::time::sleep(SETTLE).await;
            Wake::Network
        }
    }
}

async fn reopen(watch: &mut LinkWatch, error: &NetError) {
    tracing::error!("the watch for network changes failed: {error}; opening it again");
    tokio::time::sleep(WATCH_RETRY).await;
    match LinkWatch::new() {
        Ok(new) => *watch = new,
        Err(error) => tracing::error!("network changes are not watched: {error}"),
    }
}
