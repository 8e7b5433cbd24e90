//! Where evidence goes besides the store: a thread for each output, with a bounded queue before it. Whoever hands lines over is never held up; what finds no
//! room is counted. It must not read the store, and nothing in the filter depends on it.

mod file;
mod journald;
mod message;
mod queue;
mod stdout;
mod syslog;

use std::{
    io,
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{ecs::Lines, node::Node, record::Batch};
use nodewall_policy::config::EvidenceOutput;
use nodewall_text::hex;

use journald::{Journald, SOCKET};
use message::{Message, Output, SendError};
pub use queue::{OutputStatus, QUEUE_BYTES};
use queue::{Queue, Received};

/// After the first failure; each further one doubles it.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// All outputs of a configuration.
#[derive(Debug)]
pub struct Outputs {
    lines: Lines,
    running: Vec<Running>,
}

#[derive(Debug)]
struct Running {
    queue: Arc<Queue>,
    wants_chain_head: bool,
    thread: Option<JoinHandle<()>>,
}

impl Outputs {
    /// Starts a thread for each. What an output needs is looked for by its thread: one that is away is waited for.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub fn start(outputs: &[EvidenceOutput], node: &Node) -> io::Result<Self> {
        let running = outputs.iter().map(|output| {
            let (name, output): (_, Box<dyn Output>) = match output {
                EvidenceOutput::File { path, max_bytes, keep } => {
                    (format!("file {}", path.display()), Box::new(file::Files::new(path.clone(), *max_bytes, *keep)))
                }
                EvidenceOutput::Stdout => ("stdout".to_owned(), Box::new(stdout::Stdout)),
                EvidenceOutput::Journald => ("journald".to_owned(), Box::new(Journald::at(Path::new(SOCKET)))),
                EvidenceOutput::Syslog(syslog) => (
                    format!("syslog {} {}:{}", syslog.transport, syslog.host, syslog.port),
                    Box::new(syslog::Sender::new(syslog.clone(), node.clone())),
                ),
            };
            Running::start(name, output)
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
        let head = hex(head);
        for running in self.running.iter().filter(|running| running.wants_chain_head) {
            running.queue.put(Message::ChainHead { unix_ns, seq, head: head.clone() });
        }
    }

    /// How each is doing, in the configuration's order.
    pub fn status(&self) -> Vec<OutputStatus> {
        self.running.iter().map(|running| running.queue.status()).collect()
    }

    /// Ends them: what waits is sent if that can be done in this time, else it is counted as lost. Says how each stood at the end.
    pub fn finish(mut self, within: Duration) -> Vec<OutputStatus> {
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
        self.status()
    }
}

impl Running {
    fn start(name: String, mut output: Box<dyn Output>) -> io::Result<Self> {
        let queue = Arc::new(Queue::new(name));
        let (theirs, wants_chain_head) = (Arc::clone(&queue), output.wants_chain_head());
        let thread = thread::Builder::new().name("output".to_owned()).spawn(move || {
            work(&theirs, output.as_mut());
            theirs.ended();
        })?;
        Ok(Self { queue, wants_chain_head, thread: Some(thread) })
    }
}

/// Sends what comes until the queue is closed and empty. A message leaves the queue when it is sent, or when it never will be.
fn work(queue: &Queue, output: &mut dyn Output) {
    let mut wait = FIRST_WAIT;
    loop {
        let outcome = match queue.next() {
            Received::Closed => {
                let _ = output.idle();
                return;
            }
            Received::Nothing => output.idle().map_err(SendError::Later),
            Received::Message(message) => output.send(&message).map(|()| queue.sent()),
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
