//! How the push is doing: for `status` and the exporters. Must not know how it is sent.

use nodewall_host::state::Note;
use serde::{Deserialize, Serialize};

/// From so many failures on, an operator should look.
const FAILURES_UNTIL_ALARM: u32 = 3;

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// Frames.
    pub packets: u64,
    /// As in `counters`.
    pub bytes: u64,
}

/// What became of all that was ever sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// The receiver said that it has it.
    pub acknowledged: Amount,
    /// Sent once and never again, though nobody can say whether it arrived, or the receiver refused it for what is in it.
    pub lost: Amount,
    /// Why the last of that was lost.
    pub last_loss: Option<String>,
}

/// How the push is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushHealth {
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
    /// What became of the rest.
    pub totals: Totals,
}

impl Note for PushHealth {
    const FILE: &'static str = "push.json";
}

impl PushHealth {
    /// What an operator should look at.
    pub fn alarm(&self) -> Option<String> {
        let error = self.last_error.as_ref().filter(|_| self.failures >= FAILURES_UNTIL_ALARM)?;
        Some(format!("the push to the vendor failed {} times in a row: {error}", self.failures))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_is_called_after_three_failures() {
        let health = |failures| PushHealth { failures, last_error: Some("busy".into()), ..PushHealth::default() };
        assert_eq!(health(2).alarm(), None);
        assert!(health(3).alarm().is_some_and(|alarm| alarm.contains("3 times") && alarm.contains("busy")));
    }
}
