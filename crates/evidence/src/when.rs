//! Times as people write and read them: `24h`, `yesterday`, a date, RFC 3339; shown in the zone that was asked for. It must not read a clock: the caller
//! says what time it is.

use std::{fmt, str::FromStr, time::Duration};

use jiff::{
    Timestamp, ToSpan as _,
    civil::{Date, DateTime},
    tz::TimeZone,
};

const EXPECTED: &str =
    "expected RFC 3339 such as 2026-11-22T14:00:00Z, a time ago such as 24h, 90m or 2days, a date, today, or yesterday";

/// Not a time, or not one that can be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WhenError {
    /// It is not written in one of the known ways.
    #[error("{0:?} is not a time; {EXPECTED}")]
    Unknown(String),
    /// Before 1970, or after what 64 bits of nanoseconds hold.
    #[error("{0} is out of range; expected a time between 1970 and 2262")]
    OutOfRange(String),
    /// There is no such zone, or the host has no data of zones.
    #[error("there is no time zone {0:?} here; expected UTC, local, or a name such as Europe/Vienna (package tzdata)")]
    Zone(String),
}

/// The zone in which days begin and times are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl Zone {
    /// Coordinated universal time.
    pub const UTC: Self = Self(TimeZone::UTC);

    /// A time (UTC, Unix ns) as RFC 3339 with nine digits of a second. Times that no calendar has show as their number.
    pub fn show(&self, unix_ns: u64) -> String {
        self.strftime(unix_ns, if self.is_utc() { "%Y-%m-%dT%H:%M:%S.%9fZ" } else { "%Y-%m-%dT%H:%M:%S.%9f%:z" })
    }

    /// The same, to the second: for tables.
    pub fn show_seconds(&self, unix_ns: u64) -> String {
        self.strftime(unix_ns, if self.is_utc() { "%Y-%m-%dT%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%S%:z" })
    }

    /// When the hour began that a time is in, by this zone's clock (some are half an hour off).
    pub fn hour_start(&self, unix_ns: u64) -> u64 {
        const SECOND_NS: u64 = 1_000_000_000;
        const HOUR_NS: u64 = 3600 * SECOND_NS;
        let offset_s = timestamp(unix_ns).map_or(0, |time| self.0.to_offset(time).seconds());
        let shift_ns = u64::from(offset_s.rem_euclid(3600).unsigned_abs()) * SECOND_NS;
        unix_ns.saturating_sub((unix_ns % HOUR_NS + shift_ns) % HOUR_NS)
    }

    fn is_utc(&self) -> bool {
        self.0 == TimeZone::UTC
    }

    fn strftime(&self, unix_ns: u64, format: &str) -> String {
        timestamp(unix_ns)
            .map_or_else(|| format!("{unix_ns} ns"), |time| time.to_zoned(self.0.clone()).strftime(format).to_string())
    }
}

impl FromStr for Zone {
    type Err = WhenError;

    fn from_str(text: &str) -> Result<Self, WhenError> {
        let unknown = || WhenError::Zone(text.to_owned());
        if text.eq_ignore_ascii_case("utc") {
            return Ok(Self::UTC);
        }
        if text.eq_ignore_ascii_case("local") {
            return TimeZone::try_system().map(Self).map_err(|_| unknown());
        }
        TimeZone::get(text).map(Self).map_err(|_| unknown())
    }
}

/// A time as it was asked for; which instant it is depends on the clock and the zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// An instant, Unix ns.
    At(u64),
    /// So long before now.
    Ago(Duration),
    /// This day.
    Today,
    /// The day before.
    Yesterday,
    /// A day.
    Day(Date),
    /// A date and a time without a zone.
    Local(DateTime),
}

impl When {
    /// The first instant of what it names.
    pub fn start(&self, now_unix_ns: u64, zone: &Zone) -> Result<u64, WhenError> {
        match self {
            Self::At(unix_ns) => Ok(*unix_ns),
            Self::Ago(time) => Ok(now_unix_ns.saturating_sub(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))),
            Self::Local(time) => self.instant(*time, zone),
            Self::Today | Self::Yesterday | Self::Day(_) => {
                self.instant(self.day(now_unix_ns, zone)?.at(0, 0, 0, 0), zone)
            }
        }
    }

    /// The last instant of what it names: of a day its last nanosecond.
    pub fn end(&self, now_unix_ns: u64, zone: &Zone) -> Result<u64, WhenError> {
        match self {
            Self::At(_) | Self::Ago(_) | Self::Local(_) => self.start(now_unix_ns, zone),
            Self::Today | Self::Yesterday | Self::Day(_) => {
                let next = self.day(now_unix_ns, zone)?.checked_add(1.day()).map_err(|_| self.out_of_range())?;
                Ok(self.instant(next.at(0, 0, 0, 0), zone)? - 1)
            }
        }
    }

    fn day(&self, now_unix_ns: u64, zone: &Zone) -> Result<Date, WhenError> {
        if let Self::Day(day) = self {
            return Ok(*day);
        }
        let now = timestamp(now_unix_ns).ok_or_else(|| self.out_of_range())?;
        let today = now.to_zoned(zone.0.clone()).date();
        if *self == Self::Yesterday { today.yesterday().map_err(|_| self.out_of_range()) } else { Ok(today) }
    }

    fn instant(&self, time: DateTime, zone: &Zone) -> Result<u64, WhenError> {
        time.to_zoned(zone.0.clone())
            .ok()
            .and_then(|zoned| unix_ns(zoned.timestamp()))
            .ok_or_else(|| self.out_of_range())
    }

    fn out_of_range(&self) -> WhenError {
        WhenError::OutOfRange(self.to_string())
    }
}

impl FromStr for When {
    type Err = WhenError;

    fn from_str(text: &str) -> Result<Self, WhenError> {
        let text = text.trim();
        match text {
            "today" => return Ok(Self::Today),
            "yesterday" => return Ok(Self::Yesterday),
            "now" => return Ok(Self::Ago(Duration::ZERO)),
            _ => {}
        }
        // A date reads as a date and time, too, and as a time of day 0: so it is asked first.
        if let (Ok(day), true) = (text.parse::<Date>(), text.len() <= "2026-11-22".len()) {
            return Ok(Self::Day(day));
        }
        if let Ok(time) = text.parse::<Timestamp>() {
            return unix_ns(time).map(Self::At).ok_or_else(|| WhenError::OutOfRange(text.to_owned()));
        }
        // Last as it would also read a time with an offset, and leave the offset out.
        if let (Ok(time), false) = (text.parse::<DateTime>(), text.contains('[')) {
            return Ok(Self::Local(time));
        }
        humantime::parse_duration(text).map(Self::Ago).map_err(|_| WhenError::Unknown(text.to_owned()))
    }
}

impl fmt::Display for When {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(unix_ns) => out.write_str(&Zone::UTC.show(*unix_ns)),
            Self::Ago(time) => write!(out, "{} ago", humantime::format_duration(*time)),
            Self::Today => out.write_str("today"),
            Self::Yesterday => out.write_str("yesterday"),
            Self::Day(day) => write!(out, "{day}"),
            Self::Local(time) => write!(out, "{time}"),
        }
    }
}

fn timestamp(unix_ns: u64) -> Option<Timestamp> {
    Timestamp::from_nanosecond(i128::from(unix_ns)).ok()
}

/// As the evidence has it: after 1970, and what a signed 64-bit column holds.
fn unix_ns(time: Timestamp) -> Option<u64> {
    i64::try_from(time.as_nanosecond()).ok().and_then(|ns| u64::try_from(ns).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-23T01:30:00Z: in New York still the 22nd.
    const NOW: u64 = 1_795_397_400_000_000_000;
    const HOUR: u64 = 3_600_000_000_000;

    fn zone(name: &str) -> Zone {
        name.parse().unwrap()
    }

    /// First and last instant, shown in UTC.
    fn span(text: &str, zone_name: &str) -> (String, String) {
        let (when, zone) = (text.parse::<When>().unwrap(), zone(zone_name));
        let shown = |at: Result<u64, WhenError>| Zone::UTC.show(at.unwrap());
        (shown(when.start(NOW, &zone)), shown(when.end(NOW, &zone)))
    }

    #[test]
    fn a_time_is_one_instant() {
        let any: &[&str] = &["UTC", "Asia/Kolkata", "America/New_York"];
        for (text, zones, expected) in [
            ("24h", any, "2026-11-22T01:30:00.000000000Z"),
            ("90m", any, "2026-11-23T00:00:00.000000000Z"),
            ("2days", any, "2026-11-21T01:30:00.000000000Z"),
            ("1h 30m", any, "2026-11-23T00:00:00.000000000Z"),
            ("now", any, "2026-11-23T01:30:00.000000000Z"),
            // Longer than there have been clocks.
            ("100years", any, "1970-01-01T00:00:00.000000000Z"),
            // RFC 3339 names its own zone.
            ("2026-11-22T14:00:00Z", any, "2026-11-22T14:00:00.000000000Z"),
            ("2026-11-22T14:00:00.5+02:00", any, "2026-11-22T12:00:00.500000000Z"),
            ("2026-11-22 14:00:00z", any, "2026-11-22T14:00:00.000000000Z"),
            // What names none is of the zone asked for.
            ("2026-11-22T14:00", &["UTC"], "2026-11-22T14:00:00.000000000Z"),
            ("2026-11-22 14:00:30", &["Europe/Vienna"], "2026-11-22T13:00:30.000000000Z"),
        ] {
            for zone in zones {
                assert_eq!(span(text, zone), (expected.to_owned(), expected.to_owned()), "{text} in {zone}");
            }
        }
    }

    #[test]
    fn a_day_is_from_its_midnight_to_the_next_in_the_zone() {
        for (text, zone, first, last) in [
            ("today", "UTC", "2026-11-23T00:00:00.000000000Z", "2026-11-23T23:59:59.999999999Z"),
            ("2026-11-23", "UTC", "2026-11-23T00:00:00.000000000Z", "2026-11-23T23:59:59.999999999Z"),
            ("yesterday", "UTC", "2026-11-22T00:00:00.000000000Z", "2026-11-22T23:59:59.999999999Z"),
            ("today", "America/New_York", "2026-11-22T05:00:00.000000000Z", "2026-11-23T04:59:59.999999999Z"),
            // The day on which clocks went back has 25 hours.
            ("2026-10-25", "Europe/Vienna", "2026-10-24T22:00:00.000000000Z", "2026-10-25T22:59:59.999999999Z"),
        ] {
            assert_eq!(span(text, zone), (first.to_owned(), last.to_owned()), "{text} in {zone}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused_with_what_is() {
        for text in ["", "soon", "24", "2026-13-01", "2026-02-30", "14:00", "-24h", "tomorrow", "2026-11-22T25:00:00Z"]
        {
            let error = text.parse::<When>().unwrap_err();
            assert_eq!(error, WhenError::Unknown(text.to_owned()));
            assert!(error.to_string().contains("24h"), "{error}");
        }
        for text in ["1969-12-31T23:59:59Z", "2300-01-01T00:00:00Z"] {
            assert_eq!(text.parse::<When>(), Err(WhenError::OutOfRange(text.to_owned())));
        }
        let early = "1960-01-01".parse::<When>().unwrap();
        assert_eq!(early.start(NOW, &Zone::UTC), Err(WhenError::OutOfRange("1960-01-01".to_owned())));
    }

    #[test]
    fn times_show_in_the_zone() {
        assert_eq!(Zone::UTC.show(NOW), "2026-11-23T01:30:00.000000000Z");
        assert_eq!(zone("utc").show(NOW + 7), "2026-11-23T01:30:00.000000007Z");
        assert_eq!(zone("Asia/Kolkata").show(NOW), "2026-11-23T07:00:00.000000000+05:30");
        assert_eq!(zone("America/New_York").show_seconds(NOW), "2026-11-22T20:30:00-05:00");
        assert_eq!(zone("UTC").show_seconds(NOW), "2026-11-23T01:30:00Z");
        assert_eq!(Zone::UTC.show(u64::MAX), "2554-07-21T23:34:33.709551615Z");
    }

    #[test]
    fn an_hour_begins_by_the_zones_clock() {
        assert_eq!(Zone::UTC.hour_start(NOW + 5), NOW - HOUR / 2);
        assert_eq!(zone("Asia/Kolkata").hour_start(NOW + 5), NOW);
        assert_eq!(zone("Asia/Kathmandu").hour_start(NOW + 5), NOW - HOUR / 4);
        assert_eq!(Zone::UTC.hour_start(NOW - HOUR / 2), NOW - HOUR / 2);
        assert_eq!(Zone::UTC.hour_start(0), 0);
    }

    #[test]
    fn a_zone_that_is_not_there_is_refused() {
        for name in ["Middle/Earth", "", "../../etc/passwd", "+25:00"] {
            assert_eq!(name.parse::<Zone>(), Err(WhenError::Zone(name.to_owned())));
        }
        assert!("local".parse::<Zone>().is_ok());
    }
}
