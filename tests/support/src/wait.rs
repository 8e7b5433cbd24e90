//! Waiting for an event. There is one limit, and only a failure ever reaches it: a test says what must happen, never how soon, so that it says the
//! same on a machine that does ten other things. How long something takes is judged by `cargo xtask faults --full` and by the bench alone.

#![allow(clippy::missing_panics_doc, reason = "a test fails by a panic")]

use std::env;
use std::fmt::Debug;
use std::thread;
use std::time::{Duration, Instant};

/// How long anything is waited for that must come: far more than the slowest machine needs, and short enough for a failure to be told.
pub const PATIENCE: Duration = Duration::from_secs(60);
const POLL_EVERY: Duration = Duration::from_millis(5);

/// Asks until there is an answer, and returns it. Panics, as an assertion does, when there is none within [`PATIENCE`].
#[track_caller]
pub fn eventually<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    eventually_or(|| what.to_owned(), ask)
}

/// The same where it takes a look at the end to say what was wrong.
#[track_caller]
pub fn eventually_or<T>(what: impl FnOnce() -> String, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {}", what());
        thread::sleep(POLL_EVERY);
    }
}

/// Waits until it is so.
#[track_caller]
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    eventually(what, || is_so().then_some(()));
}

/// Asks until the answer is what is expected. Panics with both when it still is not after [`PATIENCE`].
#[track_caller]
pub fn eventually_eq<T: PartialEq + Debug>(what: &str, mut ask: impl FnMut() -> T, expected: &T) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = ask();
        if answer == *expected {
            return;
        }
        if Instant::now() >= deadline {
            assert_eq!(answer, *expected, "{what}");
        }
        thread::sleep(POLL_EVERY);
    }
}

/// Whether bars of time and of rate are judged. They are where the machine has nothing else to do: `cargo xtask faults --full` says so. Elsewhere
/// they are told and not judged.
pub fn times_are_judged() -> bool {
    env::var("NODEWALL_FAULTS").is_ok_and(|value| value == "full")
}

/// Judges a bar of time or of rate, where they are judged.
#[track_caller]
pub fn judge_time(is_met: bool, what: impl FnOnce() -> String) {
    assert!(is_met || !times_are_judged(), "{}", what());
}
