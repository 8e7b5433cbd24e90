//! The foreground agent: applies, then watches signals, the configuration file, the network, the state directory and the data path. Its end leaves
//! enforcement in place. Whatever fails, the last good policy stands and the reason is logged.

use std::time::Duration;
use std::time::Instant;

use tokio::signal::unix::Signal;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

use super::{back_off::RefusedStarts, keeper::Keeper, notify::Notify, peer_watch::SourceAnswer, start::Start};
use crate::{
    control::{change::Site, error::AgentError},
    export::Address,
};
use nodewall_host::net::{LinkWatch, NetError};
use nodewall_policy::config::{Config, ConfigErrors};

/// Link and address changes come in bursts (an interface appears, goes up, gets addresses): look at the addresses once.
const SETTLE: Duration = Duration::from_millis(20);
/// Wait before a failed network watch is opened again.
const WATCH_RETRY: Duration = Duration::from_secs(1);
/// How often the data path, the state directory and the configuration file are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Why the loop woke up.
enum Wake {
    Stop(&'static str),
    Reload,
    Network,
    Settled,
    Look,
    /// Sources of peers answered.
    Peers(Vec<SourceAnswer>),
    /// The in-kernel log ended, which it never does.
    Log,
}

/// Runs until SIGTERM or SIGINT.
pub async fn run<R>(site: Site, start: Start<R>) -> Result<(), AgentError>
where
    R: Fn() -> Result<Config, ConfigErrors>,
{
    let _agent = site.state.lock_agent()?;
    // The note of the agent before this one: in a container that has the same process id.
    site.state.forget_note::<Address>();
    let mut signals = Signals::new()?;
    let mut watch = LinkWatch::new()?;
    let state = site.state.clone();
    let mut agent = Keeper::new(site, start).await?;
    state.forget_note::<RefusedStarts>();
    let mut notify = Notify::from_environment();
    notify.status(agent.summary());
    notify.ready();
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut settled: Option<tokio::time::Instant> = None;
    loop {
        let settle = async {
            match settled {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let wake = tokio::select! {
            // In this order: a storm of network events must not keep a signal or a look waiting.
            biased;
            _ = signals.terminate.recv() => Wake::Stop("SIGTERM"),
            _ = signals.interrupt.recv() => Wake::Stop("SIGINT"),
            _ = signals.hangup.recv() => Wake::Reload,
            () = settle => Wake::Settled,
            _ = ticks.tick() => Wake::Look,
            changed = watch.changed() => {
                if let Err(error) = changed {
                    reopen(&mut watch, &error).await;
                }
                Wake::Network
            }
            heard = agent.peers.heard() => Wake::Peers(heard),
            () = &mut agent.log => Wake::Log,
        };
        match wake {
            Wake::Stop(signal) => {
                notify.stopping();
                agent.quiet().await;
                tracing::info!("{signal}: the agent ends, enforcement stays in place (`nodewall detach` removes it)");
                return Ok(());
            }
            Wake::Network => {
                agent.cover(Instant::now()).await;
                settled.get_or_insert(tokio::time::Instant::now() + SETTLE);
            }
            Wake::Settled => {
                settled = None;
                agent.settle().await;
            }
            Wake::Reload => {
                notify.reloading();
                agent.reload().await;
                notify.ready();
            }
            Wake::Look => {
                agent.look().await;
                // Here and nowhere else: the loop came round, and the look at the data path came to its end.
                notify.alive();
            }
            Wake::Peers(heard) => agent.learn(heard).await,
            Wake::Log => {}
        }
        agent.save_health();
        notify.status(agent.summary());
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

async fn reopen(watch: &mut LinkWatch, error: &NetError) {
    tracing::error!("the watch for network changes failed: {error}; opening it again");
    tokio::time::sleep(WATCH_RETRY).await;
    match LinkWatch::new() {
        Ok(new) => *watch = new,
        Err(error) => tracing::error!("network changes are not watched: {error}"),
    }
}
