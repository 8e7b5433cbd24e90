//! Push to the vendor: what is new in the counters goes to the local agent or to the environment, each difference once. Owns when it is sent, and what an
//! answer or its absence means. Must not read the kernel, and must not change anything but its own files in the state directory.

mod line;
mod queue;
mod thread;
mod way;

use std::{
    hash::{BuildHasher as _, RandomState},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, time::Instant};

use self::{
    line::{Taken, body, judge},
    way::record,
};
pub use self::{
    queue::{Amount, Ledger, Snapshot, Totals},
    thread::Pusher,
};
use nodewall_host::state::{Clock, Note, StateDir, StateError, Stored};
use nodewall_https::{Client, HttpError, PostOutcome, Post, Token, failed};
use nodewall_policy::config;

/// Wait after a first failure; doubled with each, up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(5 * 60);
/// An agent that ends waits so long for an answer that is under way.
const LAST_WORD: Duration = Duration::from_secs(2);
/// From so many failures on, an operator should look.
const FAILURES_UNTIL_ALARM: u32 = 3;
const CONTENT_TYPE: &str = "text/plain; charset=utf-8";

impl Note for Standing {
    const FILE: &'static str = "push.json";
}

impl Stored for Ledger {
    const FILE: &'static str = "push.state";
}

/// How the push is doing: for `status` and the exporters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Where it goes.
    pub url: String,
    /// When the receiver last took something. Unix time, ns.
    pub last_success_unix_ns: Option<u64>,
    /// Why the last attempt brought nothing; `None`: it did.
    pub last_error: Option<String>,
    /// Attempts since the last that brought something.
    pub failures: u32,
    /// Lines that wait.
    pub waiting_lines: u64,
    /// The time of the oldest of them. Unix time, ms.
    pub oldest_unix_ms: Option<u64>,
    /// What became of the rest.
    pub totals: Totals,
}

impl Standing {
    /// What an operator should look at.
    pub fn alarm(&self) -> Option<String> {
        let error = self.last_error.as_ref().filter(|_| self.failures >= FAILURES_UNTIL_ALARM)?;
        Some(format!("the push to the vendor failed {} times in a row: {error}", self.failures))
    }
}

/// Pushes until `shutdown` says `true` or its sender is gone. `counters` reads the kernel's counters: the last word of counters that are gone, and those
/// that are there.
pub async fn run(
    config: &config::Push,
    state: &StateDir,
    mut counters: impl FnMut() -> Result<Vec<Snapshot>, String>,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut push = Push::new(config, state);
    let (mut next_read, mut next_send) = (Instant::now(), Instant::now());
    loop {
        if Instant::now() >= next_read {
            next_read = Instant::now() + config.interval;
            match counters() {
                Ok(snapshots) => push.note(&snapshots),
                Err(error) => push.trouble(format!("the counters can not be read: {error}")),
            }
        }
        if push.owes() && Instant::now() >= next_send {
            let wait = push.send(&mut shutdown).await;
            next_send = Instant::now() + wait;
        }
        let wake = if push.owes() { next_read.min(next_send) } else { next_read };
        tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep_until(wake) => {}
        }
    }
}

/// The push between two wakes.
struct Push<'a> {
    config: &'a config::Push,
    state: &'a StateDir,
    client: Client,
    /// Tells nodes apart where the receiver does not know which one sends.
    node: Option<String>,
    /// `None`: it has not been read yet, or what was read is damaged.
    ledger: Option<Ledger>,
    standing: Standing,
    /// This boot's name.
    boot_id: String,
    /// Most lines of the next request.
    most_lines: usize,
}

impl<'a> Push<'a> {
    fn new(config: &'a config::Push, state: &'a StateDir) -> Self {
        let node = config.is_remote().then(|| rustix::system::uname().nodename().to_string_lossy().into_owned());
        let standing = Standing { url: config.url.clone(), ..state.read_note::<Standing>().unwrap_or_default() };
        let client = Client::new(config.ca.as_deref());
        Self {
            config,
            state,
            client,
            node,
            ledger: None,
            standing,
            boot_id: Clock::now().boot_id,
            most_lines: usize::MAX,
        }
    }

    fn owes(&self) -> bool {
        self.ledger.as_ref().is_some_and(|ledger| ledger.waiting() > 0)
    }

    fn note(&mut self, snapshots: &[Snapshot]) {
        let now = unix_ms();
        let mut changed = false;
        if self.ledger.is_none() {
            self.ledger = Some(match self.state.load::<Ledger>().map(Option::unwrap_or_default) {
                Ok(mut ledger) => {
                    let way = way::read(self.state);
                    if let Some(taken) = ledger.recover(way.as_deref(), &self.boot_id) {
                        changed = true;
                        if let Taken::Unknown(why) = taken {
                            tracing::warn!(
                                "push to the vendor: {why}; it may or may not have arrived, and is not sent again"
                            );
                        }
                    }
                    ledger
                }
                Err(error @ StateError::Damaged { .. }) => {
                    tracing::error!(
                        "{error}; what was counted until now is not pushed, since some of it may have been"
                    );
                    changed = true;
                    Ledger::beginning_at(snapshots)
                }
                Err(error) => return self.trouble(error.to_string()),
            });
        }
        let Some(ledger) = &mut self.ledger else { return };
        for snapshot in snapshots {
            changed |= ledger.note(snapshot, now);
        }
        if changed && let Err(error) = self.state.save(ledger) {
            // What was read is read again after a crash; what is sent is written down first.
            self.trouble(error.to_string());
        }
    }

    /// Sends one request. For how long to wait before the next.
    async fn send(&mut self, shutdown: &mut watch::Receiver<bool>) -> Duration {
        let (taken, retry_after) = match self.request(shutdown).await {
            Ok(said) => said,
            Err(error) => (Taken::None(error.to_string()), None),
        };
        let under_way = self.ledger.as_ref().and_then(Ledger::under_way);
        let taken = match taken {
            // It ended before the first byte.
            Taken::Unknown(why) if under_way.is_none() => Taken::None(why),
            taken => taken,
        };
        if let (Some(ledger), Some(number)) = (&mut self.ledger, under_way) {
            // First what a killed process leaves behind at once, then what a power cut does.
            if let Err(error) = way::save(self.state, &record(&self.boot_id, number, Some(&taken))) {
                tracing::error!("{error}");
            }
            ledger.settle(&taken);
            if let Err(error) = self.state.save(ledger) {
                // On disk it is under way; after a crash it would be in doubt, and never be sent twice.
                tracing::error!("{error}");
            }
        }
        if let Taken::AllBut(refused) = &taken
            && let Some(why) = refused.values().next()
        {
            tracing::error!("push to the vendor: {} lines were refused and are not sent again: {why}", refused.len());
        }
        let wait = match taken {
            Taken::All | Taken::AllBut(_) => {
                if self.standing.failures > 0 {
                    tracing::info!("the push to the vendor works again");
                }
                self.standing.failures = 0;
                self.standing.last_success_unix_ns = Some(unix_ms() * 1_000_000);
                self.standing.last_error = None;
                self.most_lines = usize::MAX;
                Duration::ZERO
            }
            Taken::None(why) => self.failed(why),
            Taken::Unknown(why) => {
                // As long as nobody can say what arrives, as little as possible is put at stake.
                self.most_lines = 1;
                self.failed(format!("{why}; it may or may not have arrived, and is not sent again"))
            }
        };
        self.write_standing();
        wait.max(retry_after.unwrap_or_default())
    }

    async fn request(&mut self, shutdown: &mut watch::Receiver<bool>) -> Result<(Taken, Option<Duration>), HttpError> {
        let url = &self.config.url;
        // Read anew each time, so that another token needs no restart.
        let token = self.config.token_file.as_deref().map(Token::read).transpose()?;
        let Some(ledger) = &mut self.ledger else { return Ok((Taken::All, None)) };
        let Some((lines, unix_ms)) = ledger.oldest(unix_ms()) else { return Ok((Taken::All, None)) };
        let (text, sent) = body(lines, unix_ms, self.node.as_deref(), self.most_lines);
        let post = Post { url, token: token.as_ref(), content_type: CONTENT_TYPE, body: Bytes::from(text) };
        let (state, boot_id) = (self.state, &self.boot_id);
        let before = || async move {
            let number = ledger.begin(sent, boot_id);
            state.save(ledger).and_then(|()| way::save(state, &record(boot_id, number, None))).map_err(|error| {
                failed(url, format!("is not sent to: {error}"), "see that the state directory can be written")
            })
        };
        let outcome = tokio::select! {
            outcome = self.client.post(post, before) => outcome?,
            () = last_word(shutdown) => PostOutcome::Unknown(failed(url, "there was no answer before nodewall ended", "")),
        };
        Ok(match outcome {
            PostOutcome::Answered { status, retry_after, body } => (judge(status, body.as_deref(), sent), retry_after),
            PostOutcome::Unknown(error) => (Taken::Unknown(error.to_string()), None),
        })
    }

    fn failed(&mut self, why: String) -> Duration {
        if self.standing.last_error.as_ref() != Some(&why) {
            tracing::warn!("push to the vendor: {why}");
        }
        self.standing.last_error = Some(why);
        self.standing.failures = self.standing.failures.saturating_add(1);
        backoff(self.standing.failures, RandomState::new().hash_one(self.standing.failures))
    }

    fn trouble(&mut self, why: String) {
        self.failed(why);
        self.write_standing();
    }

    fn write_standing(&mut self) {
        if let Some(ledger) = &self.ledger {
            self.standing.waiting_lines = ledger.waiting() as u64;
            self.standing.oldest_unix_ms = ledger.oldest_unix_ms();
            self.standing.totals = ledger.totals.clone();
        }
        if let Err(error) = self.state.write_note(&self.standing) {
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
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
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

    #[test]
    fn an_operator_is_called_after_three_failures() {
        let standing = |failures| Standing { failures, last_error: Some("busy".into()), ..Standing::default() };
        assert_eq!(standing(2).alarm(), None);
        assert!(standing(3).alarm().is_some_and(|alarm| alarm.contains("3 times") && alarm.contains("busy")));
    }
}
