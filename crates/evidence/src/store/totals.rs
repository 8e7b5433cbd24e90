//! What went into the store since it began, whether it is still there or not.

use crate::record::{Batch, LossKind};

/// What went into the store since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Denied frames in flows.
    pub flow_packets: u64,
    /// Their bytes.
    pub flow_bytes: u64,
    /// Captures.
    pub captures: u64,
    /// Packets and bytes of each kind of loss, in the order of [`LossKind::ALL`].
    pub losses: [[u64; 2]; LossKind::ALL.len()],
}

impl Totals {
    /// Packets and bytes of one kind of loss.
    pub fn loss(&self, kind: LossKind) -> [u64; 2] {
        LossKind::ALL.iter().zip(self.losses).find(|(k, _)| **k == kind).map_or([0; 2], |(_, amount)| amount)
    }

    /// Packets and bytes of all that was denied: in flows, or known not to be.
    pub fn denied(&self) -> [u64; 2] {
        let lost = LossKind::ALL.into_iter().zip(self.losses).filter(|(kind, _)| !kind.is_of_captures());
        lost.fold([self.flow_packets, self.flow_bytes], |[packets, bytes], (_, [p, b])| [packets + p, bytes + b])
    }

    pub(super) fn add(&mut self, batch: &Batch) {
        self.flow_packets += batch.flows.iter().map(|flow| flow.packets).sum::<u64>();
        self.flow_bytes += batch.flows.iter().map(|flow| flow.bytes).sum::<u64>();
        self.captures += batch.captures.len() as u64;
        for loss in &batch.losses {
            let of_kind = LossKind::ALL.into_iter().zip(&mut self.losses).filter(|(kind, _)| *kind == loss.kind);
            for (_, [packets, bytes]) in of_kind {
                *packets += loss.packets;
                *bytes += loss.bytes;
            }
        }
    }

    pub(super) fn to_bytes(self) -> Vec<u8> {
        let own = [self.flow_packets, self.flow_bytes, self.captures];
        own.iter().chain(self.losses.as_flattened()).flat_map(|n| n.to_le_bytes()).collect()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        let mut numbers = bytes.chunks_exact(8).map(|n| n.try_into().map_or(0, u64::from_le_bytes));
        let mut next = || numbers.next().unwrap_or(0);
        let mut totals =
            Self { flow_packets: next(), flow_bytes: next(), captures: next(), losses: Self::default().losses };
        totals.losses.as_flattened_mut().iter_mut().for_each(|n| *n = next());
        totals
    }
}
