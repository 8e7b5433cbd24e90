//! The exporters' thread: started, started anew under another configuration, ended. Must not know what is served.

use std::{sync::Arc, thread::JoinHandle};

use tokio::sync::oneshot;

use super::{address::Address, alarm::Alarm, keys::Keys, listener, live::Roots};
use nodewall_host::state::Stamp;
use nodewall_policy::config;

/// The exporters of one agent. They end when it is dropped.
pub struct Exporters {
    roots: Roots,
    keys: Arc<Keys>,
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
    pub fn start(roots: Roots, export: &config::Export) -> Self {
        let keys = Arc::new(Keys::new(roots.state.clone()));
        let mut exporters =
            Self { roots, keys, configured: Configured::now(export), alarm: Alarm::default(), thread: None };
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
        self.alarm.get()
    }

    fn spawn(&mut self) {
        self.alarm.set(None);
        let export = &self.configured.export;
        let Some(listen) = export.listen else {
            return Address::new(export, 0).note(&self.roots.state);
        };
        let (roots, keys, export, alarm) = (self.roots.clone(), self.keys.clone(), export.clone(), self.alarm.clone());
        let (stop, stopped) = oneshot::channel();
        let work = move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return alarm.set(Some(format!("metrics and page are not served: {error}"))),
            };
            runtime.block_on(async {
                tokio::select! {
                    // An error is that the agent is gone.
                    _ = stopped => {}
                    () = listener::serve(listen, &roots, &keys, &export, &alarm) => {}
                }
            });
            runtime.shutdown_background();
        };
        match std::thread::Builder::new().name("export".into()).stack_size(STACK_BYTES).spawn(work) {
            Ok(handle) => self.thread = Some(Thread { stop, handle }),
            Err(error) => self.alarm.set(Some(format!("metrics and page are not served: {error}"))),
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
