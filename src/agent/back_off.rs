//! Starts of the agent that are refused one after the other. systemd starts a unit that failed anew after a second, for ever, and before version 254 knows no
//! pause that grows: so the agent that is refused waits before it ends. It must not judge the refusal, and nothing that was in force waits for it.

use std::{path::Path, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep, sleep_until},
};

use super::notify::Notify;
use nodewall_host::state::{Clock, Note, Stamp, StateDir};

/// Less than the unit's `TimeoutStartSec`.
const LONGEST: Duration = Duration::from_secs(60);
/// A refusal so long ago has nothing to do with this one.
const FORGOTTEN: Duration = Duration::from_secs(600);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How many there were in a row, and when the last.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct RefusedStarts {
    times: u32,
    #[serde(default)]
    at: Clock,
    /// Of the configuration that was refused.
    #[serde(default)]
    stamp: Option<Stamp>,
}

impl Note for RefusedStarts {
    const FILE: &'static str = "refused-starts.json";
}

/// Waits after a refusal that is not the first, where a service manager listens. A changed configuration ends the wait, and whoever stops the unit is not kept.
pub async fn back_off(state: &StateDir, watched: &Path) {
    let mut notify = Notify::from_environment();
    let Some(mut terminate) = signal(SignalKind::terminate()).ok().filter(|_| notify.is_heard()) else { return };
    let (now, stamp) = (Clock::now(), Stamp::of(watched));
    let is_same = |before: &RefusedStarts| now.since(&before.at) < FORGOTTEN && before.stamp == stamp;
    let times = state.read_note::<RefusedStarts>().filter(is_same).map_or(0, |before| before.times);
    let refused = RefusedStarts { times: times.saturating_add(1), at: now, stamp: stamp.clone() };
    if let Err(error) = state.write_note(&refused) {
        tracing::debug!("refused starts are not counted: {error}");
    }
    let Some(wait) = pause(times) else { return };
    let told =
        format!("refused {} times in a row: it is tried again in {}", times + 1, humantime::format_duration(wait));
    tracing::info!("{told}, or when {} changes", watched.display());
    notify.status(told);
    let end = Instant::now() + wait;
    let changed = async {
        while Stamp::of(watched) == stamp {
            sleep(LOOK_EVERY).await;
        }
    };
    tokio::select! {
        () = sleep_until(end) => {}
        () = changed => notify.status("the configuration changed: it is tried now".into()),
        // Whoever starts it next is there to read why it is refused.
        _ = terminate.recv() => state.forget_note::<RefusedStarts>(),
    }
}

/// `before`: refusals in a row before this one.
fn pause(before: u32) -> Option<Duration> {
    let seconds = 1_u64.checked_shl(before.checked_sub(1)?).unwrap_or(u64::MAX);
    Some(Duration::from_secs(seconds).min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_to_a_minute() {
        let seconds: Vec<_> = (0..9).map(|before| pause(before).map_or(0, |pause| pause.as_secs())).collect();
        assert_eq!(seconds, [0, 1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(pause(u32::MAX), Some(LONGEST));
    }
}
