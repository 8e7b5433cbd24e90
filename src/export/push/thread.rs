//! The thread of the push, so that nothing it waits for can hold the agent or who reads the counters. Must not know when it sends.

use std::{
    io,
    path::PathBuf,
    thread::{self, JoinHandle},
};

use tokio::sync::watch;

use super::{super::kernel::Kernel, run};
use nodewall_host::state::StateDir;
use nodewall_policy::config;

/// The push of a configuration. Dropping it ends it: an answer that is under way is waited for, shortly.
#[derive(Debug)]
pub struct Pusher {
    shutdown: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Pusher {
    /// Starts it, once that of the configuration before has ended; `None` where the configuration wants none.
    pub fn start(
        state: StateDir,
        bpffs: PathBuf,
        push: Option<config::Push>,
        before: Option<Self>,
    ) -> io::Result<Option<Self>> {
        if push.is_none() && before.is_none() {
            return Ok(None);
        }
        if let Some(before) = &before {
            before.shutdown.send_replace(true);
        }
        let (shutdown, stop) = watch::channel(false);
        let mut kernel = Kernel::new(bpffs);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new().name("push".into()).spawn(move || {
            // Here, not in the agent: it must not wait.
            drop(before);
            if let Some(push) = push {
                runtime.block_on(run(&push, &state, || kernel.read().map_err(|error| error.to_string()), stop));
            }
            // Does not wait for a name that is being looked up.
            runtime.shutdown_background();
        })?;
        Ok(Some(Self { shutdown, thread: Some(thread) }))
    }
}

impl Drop for Pusher {
    fn drop(&mut self) {
        self.shutdown.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // One that panicked has said so.
            drop(thread.join());
        }
    }
}
