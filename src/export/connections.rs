//! The places for connections, so that clients that are slow, silent or too many do not keep others out: each has a time to be done by, and when all
//! places are taken the oldest makes room. Must not read from or write to a connection.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{task::AbortHandle, time::Instant};

use super::taken::Taken;

/// Connections at a time.
pub(super) const MAX_CONNECTIONS: usize = 64;
/// Within this a client must have asked and taken its answer; a stream, its next event.
pub(super) const CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);

/// Until when a connection is waited for. Clones are of the same connection.
#[derive(Clone)]
pub(super) struct Deadline {
    timeout: Duration,
    ask: Arc<Ask>,
    state: Arc<Mutex<DeadlineState>>,
}

/// How far the client has taken what it was sent. `None`: nobody can tell.
type Ask = dyn Fn() -> Option<Taken> + Send + Sync;

#[derive(Clone, Copy, Debug)]
struct DeadlineState {
    at: Instant,
    is_stream: bool,
    taken: Option<Taken>,
}

impl Deadline {
    fn new(timeout: Duration, ask: Arc<Ask>) -> Self {
        let state = DeadlineState { at: Instant::now() + timeout, is_stream: false, taken: None };
        Self { timeout, ask, state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, DeadlineState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client has the next event of its stream coming. If it took anything since the last time, it is waited for anew. It does not make room for others.
    pub(super) fn renew(&self) {
        let taken = (self.ask)();
        let mut state = self.state();
        state.is_stream = true;
        if taken.zip(state.taken).is_none_or(|(now, before)| now.is_beyond(before)) {
            state.at = Instant::now() + self.timeout;
            state.taken = taken;
        }
    }

    /// Ends when the time is over.
    async fn passed(&self) {
        loop {
            let DeadlineState { at, .. } = *self.state();
            if at <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(at).await;
        }
    }
}

/// All of them, by the order in which they came.
pub(super) struct Connections {
    timeout: Duration,
    slots: Mutex<Slots>,
}

#[derive(Default)]
struct Slots {
    next: u64,
    by_age: BTreeMap<u64, (Deadline, Option<AbortHandle>)>,
}

/// A place, until it is dropped.
pub(super) struct Slot {
    connections: Arc<Connections>,
    number: u64,
    deadline: Deadline,
}

impl Connections {
    /// None yet; each will have this long.
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout, slots: Mutex::default() }
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place; always. Where none is free, the oldest connection that is no stream ends (streams are fewer than places).
    pub(super) fn enter(self: &Arc<Self>, ask: impl Fn() -> Option<Taken> + Send + Sync + 'static) -> Slot {
        let mut slots = self.slots();
        while slots.by_age.len() >= MAX_CONNECTIONS {
            let oldest =
                slots.by_age.iter().find(|(_, (deadline, _))| !deadline.state().is_stream).map(|(number, _)| *number);
            let Some(oldest) = oldest else { break };
            if let Some((_, Some(task))) = slots.by_age.remove(&oldest) {
                task.abort();
            }
        }
        let number = slots.next;
        slots.next += 1;
        let deadline = Deadline::new(self.timeout, Arc::new(ask));
        slots.by_age.insert(number, (deadline.clone(), None));
        Slot { connections: self.clone(), number, deadline }
    }
}

impl Slot {
    pub(super) fn deadline(&self) -> Deadline {
        self.deadline.clone()
    }

    /// Does `work` on a task of its own, until it is done, its time is over, or it must make room.
    pub(super) fn run(self, work: impl Future<Output = ()> + Send + 'static) {
        let (connections, number) = (self.connections.clone(), self.number);
        let task = tokio::spawn(async move {
            tokio::select! {
                () = work => {}
                () = self.deadline.passed() => {}
            }
        });
        if let Some((_, handle)) = connections.slots().by_age.get_mut(&number) {
            *handle = Some(task.abort_handle());
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.connections.slots().by_age.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    #[test]
    fn the_oldest_makes_room_and_streams_stay() {
        runtime().block_on(async {
            let connections = Arc::new(Connections::new(CONNECTION_TIMEOUT));
            for number in 0..MAX_CONNECTIONS {
                let slot = connections.enter(|| None);
                if number == 0 {
                    slot.deadline().renew();
                }
                slot.run(std::future::pending());
            }
            let slot = connections.enter(|| None);
            slot.run(std::future::pending());
            tokio::task::yield_now().await;
            let numbers: Vec<u64> = connections.slots().by_age.keys().copied().collect();
            assert_eq!((numbers.len(), numbers.first(), numbers.get(1)), (MAX_CONNECTIONS, Some(&0), Some(&2)));
        });
    }

    #[test]
    fn a_connection_ends_with_its_time_and_a_stream_when_nothing_is_taken_from_it() {
        runtime().block_on(async {
            tokio::time::pause();
            let timeout = Duration::from_millis(300);
            let connections = Arc::new(Connections::new(timeout));
            connections.enter(|| None).run(std::future::pending());
            // One that takes, one that does not, and one of which nobody can tell: its buffers alone say it.
            let arrived = Arc::new(AtomicU64::new(0));
            let ask = |room: u64| {
                let arrived = arrived.clone();
                move || {
                    let arrived = arrived.load(Ordering::Relaxed);
                    Some(Taken { arrived, room_end: 100_000 + arrived * room / 100 })
                }
            };
            let streams = [connections.enter(ask(100)), connections.enter(ask(49)), connections.enter(|| None)];
            let deadlines = streams.each_ref().map(Slot::deadline);
            for stream in streams {
                stream.run(std::future::pending());
            }
            let began = Instant::now();
            while began.elapsed() < timeout * 3 {
                arrived.fetch_add(5_000, Ordering::Relaxed);
                deadlines.iter().for_each(Deadline::renew);
                tokio::time::sleep(timeout / 30).await;
            }
            let left: Vec<u64> = connections.slots().by_age.keys().copied().collect();
            assert_eq!(left, [1, 3], "streams that take");
            tokio::time::sleep(timeout * 2).await;
            assert_eq!(connections.slots().by_age.len(), 0);
        });
    }
}
