//! When an interface that could not be covered is tried again: at once after a change of the network, else less and less often.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Wait before an interface that could not be covered is tried again, at first and at most. A change of the network tries at once.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// When the interfaces that could not be covered are tried again.
#[derive(Debug, Default)]
pub(crate) struct Retries(BTreeMap<u32, Retry>);

#[derive(Debug)]
struct Retry {
    at: Instant,
    wait: Duration,
}

impl Retries {
    /// Whether it failed and is not tried again yet.
    pub(super) fn is_waiting(&self, if_index: u32, now: Instant) -> bool {
        self.0.get(&if_index).is_some_and(|retry| now < retry.at)
    }

    pub(super) fn failed(&mut self, if_index: u32, now: Instant) {
        let wait = self.0.get(&if_index).map_or(RETRY, |retry| (retry.wait * 2).min(RETRY_MAX));
        self.0.insert(if_index, Retry { at: now + wait, wait });
    }

    pub(super) fn covered(&mut self, if_index: u32) {
        self.0.remove(&if_index);
    }

    /// How long until it is tried again.
    pub(super) fn left(&self, if_index: u32) -> Option<Duration> {
        self.0.get(&if_index).map(|retry| retry.at.saturating_duration_since(Instant::now()))
    }

    /// All are tried at the next look.
    pub(crate) fn forget(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_refuses_is_tried_less_and_less_often() {
        let (mut retries, start) = (Retries::default(), Instant::now());
        let mut now = start;
        for wait_s in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert!(!retries.is_waiting(7, now));
            retries.failed(7, now);
            let wait = Duration::from_secs(wait_s);
            assert!(retries.is_waiting(7, now + wait.mul_f32(0.99)), "{wait_s}");
            now += wait;
        }
        assert!(!retries.is_waiting(8, start));
        retries.forget();
        assert!(!retries.is_waiting(7, start));
    }
}
