//! Moments that no clock step moves: the kernel's time since boot (which goes on in suspend), together with which boot it was.

use std::{
    fs,
    sync::OnceLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Where the kernel says which boot this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What the wall clock is believed of the time between two boots: a wrong one must not make old what is not.
const MOST_BETWEEN_BOOTS: Duration = Duration::from_secs(86_400);

/// What the clocks say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// This boot's random name; empty: it is not known any more.
    #[serde(default)]
    pub boot_id: String,
    /// Time since boot, suspend included, ns (`CLOCK_BOOTTIME`).
    #[serde(default)]
    pub boot_ns: u64,
    /// Unix time, ns.
    pub unix_ns: u64,
}

/// Read once: a process does not outlive its boot.
fn boot_id() -> &'static str {
    static READ: OnceLock<String> = OnceLock::new();
    READ.get_or_init(|| fs::read_to_string(BOOT_ID).unwrap_or_default().trim().to_owned())
}

impl Clock {
    /// Now.
    pub fn now() -> Self {
        let boot = clock_gettime(ClockId::Boottime);
        Self {
            boot_id: boot_id().to_owned(),
            boot_ns: boot.tv_sec.cast_unsigned() * 1_000_000_000 + boot.tv_nsec.cast_unsigned(),
            unix_ns: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64),
        }
    }

    /// How long ago that was. Within one boot no clock step matters; across boots there is only the wall clock, which can make it a day at most.
    pub fn since(&self, then: &Self) -> Duration {
        if self.boot_id == then.boot_id {
            return Duration::from_nanos(self.boot_ns.saturating_sub(then.boot_ns));
        }
        Duration::from_nanos(self.unix_ns.saturating_sub(then.unix_ns)).min(MOST_BETWEEN_BOOTS)
    }
}

/// How often something may be told: some times at once, then once in a while. It counts by no clock that can be set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowance {
    used: u32,
    /// Since when the oldest of them is used.
    since: Clock,
}

impl Allowance {
    /// How many at once.
    const AT_ONCE: u32 = 20;
    /// After how long one more.
    const EVERY: Duration = Duration::from_secs(60);

    /// Whether there is one left.
    pub fn is_left(&self, now: &Clock) -> bool {
        self.used < Self::AT_ONCE || now.since(&self.since) >= Self::EVERY
    }

    /// Whether all of them are left.
    pub fn is_whole(&self, now: &Clock) -> bool {
        now.since(&self.since) >= Self::EVERY * self.used
    }

    /// Uses one, if one is left.
    pub fn take(&mut self, now: &Clock) -> bool {
        let regained = u32::try_from(now.since(&self.since).as_secs() / Self::EVERY.as_secs()).unwrap_or(u32::MAX);
        if regained > 0 || self.used == 0 {
            self.used = self.used.saturating_sub(regained);
            self.since = now.clone();
        }
        let is_left = self.used < Self::AT_ONCE;
        self.used += u32::from(is_left);
        is_left
    }
}

/// A moment to come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadline {
    boot_id: String,
    boot_ns: u64,
    unix_ns: u64,
}

impl Deadline {
    /// `after` from `now`.
    pub fn after(now: &Clock, after: Duration) -> Self {
        let after_ns = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
        Self {
            boot_id: now.boot_id.clone(),
            boot_ns: now.boot_ns.saturating_add(after_ns),
            unix_ns: now.unix_ns.saturating_add(after_ns),
        }
    }

    /// Whether it was set during the boot that `now` is of.
    pub fn is_of_boot(&self, now: &Clock) -> bool {
        self.boot_id == now.boot_id
    }

    /// What is left, zero once it has passed. Within one boot no clock step matters; across boots there is only the wall clock.
    pub fn left(&self, now: &Clock) -> Duration {
        let left_ns = if self.is_of_boot(now) {
            self.boot_ns.saturating_sub(now.boot_ns)
        } else {
            self.unix_ns.saturating_sub(now.unix_ns)
        };
        Duration::from_nanos(left_ns)
    }

    /// As time since boot, ns: what tells one deadline from all others of its boot.
    pub const fn boot_ns(&self) -> u64 {
        self.boot_ns
    }

    /// As Unix time, ns, by the wall clock at the time it was set.
    pub const fn unix_ns(&self) -> u64 {
        self.unix_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(boot_id: &str, boot_s: u64, unix_s: u64) -> Clock {
        Clock { boot_id: boot_id.into(), boot_ns: boot_s * 1_000_000_000, unix_ns: unix_s * 1_000_000_000 }
    }

    #[test]
    fn a_clock_step_moves_nothing_within_a_boot() {
        let deadline = Deadline::after(&clock("a", 100, 1_000_000), Duration::from_secs(300));
        for unix_s in [0, 1_000_100, 1_000_000 + 315_360_000] {
            assert_eq!(deadline.left(&clock("a", 200, unix_s)), Duration::from_secs(200));
        }
        assert_eq!(deadline.left(&clock("a", 400, 1_000_000)), Duration::ZERO);
        assert_eq!(deadline.left(&clock("a", 4_000, 0)), Duration::ZERO);
    }

    #[test]
    fn after_a_boot_the_wall_clock_tells() {
        let deadline = Deadline::after(&clock("a", 100, 1_000), Duration::from_secs(300));
        assert_eq!(deadline.left(&clock("b", 5, 1_200)), Duration::from_secs(100));
        assert_eq!(deadline.left(&clock("b", 5, 1_301)), Duration::ZERO);
        assert!(!deadline.is_of_boot(&clock("b", 5, 1_200)));
    }

    #[test]
    fn how_long_ago_something_was_no_clock_step_moves() {
        let then = clock("a", 100, 1_000_000);
        for unix_s in [0, 1_000_100, 1_000_000 + 315_360_000] {
            assert_eq!(clock("a", 200, unix_s).since(&then), Duration::from_secs(100));
        }
        assert_eq!(clock("b", 5, 1_000_050).since(&then), Duration::from_secs(50));
        assert_eq!(clock("b", 5, 1_000_000 + 315_360_000).since(&then), Duration::from_secs(86_400));
        assert_eq!(clock("b", 5, 0).since(&then), Duration::ZERO);
    }

    #[test]
    fn some_are_allowed_at_once_and_then_one_a_minute() {
        let mut allowance = Allowance::default();
        let taken = |allowance: &mut Allowance, boot_s, unix_s| {
            (0..40).filter(|_| allowance.take(&clock("a", boot_s, unix_s))).count()
        };
        assert_eq!(taken(&mut allowance, 100, 1_000), 20);
        assert_eq!(taken(&mut allowance, 159, 315_360_000), 0, "a clock that is set allows nothing");
        assert!(!allowance.is_left(&clock("a", 159, 0)) && allowance.is_left(&clock("a", 160, 0)));
        assert_eq!((taken(&mut allowance, 160, 0), taken(&mut allowance, 280, 0)), (1, 2));
        assert_eq!(taken(&mut allowance, 10_000, 0), 20);
    }

    #[test]
    fn this_machine_tells_all_three() {
        let now = Clock::now();
        assert!(now.boot_id.len() > 30 && now.boot_ns > 0 && now.unix_ns > 0);
    }
}
