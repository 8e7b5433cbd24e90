//! The recorder: a thread of the agent's that sweeps the kernel's tables once a second, gathers, and appends to the store. Whatever fails, the filter goes
//! on; what could not be recorded is counted, in the store as soon as there is one. It must not hold the agent.

mod book;
mod flows;
mod happenings;
mod live;
mod notes;
mod problems;

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use self::book::Book;
use super::store::Limits;
use nodewall_datapath::CaptureBudget;
use nodewall_host::state::StateDir;
use nodewall_policy::config;

/// How often the kernel's tables are looked at.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// Deep enough for `SQLite`.
const STACK_BYTES: usize = 1 << 20;

/// What is recorded, and how much of it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Of the store.
    pub limits: Limits,
    /// Of captures.
    pub budget: CaptureBudget,
    /// Where records go besides.
    pub outputs: Vec<config::EvidenceOutput>,
}

/// Why nothing is recorded.
type Alarm = Arc<Mutex<Option<String>>>;

impl Settings {
    /// Those of a configuration; `None`: nothing is recorded.
    pub fn wanted(evidence: &config::Evidence) -> Option<Self> {
        let max_age_ns = u64::try_from(evidence.max_age.as_nanos()).unwrap_or(u64::MAX);
        evidence.enabled.then_some(Self {
            limits: Limits { max_bytes: evidence.max_bytes, max_age_ns },
            budget: CaptureBudget { snap_bytes: evidence.capture_bytes, per_second: evidence.captures_per_second },
            outputs: evidence.outputs.clone(),
        })
    }
}

enum Word {
    Configure(Settings),
    Stop,
}

/// The running recorder. Dropping it ends it: what was gathered is written first.
#[derive(Debug)]
pub struct Recorder {
    words: Sender<Word>,
    alarm: Alarm,
    thread: Option<JoinHandle<()>>,
}

impl Recorder {
    /// Starts it.
    pub fn start(state: StateDir, bpffs: PathBuf, settings: Settings) -> io::Result<Self> {
        let (words, heard) = channel();
        let alarm = Alarm::default();
        let told = Arc::clone(&alarm);
        let work = move || run(Book::new(state, bpffs, settings, told), &heard);
        let thread = std::thread::Builder::new().name("evidence".into()).stack_size(STACK_BYTES).spawn(work)?;
        Ok(Self { words, alarm, thread: Some(thread) })
    }

    /// Records by other settings from now on.
    pub fn configure(&self, settings: Settings) {
        // One that has ended is told of by `alarm`.
        drop(self.words.send(Word::Configure(settings)));
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
        drop(self.words.send(Word::Stop));
        if let Some(thread) = self.thread.take() {
            // One that panicked has said so.
            drop(thread.join());
        }
    }
}

fn run(mut book: Book, heard: &Receiver<Word>) {
    book.begin();
    loop {
        match heard.recv_timeout(SWEEP_EVERY) {
            Err(RecvTimeoutError::Timeout) => book.turn(),
            Ok(Word::Configure(settings)) => book.configure(settings),
            Ok(Word::Stop) | Err(RecvTimeoutError::Disconnected) => return book.end(),
        }
    }
}
