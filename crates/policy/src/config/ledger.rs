//! `[ledger]`: for how long the sums of all traffic are kept, by minute, hour and day.
//!
//! Owns what these keys mean. Must not know how the ledger lies on disk.

use std::time::Duration;

use super::problems::Problems;
use super::schema::RawLedger;

const HOUR_S: u64 = 60 * 60;
const DAY_S: u64 = 24 * HOUR_S;
/// Bytes of each step, unless told otherwise: minutes of 30 peers on 20 ports take 30 MB.
const DEFAULT_BYTES: u64 = 64 << 20;

/// `[ledger]`. It is kept where evidence is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ledger {
    /// `minutes`: for how long each minute is kept.
    pub minutes: Duration,
    /// `hours`: for how long each hour is.
    pub hours: Duration,
    /// `days`: for how long each day is.
    pub days: Duration,
    /// `learning`: for how long the ledger is kept before what is used for the first time is told.
    pub learning: Duration,
    /// `max_size`, bytes: of minutes, of hours and of days, each.
    pub max_bytes: u64,
}

pub(super) fn ledger(raw: RawLedger, problems: &mut Problems<'_>) -> Ledger {
    Ledger {
        minutes: problems.take(raw.minutes).unwrap_or(Duration::from_secs(48 * HOUR_S)),
        hours: problems.take(raw.hours).unwrap_or(Duration::from_secs(90 * DAY_S)),
        days: problems.take(raw.days).unwrap_or(Duration::from_secs(730 * DAY_S)),
        learning: problems.take(raw.learning).unwrap_or(Duration::from_secs(7 * DAY_S)),
        max_bytes: problems.take(raw.max_size).unwrap_or(DEFAULT_BYTES),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn parse(keys: &str) -> Result<Ledger, String> {
        Config::parse(&format!("[ledger]\n{keys}\n"), "nodewall.toml")
            .map(|config| config.ledger)
            .map_err(|e| e.to_string())
    }

    #[test]
    fn each_step_has_its_own_time() {
        let ledger = parse("minutes = \"12h\"\ndays = \"30d\"").unwrap();
        let days = |days: u64| Duration::from_secs(days * DAY_S);
        assert_eq!((ledger.minutes, ledger.hours, ledger.days), (days(1) / 2, days(90), days(30)));
        assert_eq!(ledger.max_bytes, DEFAULT_BYTES);
        for (keys, expected) in
            [("hours = 3", "expected"), ("max_size = \"1kB\"", "expected"), ("weeks = \"9w\"", "weeks")]
        {
            let error = parse(keys).unwrap_err();
            assert!(error.contains(expected), "{keys}: {error}");
        }
    }
}
