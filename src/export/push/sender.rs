//! When the differences are sent, and what an answer or its absence means. Must not read the kernel.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

use bytes::Bytes;
use tokio::{sync::watch, time::Instant};

use super::{
    line::{Delivery, body, judge},
    state::{PushState, Snapshot},
};
use crate::view::push_health::PushHealth;

use nodewall_host::state::{Clock, StateDir, StateError};
use nodewall_https::{Client, Post, PostOutcome, Token, failed};
use nodewall_policy::config;
use nodewall_text::host_name;

/// Wait after a first failure; doubled with each, up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(5 * 60);
/// An agent that ends waits so long for an answer that is under way.
const LAST_WORD: Duration = Duration::from_secs(2);
const CONTENT_TYPE: &str = "text/plain; charset=utf-8";

/// Pushes until `shutdown` says `true` or its sender is gone. `counters` reads the kernel's counters: the last values of counters that are gone, and those
/// that are there.
pub async fn run(
    config: &config::Push,
    dir: &StateDir,
    mut counters: impl FnMut() -> Result<Vec<Snapshot>, String>,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut sender = Sender::new(config, dir);
    let (mut next_read, mut next_send) = (Instant::now(), Instant::now());
    loop {
        if Instant::now() >= next_read {
            next_read = Instant::now() + config.interval;
            if let Err(error) = sender.read(counters()) {
                sender.failed(error);
                sender.save_health();
            }
        }
        if sender.owes() && Instant::now() >= next_send {
            let wait = sender.send(&mut shutdown).await;
            next_send = Instant::now() + wait;
        }
        let wake = if sender.owes() { next_read.min(next_send) } else { next_read };
        tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep_until(wake) => {}
        }
    }
}

/// The push between two wakes.
struct Sender<'a> {
    config: &'a config::Push,
    dir: &'a StateDir,
    client: Client,
    /// Tells nodes apart where the receiver does not know which one sends.
    node: Option<String>,
    /// `None`: it has not been read yet.
    state: Option<PushState>,
    health: PushHealth,
    /// Most lines of the next request.
    max_lines: usize,
}

impl<'a> Sender<'a> {
    fn new(config: &'a config::Push, dir: &'a StateDir) -> Self {
        let node = config.is_remote().then(host_name);
        let health = PushHealth { url: config.url.clone(), ..dir.read_note::<PushHealth>().unwrap_or_default() };
        let client = Client::new(config.ca.as_deref());
        Self { config, dir, client, node, state: None, health, max_lines: usize::MAX }
    }

    fn owes(&self) -> bool {
        self.state.as_ref().is_some_and(|state| !state.unsent.is_empty())
    }

    fn read(&mut self, snapshots: Result<Vec<Snapshot>, String>) -> Result<(), String> {
        let snapshots = snapshots.map_err(|error| format!("the counters can not be read: {error}"))?;
        let mut changed = false;
        if self.state.is_none() {
            self.state = Some(match self.dir.load().map(Option::unwrap_or_default) {
                Ok(state) => state,
                Err(error @ StateError::Damaged { .. }) => {
                    tracing::error!(
                        "{error}; what was counted until now is not pushed, since some of it may have been"
                    );
                    changed = true;
                    PushState::starting_at(&snapshots)
                }
                Err(error) => return Err(error.to_string()),
            });
            // What the process before this one lost is told now, not with the next request.
            self.save_health();
        }
        let Some(state) = &mut self.state else { return Ok(()) };
        for snapshot in &snapshots {
            changed |= state.add(snapshot);
        }
        // Counters that are gone can not be read again.
        if changed { self.dir.save(state).map_err(|error| error.to_string()) } else { Ok(()) }
    }

    /// Sends one request. For how long to wait before the next.
    async fn send(&mut self, shutdown: &mut watch::Receiver<bool>) -> Duration {
        let (delivery, retry_after) = self.request(shutdown).await;
        let wait = match delivery {
            Delivery::AllBut(refused) => {
                if let Some(why) = refused.values().next() {
                    tracing::error!("push to the vendor: {} lines were refused and are lost: {why}", refused.len());
                }
                if self.health.failures > 0 {
                    tracing::info!("the push to the vendor works again");
                }
                self.health.failures = 0;
                self.health.last_success_unix_ns = Some(unix_ms() * 1_000_000);
                self.health.last_error = None;
                self.max_lines = usize::MAX;
                Duration::ZERO
            }
            Delivery::Refused(why) => self.failed(why),
            Delivery::Unknown(why) => {
                // As long as nobody can say what arrives, as little as possible is put at stake.
                self.max_lines = 1;
                self.failed(format!("{why}; it may or may not have arrived, and is counted as lost"))
            }
        };
        self.save_health();
        wait.max(retry_after.unwrap_or_default())
    }

    /// What became of it, and for how long the receiver wants to be left alone.
    async fn request(&mut self, shutdown: &mut watch::Receiver<bool>) -> (Delivery, Option<Duration>) {
        let (url, dir) = (&self.config.url, self.dir);
        let Some(state) = &mut self.state else { return (Delivery::AllBut(BTreeMap::new()), None) };
        // Read anew each time, so that another token needs no restart.
        let token = match self.config.token_file.as_deref().map(Token::read).transpose() {
            Ok(token) => token,
            Err(error) => return (Delivery::Refused(error.to_string()), None),
        };
        let (text, lines) = body(&state.unsent, unix_ms(), self.node.as_deref(), self.max_lines);
        let post = Post { url, token: token.as_ref(), content_type: CONTENT_TYPE, body: Bytes::from(text) };
        // What a process that is killed from here on leaves behind.
        let mut killed = state.clone();
        killed.settle(lines, &Delivery::Unknown("nodewall ended before the receiver's answer".into()));
        let mut begun = false;
        let before = || {
            begun = true;
            let saved = dir.save(&killed).map_err(|error| {
                failed(url, format!("is not sent to: {error}"), "see that the state directory can be written")
            });
            async { saved }
        };
        let outcome = tokio::select! {
            outcome = self.client.post(post, before) => outcome,
            () = last_word(shutdown) => Ok(PostOutcome::Unknown(failed(url, "there was no answer before nodewall ended", ""))),
        };
        let (delivery, retry_after) = match outcome {
            Ok(PostOutcome::Answered { status, retry_after, body }) => {
                (judge(status, body.as_deref(), lines), retry_after)
            }
            Ok(PostOutcome::Unknown(error)) if begun => (Delivery::Unknown(error.to_string()), None),
            Ok(PostOutcome::Unknown(error)) | Err(error) => (Delivery::Refused(error.to_string()), None),
        };
        state.settle(lines, &delivery);
        if begun && let Err(error) = dir.save(state) {
            // On disk it is lost: told, and never sent twice.
            tracing::error!("{error}");
        }
        (delivery, retry_after)
    }

    fn failed(&mut self, why: String) -> Duration {
        if self.health.last_error.as_ref() != Some(&why) {
            tracing::warn!("push to the vendor: {why}");
        }
        self.health.last_error = Some(why);
        self.health.failures = self.health.failures.saturating_add(1);
        backoff(self.health.failures, RandomState::new().hash_one(self.health.failures))
    }

    fn save_health(&mut self) {
        if let Some(state) = &self.state {
            self.health.waiting_lines = state.unsent.len() as u64;
            self.health.totals = state.totals.clone();
        }
        if let Err(error) = self.dir.write_note(&self.health) {
            tracing::warn!("how the push is doing could not be noted: {error}");
        }
    }
}

/// A moment after the end was asked for.
async fn last_word(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|stop| *stop).await;
    tokio::time::sleep(LAST_WORD).await;
}

/// How long to wait after so many failures in a row: doubled each time, and between half of that and all of it, so that the nodes of a cluster do not
/// come back all at once.
fn backoff(failures: u32, random: u64) -> Duration {
    let whole = FIRST_WAIT.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_WAIT);
    let half = whole / 2;
    let part_ms = random % (half.as_millis() as u64 + 1);
    half + Duration::from_millis(part_ms)
}

fn unix_ms() -> u64 {
    Clock::now().unix_ns / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_five_minutes_and_are_never_alike_for_all() {
        for (failures, whole_ms) in
            [(1, 1_000), (2, 2_000), (4, 8_000), (9, 256_000), (10, 300_000), (u32::MAX, 300_000)]
        {
            let waits: Vec<u128> = (0..1_000).map(|n| backoff(failures, n * 7_919).as_millis()).collect();
            assert!(waits.iter().all(|wait| (whole_ms / 2..=whole_ms).contains(wait)), "{failures}");
            let (least, most) = (waits.iter().min(), waits.iter().max());
            assert!(most > least, "{failures}: {least:?} {most:?}");
        }
    }
}
