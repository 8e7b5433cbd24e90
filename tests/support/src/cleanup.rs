//! What has been made and how it is taken away again, also when a signal ends the process in the middle. It owns the list
//! of undo steps and the thread that waits for SIGINT and SIGTERM; what a step does belongs to whoever registered it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, Once, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

type Undo = Box<dyn FnOnce() + Send>;

/// How long a signal waits for steps that other threads are in the middle of. Each of them takes milliseconds, the longest
/// (a child that ignores SIGTERM) some seconds.
const PATIENCE: Duration = Duration::from_secs(30);

struct State {
    /// Undo steps by their number, which grows: the newest is undone first.
    steps: BTreeMap<u64, Undo>,
    next: u64,
    /// Threads that are in the middle of making or removing something.
    busy: usize,
    /// A signal came: nothing new may be made.
    closing: bool,
}

static STATE: Mutex<State> = Mutex::new(State { steps: BTreeMap::new(), next: 0, busy: 0, closing: false });
static IDLE: Condvar = Condvar::new();

thread_local! {
    /// How many [`undisturbed`] sections this thread is in.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An undo step. Dropping the guard runs it, on a panic too; a signal runs it if the guard is still there.
#[must_use = "dropping the guard undoes at once"]
#[derive(Debug)]
pub struct Guard {
    number: u64,
}

/// Registers an undo step. Steps are run newest first, each at most once, and must work on things half made.
pub fn guard(undo: impl FnOnce() + Send + 'static) -> Guard {
    watch_signals();
    let mut state = state();
    let number = state.next;
    state.next += 1;
    state.steps.insert(number, Box::new(undo));
    Guard { number }
}

impl Drop for Guard {
    fn drop(&mut self) {
        undisturbed(|| {
            let step = state().steps.remove(&self.number);
            if let Some(undo) = step {
                undo();
            }
        });
    }
}

/// Runs a section that makes something and registers its undo step: a signal waits for its end, so that nothing can be
/// made and not yet be registered. After a signal the calling thread stops here for good; the process is about to end.
pub fn undisturbed<T>(section: impl FnOnce() -> T) -> T {
    let _section = Section::enter();
    section()
}

struct Section;

impl Section {
    fn enter() -> Self {
        let nested = DEPTH.get() > 0;
        let mut state = state();
        if state.closing && !nested {
            drop(state);
            loop {
                thread::park();
            }
        }
        state.busy += 1;
        DEPTH.set(DEPTH.get() + 1);
        Self
    }
}

impl Drop for Section {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get().saturating_sub(1));
        let mut state = state();
        state.busy = state.busy.saturating_sub(1);
        IDLE.notify_all();
    }
}

/// Starts the signal thread, once. It returns when the handlers are in place. Without them (no more threads or file
/// descriptors) signals keep their default meaning, and the next run removes what was left.
fn watch_signals() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        let (ready, is_ready) = mpsc::channel();
        let watcher = move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else {
                return;
            };
            let number = runtime.block_on(async {
                let mut interrupt = signal(SignalKind::interrupt()).ok()?;
                let mut terminate = signal(SignalKind::terminate()).ok()?;
                let _ = ready.send(());
                tokio::select! {
                    _ = interrupt.recv() => Some(SignalKind::interrupt().as_raw_value()),
                    _ = terminate.recv() => Some(SignalKind::terminate().as_raw_value()),
                }
            });
            if let Some(number) = number {
                undo_everything();
                std::process::exit(128 + number);
            }
        };
        if thread::Builder::new().name("cleanup".into()).spawn(watcher).is_ok() {
            let _ = is_ready.recv();
        }
    });
}

fn undo_everything() {
    let mut waiting = state();
    waiting.closing = true;
    let waited = IDLE.wait_timeout_while(waiting, PATIENCE, |state| state.busy > 0);
    drop(waited.unwrap_or_else(PoisonError::into_inner));
    // Steps may use the testbed themselves: this thread counts as being in a section already.
    DEPTH.set(1);
    loop {
        let newest = state().steps.pop_last();
        let Some((_, undo)) = newest else { return };
        // A step that panics must not keep the others from running.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(undo));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn a_guard_undoes_once_also_when_its_owner_panics() {
        let undone = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&undone);
        let owner = thread::spawn(move || {
            let _guard = guard(move || {
                count.fetch_add(1, Ordering::SeqCst);
            });
            std::panic::resume_unwind(Box::new("on purpose"));
        });
        assert!(owner.join().is_err());
        assert_eq!(undone.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn sections_nest() {
        assert_eq!(undisturbed(|| undisturbed(|| 7)), 7);
        assert_eq!(DEPTH.get(), 0);
    }
}
