//! What is owed to the receiver: kernel counters become differences, and differences wait until they are acknowledged. Written down at each step, so that
//! whatever ends the process, each difference is sent once or told to be in doubt. Must not send, and must not read a clock.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::{
    line::{Line, MAX_AGE_MS, MAX_AHEAD_MS, Metric, Series, Taken},
    way::{Progress, progress},
};
use crate::view::counters::Row;

/// Most data points that wait, each with its own time. One more, and the two oldest become one: times are lost, no count is.
const MAX_POINTS: usize = 60;
/// Most lines that wait in more than one data point, for the same reason.
const MAX_LINES_WAITING: usize = 50_000;

/// Counters of the kernel at one time.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Which counters these are: others begin at zero.
    pub counters: String,
    /// All of them that ever moved.
    pub rows: Vec<Row>,
}

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// Frames.
    pub packets: u64,
    /// As in `counters`.
    pub bytes: u64,
}

impl Amount {
    fn add(&mut self, line: &Line) {
        match line.metric {
            Metric::Packets => self.packets += line.delta,
            Metric::Bytes => self.bytes += line.delta,
        }
    }
}

/// What became of all that was ever sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// The receiver said that it has it.
    pub acknowledged: Amount,
    /// Sent once, and nobody can say whether it arrived; it is not sent again.
    pub in_doubt: Amount,
    /// The receiver refused these lines for what is in them; they are not sent again.
    pub refused: Amount,
    /// Its reason for the last of them.
    pub last_refusal: Option<String>,
}

/// Differences at one time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Point {
    unix_ms: u64,
    lines: VecDeque<Line>,
}

/// The oldest lines of the oldest point, on their way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Sending {
    lines: usize,
    /// Number of the request.
    number: u64,
    /// The boot in which it was sent.
    boot_id: String,
}

/// What was read, what waits, what is on its way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Which counters `read` is of.
    counters: Option<String>,
    /// Up to where each counter is in `points`, or was.
    read: BTreeMap<String, Amount>,
    /// Oldest first.
    points: VecDeque<Point>,
    /// What is being sent.
    sending: Option<Sending>,
    /// Requests so far.
    requests: u64,
    /// What became of the rest.
    pub totals: Totals,
}

impl Ledger {
    /// One that owes nothing of what was counted before: for when it is not known what was sent.
    pub fn beginning_at(snapshots: &[Snapshot]) -> Self {
        let mut ledger = Self::default();
        for snapshot in snapshots {
            ledger.note(snapshot, 0);
        }
        ledger.points.clear();
        ledger
    }

    /// Takes what is new in `snapshot` as a data point of this time. Whether there was anything.
    pub fn note(&mut self, snapshot: &Snapshot, unix_ms: u64) -> bool {
        if self.counters.as_ref() != Some(&snapshot.counters) {
            self.counters = Some(snapshot.counters.clone());
            self.read.clear();
        }
        let mut lines = Vec::new();
        for row in &snapshot.rows {
            let series = Series::of(row);
            let read = self.read.entry(series.counter()).or_default();
            for (metric, now, before) in
                [(Metric::Packets, row.packets, &mut read.packets), (Metric::Bytes, row.bytes, &mut read.bytes)]
            {
                // Counters never go back; one that did was set to zero.
                let delta = now.checked_sub(*before).unwrap_or(now);
                *before = now;
                if delta > 0 {
                    lines.push(Line { metric, series: series.clone(), delta });
                }
            }
        }
        if lines.is_empty() {
            return false;
        }
        // Two points of one time could be taken for one.
        let unix_ms = self.points.back().map_or(unix_ms, |last| unix_ms.max(last.unix_ms + 1));
        self.points.push_back(Point { unix_ms, lines: lines.into() });
        while self.points.len() > MAX_POINTS || (self.points.len() > 1 && self.waiting() > MAX_LINES_WAITING) {
            self.merge_oldest();
        }
        true
    }

    /// How many lines wait.
    pub fn waiting(&self) -> usize {
        self.points.iter().map(|point| point.lines.len()).sum()
    }

    /// The time of the oldest that waits, Unix time, ms.
    pub fn oldest_unix_ms(&self) -> Option<u64> {
        self.points.front().map(|point| point.unix_ms)
    }

    /// The oldest lines and their time, made one that the receiver takes at `now_unix_ms`.
    pub(super) fn oldest(&mut self, now_unix_ms: u64) -> Option<(&[Line], u64)> {
        let too_old = now_unix_ms.saturating_sub(MAX_AGE_MS);
        if self.points.iter().any(|point| point.unix_ms > now_unix_ms + MAX_AHEAD_MS) {
            // The clock went back.
            while self.points.len() > 1 {
                self.merge_oldest();
            }
        }
        while self.points.len() > 1 && self.points.front().is_some_and(|point| point.unix_ms < too_old) {
            self.merge_oldest();
        }
        let oldest = self.points.front_mut()?;
        if oldest.unix_ms < too_old || oldest.unix_ms > now_unix_ms + MAX_AHEAD_MS {
            oldest.unix_ms = now_unix_ms;
        }
        Some((oldest.lines.make_contiguous(), oldest.unix_ms))
    }

    /// So many of the oldest lines are about to be sent. To be written down before they are.
    /// Returns the request's number.
    pub(super) fn begin(&mut self, lines: usize, boot_id: &str) -> u64 {
        self.requests += 1;
        self.sending = Some(Sending { lines, number: self.requests, boot_id: boot_id.to_owned() });
        self.requests
    }

    /// The number of the request under way.
    pub(super) fn under_way(&self) -> Option<u64> {
        self.sending.as_ref().map(|sending| sending.number)
    }

    /// What became of them.
    pub(super) fn settle(&mut self, taken: &Taken) {
        let Some(Sending { lines: sent, .. }) = self.sending.take() else { return };
        if matches!(taken, Taken::None(_)) {
            return;
        }
        let Some(oldest) = self.points.front_mut() else { return };
        for (place, line) in oldest.lines.drain(..sent.min(oldest.lines.len())).enumerate() {
            match taken {
                Taken::Unknown(_) => self.totals.in_doubt.add(&line),
                Taken::AllBut(refused) if refused.contains_key(&place) => {
                    self.totals.refused.add(&line);
                    self.totals.last_refusal = refused.get(&place).cloned();
                }
                _ => self.totals.acknowledged.add(&line),
            }
        }
        if oldest.lines.is_empty() {
            self.points.pop_front();
        }
    }

    /// After a start: what became of what was on its way when the last process ended. `way` is its last record, `boot_id` this boot. `None`: nothing was.
    pub(super) fn recover(&mut self, way: Option<&str>, boot_id: &str) -> Option<Taken> {
        let sending = self.sending.as_ref()?;
        let unknown = || Taken::Unknown("nodewall ended before the receiver's answer".into());
        let taken = if sending.boot_id == boot_id {
            match progress(way, boot_id, sending.number) {
                Progress::NotSent => Taken::None("nodewall ended before it was sent".into()),
                Progress::Sent => unknown(),
                Progress::Settled(taken) => taken,
            }
        } else {
            unknown()
        };
        self.settle(&taken);
        Some(taken)
    }

    fn merge_oldest(&mut self) {
        let Some(oldest) = self.points.pop_front() else { return };
        let Some(next) = self.points.front_mut() else {
            self.points.push_front(oldest);
            return;
        };
        let mut sums: BTreeMap<(Metric, Series), u64> = BTreeMap::new();
        for line in oldest.lines.into_iter().chain(std::mem::take(&mut next.lines)) {
            *sums.entry((line.metric, line.series)).or_default() += line.delta;
        }
        next.lines = sums.into_iter().map(|((metric, series), delta)| Line { metric, series, delta }).collect();
    }
}

#[cfg(test)]
mod tests;
