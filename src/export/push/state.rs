//! Kernel counters -> differences that nobody was sent yet, and what became of those that were. Must not send, and must not read a clock.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::line::{BYTES, Delivery, PACKETS, counter, series};
use crate::view::{
    counters::Row,
    push_health::{Amount, Totals},
};

use nodewall_host::state::Stored;

/// Counters of the kernel at one time.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Which counters these are: others begin at zero.
    pub counters: String,
    /// All of them that ever moved.
    pub rows: Vec<Row>,
}

/// What was read, and what of it is still to be sent. On disk before each request as if its answer never came: whatever ends the process, nothing is sent twice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushState {
    /// Which counters `read` is of.
    counters: Option<String>,
    /// Up to where each counter has gone into `unsent`.
    read: BTreeMap<String, Amount>,
    /// Differences by series. They add up for as long as nobody takes them.
    pub(super) unsent: BTreeMap<String, u64>,
    /// What became of the rest.
    pub totals: Totals,
}

impl Stored for PushState {
    const FILE: &'static str = "push.state";
}

impl PushState {
    /// One that owes nothing of what was counted before: for when it is not known what was sent.
    pub(super) fn starting_at(snapshots: &[Snapshot]) -> Self {
        let mut state = Self::default();
        for snapshot in snapshots {
            state.add(snapshot);
        }
        state.unsent.clear();
        state
    }

    /// Adds what is new in `snapshot`. Whether there was anything.
    pub(super) fn add(&mut self, snapshot: &Snapshot) -> bool {
        let mut changed = false;
        if self.counters.as_ref() != Some(&snapshot.counters) {
            self.counters = Some(snapshot.counters.clone());
            self.read.clear();
        }
        for row in &snapshot.rows {
            let read = self.read.entry(counter(row)).or_default();
            for (metric, now, before) in
                [(PACKETS, row.packets, &mut read.packets), (BYTES, row.bytes, &mut read.bytes)]
            {
                // Counters never go back; one that did was set to zero.
                let delta = now.checked_sub(*before).unwrap_or(now);
                *before = now;
                if delta > 0 {
                    *self.unsent.entry(series(metric, row)).or_default() += delta;
                    changed = true;
                }
            }
        }
        changed
    }

    /// What became of the first `lines` of what is unsent.
    pub(super) fn settle(&mut self, lines: usize, delivery: &Delivery) {
        for place in 0..lines {
            let why_lost = match delivery {
                Delivery::Refused(_) => return,
                Delivery::AllBut(refused) => refused.get(&place),
                Delivery::Unknown(why) => Some(why),
            };
            let Some((series, delta)) = self.unsent.pop_first() else { return };
            let Totals { acknowledged, lost, last_loss } = &mut self.totals;
            let amount = if why_lost.is_some() { lost } else { acknowledged };
            *(if series.starts_with(PACKETS) { &mut amount.packets } else { &mut amount.bytes }) += delta;
            *last_loss = why_lost.cloned().or(last_loss.take());
        }
    }
}

#[cfg(test)]
mod tests;
