//! Lines that wait for an output: bounded, so that one that is away costs a known amount of memory. It must not send anything.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::message::Message;
use nodewall_host::state::Clock;

/// Most that waits for one output: about 16,000 records.
pub const QUEUE_BYTES: usize = 16 << 20;
/// How often an output is asked for its own troubles while there is nothing to send.
const IDLE: Duration = Duration::from_secs(1);

/// A receiver that starts anew is none.
const PROBLEM_AFTER: Duration = Duration::from_secs(120);

/// How an output is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputStatus {
    /// Which.
    pub name: String,
    /// Lines handed over since the start.
    pub sent: u64,
    /// Lines that could not be: no room was left for them, the output can not take them, or the end came first.
    pub lost: u64,
    /// Lines that wait.
    pub waiting: u64,
    /// Why it takes nothing at present.
    pub error: Option<String>,
    /// Since when it takes nothing, Unix time, ns; `null`: it works.
    #[serde(default)]
    pub failing_since_unix_ns: Option<u64>,
    /// The same by the clock that cannot be set.
    #[serde(default)]
    pub failing_since: Option<Clock>,
}

impl OutputStatus {
    /// What an operator should look at: an output that takes nothing for minutes.
    pub fn problem(&self, now: &Clock) -> Option<String> {
        let failing = Duration::from_secs(now.since(self.failing_since.as_ref()?).as_secs());
        (failing >= PROBLEM_AFTER).then(|| {
            format!(
                "the evidence output {} takes nothing for {}: {}; {} lines wait, {} are lost; look at its receiver, or take the output out of [[evidence.output]]",
                self.name,
                humantime::format_duration(failing),
                self.error.as_deref().unwrap_or("it does not say why"),
                self.waiting,
                self.lost,
            )
        })
    }
}

pub(super) enum Received {
    Message(Message),
    /// For a while.
    Nothing,
    /// Nothing will come any more.
    Closed,
}

#[derive(Debug)]
pub(super) struct Queue {
    name: String,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    /// What waits is still sent.
    Closed,
    /// Nothing is.
    GivenUp,
}

#[derive(Debug, Default)]
struct State {
    messages: VecDeque<Message>,
    bytes: usize,
    sent: u64,
    lost: u64,
    error: Option<String>,
    failing_since: Option<Clock>,
    /// It was full at the last try: told once.
    is_full: bool,
    phase: Phase,
    /// The thread is done.
    ended: bool,
}

impl Queue {
    pub(super) fn new(name: String) -> Self {
        Self { name, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Takes a message if there is room, else counts it.
    pub(super) fn put(&self, message: Message) {
        let mut state = self.lock();
        if state.phase != Phase::Open || state.bytes + message.bytes() > QUEUE_BYTES {
            state.lost += 1;
            if !std::mem::replace(&mut state.is_full, true) {
                tracing::warn!(
                    "evidence output {}: no more room for what waits; lines are lost from here on",
                    self.name
                );
            }
            return;
        }
        state.is_full = false;
        state.bytes += message.bytes();
        state.messages.push_back(message);
        self.changed.notify_all();
    }

    /// The oldest message; it stays until [`Self::sent`] or [`Self::refused`].
    pub(super) fn next(&self) -> Received {
        let state = self.lock();
        let waits = |state: &mut State| state.messages.is_empty() && state.phase == Phase::Open;
        let (state, _) = self.changed.wait_timeout_while(state, IDLE, waits).unwrap_or_else(PoisonError::into_inner);
        match state.messages.front() {
            _ if state.phase == Phase::GivenUp => Received::Closed,
            Some(message) => Received::Message(message.clone()),
            None if state.phase == Phase::Closed => Received::Closed,
            None => Received::Nothing,
        }
    }

    pub(super) fn sent(&self) {
        let mut state = self.lock();
        pop(&mut state);
        state.sent += 1;
    }

    /// The oldest message never will be taken.
    pub(super) fn refused(&self, error: &str) {
        let mut state = self.lock();
        pop(&mut state);
        state.lost += 1;
        tracing::warn!("evidence output {}: a line is lost: {error}", self.name);
    }

    pub(super) fn works(&self) {
        let mut state = self.lock();
        if state.failing_since.take().is_some() {
            state.error = None;
            tracing::info!("evidence output {}: works again", self.name);
        }
    }

    pub(super) fn fails(&self, error: &str) {
        let mut state = self.lock();
        state.failing_since.get_or_insert_with(Clock::now);
        if state.error.as_deref() != Some(error) {
            tracing::warn!("evidence output {}: {error}; lines wait for it", self.name);
            state.error = Some(error.to_owned());
        }
    }

    /// Waits before another try; false: it is of no use any more.
    pub(super) fn wait(&self, time: Duration) -> bool {
        let end = Instant::now() + time;
        let mut state = self.lock();
        loop {
            if state.phase == Phase::GivenUp || state.phase == Phase::Closed && state.messages.is_empty() {
                return false;
            }
            // At the end tries are not far apart.
            let longest = if state.phase == Phase::Closed { Duration::from_millis(100) } else { Duration::MAX };
            let left = end.saturating_duration_since(Instant::now()).min(longest);
            if left.is_zero() {
                return true;
            }
            let was_closed = state.phase == Phase::Closed;
            let (next, timeout) = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
            state = next;
            if was_closed && timeout.timed_out() {
                return state.phase != Phase::GivenUp;
            }
        }
    }

    /// Nothing more is taken.
    pub(super) fn close(&self) {
        self.lock().phase = Phase::Closed;
        self.changed.notify_all();
    }

    /// The thread is done.
    pub(super) fn ended(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    pub(super) fn wait_for_end(&self, end: Instant) {
        let (state, left) = (self.lock(), end.saturating_duration_since(Instant::now()));
        drop(self.changed.wait_timeout_while(state, left, |state| !state.ended));
    }

    /// What waits is lost.
    pub(super) fn give_up(&self) {
        let mut state = self.lock();
        state.phase = Phase::GivenUp;
        state.lost += state.messages.len() as u64;
        state.messages.clear();
        state.bytes = 0;
        self.changed.notify_all();
    }

    pub(super) fn status(&self) -> OutputStatus {
        let state = self.lock();
        OutputStatus {
            name: self.name.clone(),
            sent: state.sent,
            lost: state.lost,
            waiting: state.messages.len() as u64,
            error: state.error.clone(),
            failing_since_unix_ns: state.failing_since.as_ref().map(|since| since.unix_ns),
            failing_since: state.failing_since.clone(),
        }
    }

    /// Nothing in here leaves the state half changed.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pop(state: &mut State) {
    if let Some(message) = state.messages.pop_front() {
        state.bytes = state.bytes.saturating_sub(message.bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_is_called_after_two_minutes_until_it_works() {
        let queue = Queue::new("syslog tcp h:1".to_owned());
        let status = queue.status();
        assert_eq!((status.failing_since.as_ref(), status.problem(&Clock::now())), (None, None));
        queue.put(Message::Record { unix_ns: 0, is_loss: false, line: "{}".into() });
        queue.fails("no connection");
        let since = queue.status().failing_since.unwrap();
        queue.fails("no route");
        let status = queue.status();
        assert_eq!(status.failing_since.as_ref(), Some(&since), "another reason is no other failure");
        // Whatever is done to the clock meanwhile.
        let seconds = |n: u64| Clock { boot_ns: since.boot_ns + n * 1_000_000_000, unix_ns: 0, ..since.clone() };
        assert_eq!(status.problem(&seconds(119)), None);
        let problem = status.problem(&seconds(180)).unwrap();
        assert!(
            problem.contains("syslog tcp h:1 takes nothing for 3m: no route; 1 lines wait, 0 are lost"),
            "{problem}"
        );
        queue.works();
        let status = queue.status();
        assert_eq!((status.failing_since_unix_ns, status.error), (None, None));
    }
}
