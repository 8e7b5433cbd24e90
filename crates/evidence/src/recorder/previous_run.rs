//! What the run before left in the store for this one: notes, and whether it ended in order. From it follows since when denied frames can be missing.
//! It must not read a clock or the kernel.

use serde::{Deserialize, Serialize};

use super::flows::WRITE_EVERY_NS;
use crate::{
    record::{Event, EventKind},
    store::{LastWord, Writer},
    when::Zone,
};
use nodewall_host::state::Clock;

/// A [`Recorded`](super::events::Recorded).
pub(super) const RECORDED: &str = "recorder.known";
/// The boot in which the store was written last.
pub(super) const BOOT: &str = "recorder.boot";
/// A [`Baseline`].
pub(super) const BASELINE: &str = "recorder.base";
/// A flow waits for so long to be written; sweeps are a second apart.
const HELD_BACK_NS: u64 = WRITE_EVERY_NS + 2_000_000_000;

/// Where the counters of a data path stood to the store's totals when it was first met.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Baseline {
    /// The data path: boot and map.
    #[serde(rename = "live")]
    pub(super) data_path: String,
    pub(super) packets: u64,
    pub(super) bytes: u64,
}

pub(super) fn read<T: for<'a> Deserialize<'a>>(store: &Writer, key: &str) -> Option<T> {
    let value = store.meta(key).ok().flatten()?;
    serde_json::from_slice(&value).ok()
}

/// A note that can not be kept is told: what hangs on it is only a count.
pub(super) fn write<T: Serialize>(store: &mut Writer, key: &str, value: &T) {
    if let Err(error) = store.set_meta(key, &serde_json::to_vec(value).unwrap_or_default()) {
        tracing::warn!("evidence: {error}");
    }
}

/// Until when nothing that was denied is missing from the store, but what the kernel still holds. The kernel's counters began with the boot.
pub(super) fn complete_until_ns(last: Option<LastWord>, now: &Clock) -> u64 {
    let boot_ns = now.unix_ns.saturating_sub(now.boot_ns);
    let written =
        last.map_or(0, |last| if last.stopped { last.unix_ns } else { last.unix_ns.saturating_sub(HELD_BACK_NS) });
    written.max(boot_ns).min(now.unix_ns)
}

/// Tells of a recorder that did not end in order. `boot`: the one in which it wrote.
pub(super) fn cut_off(last: Option<LastWord>, boot: Option<&str>, now: &Clock) -> Option<Event> {
    let last = last.filter(|last| !last.stopped)?;
    let detail = if boot == Some(now.boot_id.as_str()) {
        format!(
            "the agent before wrote last at {} and did not end in order; what was denied and not written is counted as unrecorded",
            Zone::UTC.show_seconds(last.unix_ns)
        )
    } else {
        // The kernel's counters went with the boot: nobody can say how much.
        format!(
            "the agent before wrote last at {} and did not end in order, and the node started anew: of what was denied between {} and its end, what was \
             not written is missing, and its number is not known",
            Zone::UTC.show_seconds(last.unix_ns),
            Zone::UTC.show_seconds(last.unix_ns.saturating_sub(HELD_BACK_NS))
        )
    };
    Some(Event { unix_ns: now.unix_ns, kind: EventKind::AgentCutOff, detail, who: None, text: None })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unnecessary_wraps)]
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    fn now() -> Clock {
        Clock { boot_id: "this".into(), boot_ns: 1_000 * SECOND_NS, unix_ns: 1_795_363_200 * SECOND_NS }
    }

    fn word(ago_s: u64, stopped: bool) -> Option<LastWord> {
        Some(LastWord { unix_ns: now().unix_ns - ago_s * SECOND_NS, stopped })
    }

    #[test]
    fn what_is_missing_is_not_older_than_the_last_word_or_the_boot() {
        let ago_s = |last| (now().unix_ns - complete_until_ns(last, &now())) / SECOND_NS;
        assert_eq!(ago_s(word(300, true)), 300);
        assert_eq!(ago_s(word(300, false)), 362, "flows wait for a minute");
        assert_eq!(ago_s(word(5_000, true)), 1_000, "the counters are of this boot");
        assert_eq!(ago_s(None), 1_000);
        let set_back = Some(LastWord { unix_ns: u64::MAX, stopped: true });
        assert_eq!(ago_s(set_back), 0, "the clock was set back");
    }

    #[test]
    fn an_end_out_of_order_is_told_with_what_it_cost() {
        assert_eq!(cut_off(None, Some("this"), &now()), None);
        assert_eq!(cut_off(word(300, true), Some("before"), &now()), None);
        let killed = cut_off(word(300, false), Some("this"), &now()).unwrap();
        assert_eq!(killed.kind, EventKind::AgentCutOff);
        assert!(killed.detail.contains("2026-11-22T15:55:00") && killed.detail.contains("unrecorded"), "{killed:?}");
        let power = cut_off(word(300, false), Some("before"), &now()).unwrap();
        assert!(power.detail.contains("between 2026-11-22T15:53:58"), "{power:?}");
        assert!(power.detail.contains("its number is not known"), "{power:?}");
    }
}
