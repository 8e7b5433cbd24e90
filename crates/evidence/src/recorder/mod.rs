//! The recorder: a thread of the agent's that sweeps the kernel's tables once a second, gathers, and appends to the store. Whatever fails, the filter goes
//! on; what could not be recorded is counted, in the store as soon as there is one. It must not hold the agent, and knows of the kernel only what
//! [`InForce`] shows.

mod accounts;
mod data_path;
mod events;
mod flows;
mod in_force;
mod ledger_keeper;
mod previous_run;
mod problems;
mod settings;
mod status;
mod worker;

use std::{
    io,
    sync::{
        PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::JoinHandle,
    time::Duration,
};

pub use in_force::{CaptureBudget, DataPath, Failure, InForce, PolicyInForce, RawCapture, Sweep};
pub use settings::Settings;
pub use status::RecorderStatus;

use self::{problems::Alarm, worker::Worker};
use nodewall_host::state::StateDir;

/// How often the kernel's tables are looked at.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// Deep enough for `SQLite`.
const STACK_BYTES: usize = 1 << 20;

enum Command {
    Configure(Settings),
    Stop,
}

/// The running recorder. Dropping it ends it: what was gathered is written first.
#[derive(Debug)]
pub struct Recorder {
    commands: Sender<Command>,
    alarm: Alarm,
    thread: Option<JoinHandle<()>>,
}

impl Recorder {
    /// Starts it.
    pub fn start(state: StateDir, in_force: Box<dyn InForce>, settings: Settings) -> io::Result<Self> {
        let (commands, received) = channel();
        let alarm = Alarm::default();
        let raised = Alarm::clone(&alarm);
        let work = move || run(Worker::new(state, in_force, settings, raised), &received);
        let thread = std::thread::Builder::new().name("evidence".into()).stack_size(STACK_BYTES).spawn(work)?;
        Ok(Self { commands, alarm, thread: Some(thread) })
    }

    /// Records by other settings from now on.
    pub fn configure(&self, settings: Settings) {
        // One that has ended is told of by `alarm`.
        drop(self.commands.send(Command::Configure(settings)));
    }

    /// Why nothing is recorded.
    pub fn alarm(&self) -> Option<String> {
        if self.thread.as_ref().is_some_and(JoinHandle::is_finished) {
            return Some("evidence is not recorded any more: its thread ended; restart the agent and report it".into());
        }
        self.alarm.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        drop(self.commands.send(Command::Stop));
        if let Some(thread) = self.thread.take() {
            // One that panicked has said so.
            drop(thread.join());
        }
    }
}

fn run(mut worker: Worker, commands: &Receiver<Command>) {
    worker.begin();
    loop {
        match commands.recv_timeout(SWEEP_EVERY) {
            Err(RecvTimeoutError::Timeout) => worker.turn(),
            Ok(Command::Configure(settings)) => worker.configure(settings),
            Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => return worker.end(),
        }
    }
}

#[cfg(test)]
mod tests;
