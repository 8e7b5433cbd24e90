//! What the agent tells about itself, for `status` and the exporters: repairs, gaps, what was refused last. Notes for people; nothing is decided by
//! them, so they are neither sealed nor flushed.

use serde::{Deserialize, Serialize};

use nodewall_host::state::{Clock, Note, StateDir};
use nodewall_text::one_line;

/// A change that was refused; the policy before it stayed in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Unix time, ns.
    pub unix_ns: u64,
    /// What was tried: `reload`, `nodewall apply`, …
    pub attempt: String,
    /// Nobody was there to read the refusal: a start, a reload.
    pub unattended: bool,
    /// Why it was refused, in one line, with file and line where a file is at fault.
    pub error: String,
}

/// Something that was not as it should be, and was set right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repair {
    /// Unix time, ns.
    pub unix_ns: u64,
    /// What was wrong.
    pub found: String,
}

/// How long interfaces stood open between their appearance and their attachment: from the kernel's event to the link, ns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gaps {
    /// How many there were since the agent started.
    pub count: u64,
    /// The longest.
    pub max_ns: u64,
    /// The last few, oldest first.
    pub last_ns: Vec<u64>,
}

impl Gaps {
    /// How many are kept.
    const KEPT: usize = 1_000;

    /// Notes a gap.
    pub fn note(&mut self, gap_ns: u64) {
        self.count += 1;
        self.max_ns = self.max_ns.max(gap_ns);
        if self.last_ns.len() == Self::KEPT {
            self.last_ns.remove(0);
        }
        self.last_ns.push(gap_ns);
    }

    /// The 99th percentile of those kept; 0 when there was none.
    pub fn p99_ns(&self) -> u64 {
        let mut sorted = self.last_ns.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * 99).div_ceil(100).saturating_sub(1);
        sorted.get(rank).copied().unwrap_or(0)
    }
}

/// The agent's account of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Its process id.
    pub pid: u32,
    /// Unix time at which it started, ns.
    pub started_unix_ns: u64,
    /// Repairs since then.
    pub repairs: u64,
    /// The last repair.
    pub last_repair: Option<Repair>,
    /// What is wrong right now and could not be repaired.
    pub alarms: Vec<String>,
    /// Interfaces that appeared.
    pub gaps: Gaps,
    /// Counters are pushed to the vendor.
    #[serde(default)]
    pub pushes: bool,
    /// Evidence is recorded.
    #[serde(default)]
    pub records: bool,
}

impl Note for Health {
    const FILE: &'static str = "agent.json";
}

impl Note for Refused {
    const FILE: &'static str = "refused.json";
}

impl Refused {
    /// Notes that a change was refused. Failing to is only logged: the refusal itself is what counts.
    pub fn note(state: &StateDir, attempt: &str, unattended: bool, error: &str) {
        let refused =
            Self { unix_ns: Clock::now().unix_ns, attempt: attempt.to_owned(), unattended, error: one_line(error) };
        if let Err(error) = state.write_note(&refused) {
            tracing::warn!("{}: the refusal could not be noted: {error}", state.path().display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_percentile_is_of_what_was_noted() {
        let mut gaps = Gaps::default();
        assert_eq!(gaps.p99_ns(), 0);
        (1..=100).for_each(|n| gaps.note(n));
        assert_eq!((gaps.p99_ns(), gaps.max_ns, gaps.count), (99, 100, 100));
        (0..2_000).for_each(|_| gaps.note(5));
        assert_eq!((gaps.p99_ns(), gaps.last_ns.len(), gaps.max_ns), (5, 1_000, 100));
    }
}
