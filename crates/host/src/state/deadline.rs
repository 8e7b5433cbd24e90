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

/// What the clocks say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clock {
    /// This boot's random name.
    pub boot_id: String,
    /// Time since boot, suspend included, ns (`CLOCK_BOOTTIME`).
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
    fn this_machine_tells_all_three() {
        let now = Clock::now();
        assert!(now.boot_id.len() > 30 && now.boot_ns > 0 && now.unix_ns > 0);
    }
}
