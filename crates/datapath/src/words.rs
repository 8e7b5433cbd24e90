//! The maps' values as aya takes them: plain words and bytes, since it wants its own marker trait on a value type; and their sums over all CPUs.

use aya::maps::PerCpuValues;
use node_ebpf_common::{
    counter::{CELLS_PER_ROW, Counter},
    maps::{PeerRecord, RowRecord},
    peer_traffic::SLOT_CELLS,
};

/// A counter as plain words (packets, bytes): aya wants its own marker trait on a value type.
pub(super) type CounterWords = [u64; 2];
/// The cells of one row, for the same reason.
pub(super) type RowWords = [CounterWords; CELLS_PER_ROW as usize];
/// The cells of one slot of the peer matrix, for the same reason.
pub(super) type SlotWords = [CounterWords; SLOT_CELLS as usize];
/// A row record as plain bytes, for the same reason.
pub(super) type RowBytes = [u8; size_of::<RowRecord>()];
/// A peer record as plain bytes: aya wants its own marker trait on a value type.
pub(super) type PeerBytes = [u8; size_of::<PeerRecord>()];

/// Cells of one value of a per-CPU array, each summed over all CPUs.
pub(super) fn sums<const N: usize>(values: &PerCpuValues<[CounterWords; N]>) -> Vec<Counter> {
    let mut sums = vec![Counter::default(); N];
    for cells in values.iter() {
        for (sum, [packets, bytes]) in sums.iter_mut().zip(cells) {
            sum.packets += packets;
            sum.bytes += bytes;
        }
    }
    sums
}
