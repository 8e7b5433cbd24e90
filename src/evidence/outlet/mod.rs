//! Where evidence goes besides the store: a thread for each output, with a bounded queue before it. Whoever hands lines over is never held up; what finds no
//! room is counted. It must not read the store, and nothing in the filter depends on it.

mod file;
mod journald;
mod queue;
mod stdout;
mod syslog;

use std::{
    io,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{ecs::Lines, node::Node, record::Batch};
use nodewall_policy::config::EvidenceOutput;

use queue::{Next, Queue};
pub use queue::{QUEUE_BYTES, Standing};

/// After the first failure; each further one doubles it.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What an output is given.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Message {
    /// A record, as a line of JSON.
    Record {
        /// When it was put together.
        unix_ns: u64,
        /// Something is missing.
        is_loss: bool,
        /// Without an end of line.
        line: Arc<str>,
    },
    /// The head of the store's chain, for those who want it.
    ChainHead {
        /// When it was so.
        unix_ns: u64,
        /// The last batch.
        seq: u64,
        /// Its hash, in hexadecimal.
        head: String,
    },
}

impl Message {
    fn bytes(&self) -> usize {
        let text = match self {
            Self::Record { line, .. } => line.len(),
            Self::ChainHead { head, .. } => head.len(),
        };
        text + size_of::<Self>()
    }
}

/// Why a message was not taken.
enum SendError {
    /// It may be taken later.
    Later(io::Error),
    /// It never will be.
    Never(io::Error),
}

impl From<io::Error> for SendError {
    fn from(error: io::Error) -> Self {
        Self::Later(error)
    }
}

trait Outlet: Send {
    /// Hands one message over. After an error it may be given again, and must not be half there.
    fn send(&mut self, message: &Message) -> Result<(), SendError>;

    /// Nothing more comes for a while. Also called now and then while there is nothing to send.
    fn idle(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Whether it has use for the chain's head.
    fn wants_chain_head(&self) -> bool {
        false
    }
}

/// All outputs of a configuration.
#[derive(Debug)]
pub struct Outlets {
    lines: Lines,
    running: Vec<Running>,
}

#[derive(Debug)]
struct Running {
    queue: Arc<Queue>,
    wants_chain_head: bool,
    thread: Option<JoinHandle<()>>,
}

impl Outlets {
    /// Starts a thread for each. What an output needs is looked for by its thread: one that is away is waited for.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub fn start(outputs: &[EvidenceOutput], node: &Node) -> io::Result<Self> {
        let running = outputs.iter().map(|output| {
            let (name, outlet): (_, Box<dyn Outlet>) = match output {
                EvidenceOutput::File { path, max_bytes, keep } => {
                    (format!("file {}", path.display()), Box::new(file::Files::new(path.clone(), *max_bytes, *keep)))
                }
                EvidenceOutput::Stdout => ("stdout".to_owned(), Box::new(stdout::Stdout)),
                EvidenceOutput::Journald => ("journald".to_owned(), Box::new(journald::Journald::system())),
                EvidenceOutput::Syslog(syslog) => (
                    format!("syslog {} {}:{}", syslog.transport, syslog.host, syslog.port),
                    Box::new(syslog::Sender::new(syslog.clone(), node.clone())),
                ),
            };
            Running::start(name, outlet)
        });
        Ok(Self { lines: Lines::new(node.clone()), running: running.collect::<io::Result<_>>()? })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Hands every record of a stored batch to every output. Does not wait.
    pub fn send(&self, seq: u64, batch: &Batch) {
        if self.is_empty() {
            return;
        }
        let before = batch.flows.len() + batch.captures.len();
        let losses = before..before + batch.losses.len();
        for (place, line) in self.lines.of_batch(seq, batch).into_iter().enumerate() {
            let message =
                Message::Record { unix_ns: batch.unix_ns, is_loss: losses.contains(&place), line: line.into() };
            self.running.iter().for_each(|running| running.queue.put(message.clone()));
        }
    }

    /// Tells the chain's head to those outputs that take it. Does not wait.
    pub fn chain_head(&self, unix_ns: u64, seq: u64, head: &[u8; 32]) {
        let head: String = head.iter().map(|byte| format!("{byte:02x}")).collect();
        for running in self.running.iter().filter(|running| running.wants_chain_head) {
            running.queue.put(Message::ChainHead { unix_ns, seq, head: head.clone() });
        }
    }

    /// How each is doing, in the configuration's order.
    pub fn standing(&self) -> Vec<Standing> {
        self.running.iter().map(|running| running.queue.standing()).collect()
    }

    /// Ends them: what waits is sent if that can be done in this time, else it is counted as lost. Says how each stood at the end.
    pub fn finish(mut self, within: Duration) -> Vec<Standing> {
        let end = Instant::now() + within;
        self.running.iter().for_each(|running| running.queue.close());
        for running in &mut self.running {
            running.queue.wait_for_end(end);
            if let Some(thread) = running.thread.take().filter(JoinHandle::is_finished) {
                // A thread that broke off has told the panic hook.
                let _ = thread.join();
            }
            running.queue.give_up();
        }
        self.standing()
    }
}

impl Running {
    fn start(name: String, mut outlet: Box<dyn Outlet>) -> io::Result<Self> {
        let queue = Arc::new(Queue::new(name));
        let (theirs, wants_chain_head) = (Arc::clone(&queue), outlet.wants_chain_head());
        let thread = thread::Builder::new().name("outlet".to_owned()).spawn(move || {
            work(&theirs, outlet.as_mut());
            theirs.ended();
        })?;
        Ok(Self { queue, wants_chain_head, thread: Some(thread) })
    }
}

/// Sends what comes until the queue is closed and empty. A message leaves the queue when it is sent, or when it never will be.
fn work(queue: &Queue, outlet: &mut dyn Outlet) {
    let mut wait = FIRST_WAIT;
    loop {
        let outcome = match queue.next() {
            Next::Closed => {
                let _ = outlet.idle();
                return;
            }
            Next::Nothing => outlet.idle().map_err(SendError::Later),
            Next::Message(message) => outlet.send(&message).map(|()| queue.sent()),
        };
        match outcome {
            Ok(()) => {
                wait = FIRST_WAIT;
                queue.works();
            }
            Err(SendError::Never(error)) => queue.refused(&error.to_string()),
            Err(SendError::Later(error)) => {
                queue.fails(&error.to_string());
                if !queue.wait(wait) {
                    return;
                }
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        }
    }
}
