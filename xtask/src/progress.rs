//! Progress lines on stderr: one when a slow step starts (what, why, about how long), one with the time it took.

use std::time::{Duration, Instant};

/// A slow step that is under way.
pub(crate) struct Step {
    started: Instant,
}

impl Step {
    /// Announces the step.
    pub(crate) fn start(what_why_how_long: &str) -> Self {
        eprintln!("==> {what_why_how_long}");
        Self { started: Instant::now() }
    }

    /// Says that the step is done and how long it took.
    pub(crate) fn done(self) {
        eprintln!("    done in {}", seconds(self.started.elapsed()));
    }
}

/// A duration as people read it: `4.2 s`, `3 min 20 s`.
pub(crate) fn seconds(duration: Duration) -> String {
    let whole_s = duration.as_secs();
    if whole_s < 60 {
        format!("{:.1} s", duration.as_secs_f64())
    } else {
        format!("{} min {} s", whole_s / 60, whole_s % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        for (millis, text) in [(0, "0.0 s"), (4_200, "4.2 s"), (59_900, "59.9 s"), (200_000, "3 min 20 s")] {
            assert_eq!(seconds(Duration::from_millis(millis)), text);
        }
    }
}
