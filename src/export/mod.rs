//! What leaves the node: exporters on a thread of their own, so that nothing they wait for can hold the agent. They read what `view` reads, and the state
//! directory. Must not put anything into force.

mod kernel;
pub mod push;

use std::{
    io,
    thread::{self, JoinHandle},
};

use tokio::sync::watch;

use crate::{agent::Site, config::Config};

/// The exporters of a configuration. Dropping it ends them: an answer that is under way is waited for, shortly.
#[derive(Debug)]
pub struct Exporters {
    shutdown: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Exporters {
    /// Starts them, once those of the configuration before have ended; `None` where the configuration wants none.
    pub fn start(site: &Site, config: &Config, before: Option<Self>) -> io::Result<Option<Self>> {
        let push = config.push.clone();
        if push.is_none() && before.is_none() {
            return Ok(None);
        }
        if let Some(before) = &before {
            before.shutdown.send_replace(true);
        }
        let (shutdown, stop) = watch::channel(false);
        let (state, mut kernel) = (site.state.clone(), kernel::Kernel::new(site.bpffs.clone()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new().name("exporters".into()).spawn(move || {
            // Here, not in the agent: it must not wait.
            drop(before);
            if let Some(push) = push {
                runtime.block_on(push::run(&push, &state, || kernel.read().map_err(|error| error.to_string()), stop));
            }
            // Does not wait for a name that is being looked up.
            runtime.shutdown_background();
        })?;
        Ok(Some(Self { shutdown, thread: Some(thread) }))
    }
}

impl Drop for Exporters {
    fn drop(&mut self) {
        self.shutdown.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // One that panicked has said so.
            drop(thread.join());
        }
    }
}
