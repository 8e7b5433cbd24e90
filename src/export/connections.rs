//! The places for connections, so that clients that are slow, silent or too many do not keep others out: each has a time to be done by, and when all
//! places are taken the oldest makes room. Must not read from or write to a connection.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{task::AbortHandle, time::Instant};

/// Connections at a time.
pub(super) const MAX_CONNECTIONS: usize = 64;
/// Within this a client must have asked and taken its answer; a stream, its next event.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Until when a connection is waited for. Clones are of the same connection.
#[derive(Clone, Debug)]
pub(super) struct Patience {
    time: Duration,
    until: Arc<Mutex<Until>>,
}

#[derive(Debug)]
struct Until {
    deadline: Instant,
    stream: bool,
}

impl Patience {
    fn new(time: Duration) -> Self {
        Self { time, until: Arc::new(Mutex::new(Until { deadline: Instant::now() + time, stream: false })) }
    }

    fn until(&self) -> MutexGuard<'_, Until> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client took an event of its stream: it is waited for anew, and does not make room for others.
    pub(super) fn renew(&self) {
        *self.until() = Until { deadline: Instant::now() + self.time, stream: true };
    }

    fn deadline(&self) -> Instant {
        self.until().deadline
    }

    fn is_stream(&self) -> bool {
        self.until().stream
    }

    /// Ends when the time is over.
    async fn over(&self) {
        loop {
            let deadline = self.deadline();
            if deadline <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(deadline).await;
        }
    }
}

/// All of them, by the order in which they came.
pub(super) struct Connections {
    patience: Duration,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    next: u64,
    by_age: BTreeMap<u64, (Patience, Option<AbortHandle>)>,
}

/// A place, until it is dropped.
pub(super) struct Held {
    connections: Arc<Connections>,
    number: u64,
    patience: Patience,
}

impl Connections {
    /// None yet; each will have this long.
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience, taken: Mutex::default() }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place; always. Where none is free, the oldest connection that is no stream ends (streams are fewer than places).
    pub(super) fn enter(self: &Arc<Self>) -> Held {
        let mut taken = self.taken();
        while taken.by_age.len() >= MAX_CONNECTIONS {
            let oldest =
                taken.by_age.iter().find(|(_, (patience, _))| !patience.is_stream()).map(|(number, _)| *number);
            let Some(oldest) = oldest else { break };
            if let Some((_, Some(task))) = taken.by_age.remove(&oldest) {
                task.abort();
            }
        }
        let number = taken.next;
        taken.next += 1;
        let patience = Patience::new(self.patience);
        taken.by_age.insert(number, (patience.clone(), None));
        Held { connections: self.clone(), number, patience }
    }
}

impl Held {
    pub(super) fn patience(&self) -> Patience {
        self.patience.clone()
    }

    /// Does `work` on a task of its own, until it is done, its time is over, or it must make room.
    pub(super) fn run(self, work: impl Future<Output = ()> + Send + 'static) {
        let (connections, number) = (self.connections.clone(), self.number);
        let task = tokio::spawn(async move {
            tokio::select! {
                () = work => {}
                () = self.patience.over() => {}
            }
        });
        if let Some((_, handle)) = connections.taken().by_age.get_mut(&number) {
            *handle = Some(task.abort_handle());
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.connections.taken().by_age.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    #[test]
    fn the_oldest_makes_room_and_streams_stay() {
        runtime().block_on(async {
            let connections = Arc::new(Connections::new(PATIENCE));
            for number in 0..MAX_CONNECTIONS {
                let held = connections.enter();
                if number == 0 {
                    held.patience().renew();
                }
                held.run(std::future::pending());
            }
            let held = connections.enter();
            held.run(std::future::pending());
            tokio::task::yield_now().await;
            let numbers: Vec<u64> = connections.taken().by_age.keys().copied().collect();
            assert_eq!((numbers.len(), numbers.first(), numbers.get(1)), (MAX_CONNECTIONS, Some(&0), Some(&2)));
        });
    }

    #[test]
    fn a_connection_ends_with_its_time_and_a_stream_when_nothing_is_taken_from_it() {
        runtime().block_on(async {
            let patience = Duration::from_millis(300);
            let connections = Arc::new(Connections::new(patience));
            connections.enter().run(std::future::pending());
            let stream = connections.enter();
            let taken = stream.patience();
            stream.run(std::future::pending());
            let began = Instant::now();
            while began.elapsed() < patience * 3 {
                taken.renew();
                tokio::time::sleep(patience / 30).await;
            }
            let left: Vec<u64> = connections.taken().by_age.keys().copied().collect();
            assert_eq!(left, [1], "the stream");
            tokio::time::sleep(patience * 2).await;
            assert_eq!(connections.taken().by_age.len(), 0);
        });
    }
}
