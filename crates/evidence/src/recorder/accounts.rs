//! The accounts of denied traffic: what waits for the store, what is known to be missing, and both with the store's totals against the kernel's counters,
//! so that what is recorded and what is missing always add up to what was denied. It must not read a clock or the kernel.

use super::{
    flows::{Flows, Losses, Names},
    in_force::Sweep,
    previous_run::Baseline,
};
use crate::record::{Batch, LossKind};
use nodewall_host::state::Clock;

/// The accounts between two turns. Amounts are packets and bytes.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    pub(super) flows: Flows,
    pub(super) losses: Losses,
    pub(super) baseline: Baseline,
    /// Until when nothing that was denied is missing; `None`: no store was met yet.
    pub(super) complete_until_ns: Option<u64>,
}

impl Accounts {
    /// Takes in a sweep but for its captures.
    pub(super) fn take(&mut self, sweep: &Sweep, names: &mut Names, has_buffers: bool, since_ns: u64, now: &Clock) {
        self.flows.take(&sweep.flows, names, since_ns, now, &mut self.losses);
        let until_ns = now.unix_ns;
        let [packets, bytes] = sweep.not_attributed;
        self.losses.add(LossKind::NotAttributed, packets, bytes, since_ns, until_ns);
        // Without buffers nothing is granted.
        let not_granted = if has_buffers { LossKind::CaptureBudget } else { LossKind::CaptureBuffer };
        self.losses.add(not_granted, sweep.over_budget, 0, since_ns, until_ns);
        self.losses.add(LossKind::CaptureBuffer, sweep.unread, 0, since_ns, until_ns);
    }

    /// A batch has no place: counted until there is one.
    pub(super) fn not_kept(&mut self, batch: &Batch) {
        for flow in &batch.flows {
            self.losses.add(LossKind::NotKept, flow.packets, flow.bytes, flow.first_unix_ns, flow.last_unix_ns);
        }
        let captures = batch.captures.len() as u64;
        self.losses.add(LossKind::CaptureStore, captures, 0, batch.unix_ns, batch.unix_ns);
        for loss in &batch.losses {
            self.losses.add(loss.kind, loss.packets, loss.bytes, loss.first_unix_ns, loss.last_unix_ns);
        }
    }

    /// All that is accounted for: in the store, waiting for it, or known to be missing.
    pub(super) fn accounted(&self, stored: [u64; 2]) -> [u64; 2] {
        let [[packets, bytes], [waiting, waiting_bytes], [lost, lost_bytes]] =
            [stored, self.flows.waiting(), self.losses.denied()];
        [packets + waiting + lost, bytes + waiting_bytes + lost_bytes]
    }

    /// What the counters have and the accounts have not was denied while nobody recorded, or was lost with a killed agent.
    pub(super) fn compare(&mut self, counted: [u64; 2], stored: [u64; 2], now_ns: u64) {
        let [accounted, accounted_bytes] = self.accounted(stored);
        let [packets, bytes] = counted;
        let missing = packets.saturating_sub(accounted.saturating_sub(self.baseline.packets));
        let missing_bytes = bytes.saturating_sub(accounted_bytes.saturating_sub(self.baseline.bytes));
        let since_ns = self.complete_until_ns.replace(now_ns).unwrap_or(now_ns).min(now_ns);
        self.losses.add(LossKind::Unrecorded, missing, missing_bytes, since_ns, now_ns);
    }
}
