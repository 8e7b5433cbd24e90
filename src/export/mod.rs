//! What the agent serves: metrics, health, the API and the page, on a thread of its own. It only reads (pinned maps, the state directory) through
//! `src/view`, so nothing that a client does can hold the agent. With `src/peers` the only place that opens sockets.

mod api;
mod connections;
mod events;
mod gate;
mod kernel;
mod listener;
mod live;
mod metrics;
mod page;
pub mod push;
mod reply;
mod tls;
mod token;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};

use tokio::sync::oneshot;

pub use metrics::{ALL as METRICS, Kind, Metric};
pub use token::{Address, Token};

use nodewall_host::state::{Stamp, StateDir};
use nodewall_policy::config;

/// Where what is shown is read.
#[derive(Clone, Debug)]
pub struct Place {
    /// The agent's.
    pub state: StateDir,
    /// The pins.
    pub bpffs: PathBuf,
}

/// What keeps the exporters from working; told by `status`.
type Alarm = Arc<Mutex<Option<String>>>;

/// The exporters of one agent. They end when it is dropped.
pub struct Exporters {
    place: Place,
    configured: Configured,
    alarm: Alarm,
    thread: Option<Thread>,
}

/// A configuration, and the files it names as they were.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Configured {
    export: config::Export,
    files: Vec<Option<Stamp>>,
}

impl Configured {
    fn now(export: &config::Export) -> Self {
        let files = export.tls.iter().flat_map(|tls| [&tls.cert, &tls.key]).map(|path| Stamp::of(path)).collect();
        Self { export: export.clone(), files }
    }
}

struct Thread {
    stop: oneshot::Sender<()>,
    handle: JoinHandle<()>,
}

/// A scrape is far from this deep.
const STACK_BYTES: usize = 1 << 20;

impl Exporters {
    /// Starts them. What fails is an alarm, and tried again.
    pub fn start(place: Place, export: &config::Export) -> Self {
        let mut exporters = Self { place, configured: Configured::now(export), alarm: Alarm::default(), thread: None };
        exporters.spawn();
        exporters
    }

    /// Starts anew under another configuration, or when a certificate was renewed.
    pub fn configure(&mut self, export: &config::Export) {
        let configured = Configured::now(export);
        if configured != self.configured {
            self.stop();
            self.configured = configured;
            self.spawn();
        }
    }

    /// Why they do not work.
    pub fn alarm(&self) -> Option<String> {
        if self.thread.as_ref().is_some_and(|thread| thread.handle.is_finished()) {
            return Some(
                "metrics and page are not served any more: their thread ended; restart the agent and report it".into(),
            );
        }
        self.alarm.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn spawn(&mut self) {
        set(&self.alarm, None);
        let export = &self.configured.export;
        let host = export.hosts.first().cloned();
        let address = Address { pid: std::process::id(), listen: export.listen, host, tls: export.tls.is_some() };
        if let Err(error) = self.place.state.write_note(&address) {
            tracing::warn!(
                "{}: where the agent listens could not be noted: {error}",
                self.place.state.path().display()
            );
        }
        let Some(listen) = export.listen else { return };
        let (place, export, alarm) = (self.place.clone(), export.clone(), self.alarm.clone());
        let (stop, stopped) = oneshot::channel();
        let work = move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return set(&alarm, Some(format!("metrics and page are not served: {error}"))),
            };
            runtime.block_on(async {
                tokio::select! {
                    // An error is that the agent is gone.
                    _ = stopped => {}
                    () = listener::serve(listen, &place, &export, &alarm) => {}
                }
            });
            runtime.shutdown_background();
        };
        match std::thread::Builder::new().name("export".into()).stack_size(STACK_BYTES).spawn(work) {
            Ok(handle) => self.thread = Some(Thread { stop, handle }),
            Err(error) => set(&self.alarm, Some(format!("metrics and page are not served: {error}"))),
        }
    }

    /// Ends the thread, so that its address is free.
    fn stop(&mut self) {
        if let Some(Thread { stop, handle }) = self.thread.take() {
            drop(stop);
            if handle.join().is_err() {
                tracing::error!("the exporters ended by a defect; please report it");
            }
        }
    }
}

impl Drop for Exporters {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Logged when it begins.
fn set(alarm: &Alarm, now: Option<String>) {
    let mut alarm = alarm.lock().unwrap_or_else(PoisonError::into_inner);
    if *alarm != now {
        if let Some(text) = &now {
            tracing::error!("{text}");
        } else {
            tracing::info!("metrics and page are served again");
        }
        *alarm = now;
    }
}
