//! Where a layout of the maps keeps what it counts, said so that another build can read it: an upgrade carries amounts over by what they mean (row,
//! reason, outcome; peer, direction, column). Each data path has this of itself in a map; of the one layout that had no such map it is written down here.
//! It must not say how a policy lies in memory: a policy is compiled anew.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use core::mem::offset_of;

use crate::{
    ABI_VERSION,
    area::CpuArea,
    counter::{self, CELLS_PER_ROW, Outcome, ROWS},
    maps::{LayoutWords, PeerRecord, RowRecord},
    outbound::{self, Sent},
    peer_traffic::{self, COLUMNS, Direction, SLOT_CELLS, SLOTS},
    reason::{REASON_SLOTS, Reason},
};

/// `nwlayout`, little-endian.
pub const LAYOUT_MAGIC: u64 = u64::from_le_bytes(*b"nwlayout");
/// No cell.
pub const NO_CELL: u32 = u32::MAX;
/// Cells of each reason: enforced, and in audit mode; what passes may have one for both.
type ReasonCells = [[u32; 2]; REASON_SLOTS as usize];

/// A layout's own account. Frozen: every later build reads it, and an earlier one when it is gone back to. A layout that this can not describe needs
/// another magic number, which is refused.
///
/// A cell's number counts through a map's values in the order of their keys, and through the cells of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Layout {
    /// [`LAYOUT_MAGIC`]; 0 until it is written.
    pub magic: u64,
    /// [`ABI_VERSION`].
    pub version: u32,
    /// The kernel's number of the first map of counters that these go on from; 0: they began at zero.
    pub origin: u32,
    /// Size of a [`RowRecord`].
    pub row_bytes: u32,
    /// Size of a [`PeerRecord`].
    pub peer_bytes: u32,
    /// Counter rows. The rows before [`counter::ROW_FIRST`] mean the same in every layout.
    pub rows: u32,
    /// Slots of the peer matrix.
    pub slots: u32,
    /// Cells of `nw_counters`.
    pub inbound_cells: u32,
    /// From a row's cells to the next row's.
    pub inbound_row: u32,
    /// The cells of each reason on row 0.
    pub inbound: ReasonCells,
    /// Cells of `nw_outbound`.
    pub outbound_cells: u32,
    /// From a row's cells to the next row's.
    pub outbound_row: u32,
    /// The cell of each [`Sent`] on row 0.
    pub outbound: [u32; 2],
    /// Cells of `nw_peer_traffic`.
    pub peer_cells: u32,
    /// From a slot's cells to the next slot's.
    pub peer_slot: u32,
    /// The first column's cell of each [`Direction`] in slot 0.
    pub peer: [u32; 2],
    /// Columns: a row each from [`counter::ROW_FIRST`] on, and the last one for all rows behind.
    pub columns: u32,
    /// Keeps the layout free of implicit padding.
    pub reserved: u32,
    /// `nw_counters` is an array with a value for each CPU of so many bytes, which holds all cells; 0: all three are per-CPU arrays. What stands from here on the
    /// layouts before 9 did not have.
    pub area_bytes: u32,
    /// Where the cells of `nw_counters` begin in that value, bytes.
    pub inbound_at: u32,
    /// Where those of `nw_outbound` do.
    pub outbound_at: u32,
    /// Where those of `nw_peer_traffic` do.
    pub peers_at: u32,
}

/// Words of an account of a layout before 9.
pub const EARLIER_WORDS: usize = size_of::<LayoutWords>() / 8 - 2;

impl Layout {
    /// This build's.
    pub const OURS: Self = Self {
        magic: LAYOUT_MAGIC,
        version: ABI_VERSION,
        origin: 0,
        row_bytes: size_of::<RowRecord>() as u32,
        peer_bytes: size_of::<PeerRecord>() as u32,
        rows: ROWS,
        slots: SLOTS,
        inbound_cells: counter::CELLS,
        inbound_row: CELLS_PER_ROW,
        inbound: ours(),
        outbound_cells: outbound::CELLS,
        outbound_row: outbound::CELLS_PER_ROW,
        outbound: [outbound::cell(0, Sent::ToPort), outbound::cell(0, Sent::FromPort)],
        peer_cells: peer_traffic::CELLS,
        peer_slot: SLOT_CELLS,
        peer: [peer_traffic::cell(Direction::In, 0, 0), peer_traffic::cell(Direction::Out, 0, 0)],
        columns: COLUMNS,
        reserved: 0,
        area_bytes: size_of::<CpuArea>() as u32,
        inbound_at: offset_of!(CpuArea, counters) as u32,
        outbound_at: offset_of!(CpuArea, outbound) as u32,
        peers_at: offset_of!(CpuArea, peers) as u32,
    };

    /// Layout 7, which says nothing of itself: commit 25a784f, `node-ebpf-common/src/{counter,outbound,peer_traffic,maps,reason}.rs`. Frozen.
    pub const SEVEN: Self = Self {
        magic: LAYOUT_MAGIC,
        version: 7,
        origin: 0,
        row_bytes: 40,
        peer_bytes: 20,
        rows: 2_048,
        slots: 257,
        // Two banks, of what was enforced and of audit mode: 2,048 rows of 16 cells each.
        inbound_cells: 65_536,
        inbound_row: 16,
        inbound: seven(),
        outbound_cells: 4_096,
        outbound_row: 2,
        outbound: [0, 1],
        // 257 slots of twice 128 columns.
        peer_cells: 65_792,
        peer_slot: 256,
        peer: [0, 128],
        columns: 128,
        reserved: 0,
        area_bytes: 0,
        inbound_at: 0,
        outbound_at: 0,
        peers_at: 0,
    };

    /// The column of a row from [`counter::ROW_FIRST`] on.
    pub const fn column(&self, row: u32) -> u32 {
        let (column, shared) = (row.wrapping_sub(counter::ROW_FIRST), self.columns - 1);
        if column < shared { column } else { shared }
    }
}

#[allow(clippy::indexing_slicing, reason = "at compile time")]
const fn ours() -> ReasonCells {
    let mut cells = [[NO_CELL; 2]; REASON_SLOTS as usize];
    let mut n = 0;
    while n < Reason::ALL.len() {
        let reason = Reason::ALL[n];
        cells[reason.number() as usize] = [our_cell(reason, true), our_cell(reason, false)];
        n += 1;
    }
    cells
}

const fn our_cell(reason: Reason, enforce: bool) -> u32 {
    match counter::cell(0, reason, Outcome::of(reason.verdict(), enforce)) {
        Some(cell) => cell,
        None => NO_CELL,
    }
}

#[allow(clippy::indexing_slicing, reason = "at compile time")]
const fn seven() -> ReasonCells {
    const REASONS: [u32; 21] = [0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 16, 17, 18, 19, 20, 24, 25, 26, 27, 28, 29];
    const AUDIT: u32 = 32_768;
    let mut cells = [[NO_CELL; 2]; REASON_SLOTS as usize];
    let mut n = 0;
    while n < REASONS.len() {
        cells[REASONS[n] as usize] = [REASONS[n], AUDIT + REASONS[n]];
        n += 1;
    }
    cells
}

// Another number of reasons or ways would make an account that no other build can read.
const _: () =
    assert!(size_of::<Layout>() == size_of::<LayoutWords>() && Sent::ALL.len() == 2 && Direction::ALL.len() == 2);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counter::{ROW_FIRST, ROW_TCP_UNMANAGED};

    /// Cells that are asked for by what they mean are those that the programs move.
    #[test]
    fn a_layout_s_cells_are_apart_and_within_its_maps() {
        for layout in [Layout::OURS, Layout::SEVEN] {
            let mut cells = std::collections::BTreeMap::new();
            for reason in Reason::ALL {
                let rows = if reason.has_row() { ROW_TCP_UNMANAGED..layout.rows } else { 0..1 };
                let mut own = layout.inbound[reason.number() as usize].to_vec();
                own.retain(|cell| *cell != NO_CELL);
                own.dedup();
                let is_known = layout.version >= 10 || *reason != Reason::OwnMulticast;
                assert_eq!(!own.is_empty(), is_known, "{reason:?}");
                for cell in rows.flat_map(|row| own.iter().map(move |cell| cell + row * layout.inbound_row)) {
                    assert!(cell < layout.inbound_cells, "{reason:?}");
                    assert_eq!(cells.insert(cell, reason), None, "{reason:?} and another");
                }
            }
            let last = |first: [u32; 2]| first[0].max(first[1]);
            assert_eq!(last(layout.outbound) + (layout.rows - 1) * layout.outbound_row, layout.outbound_cells - 1);
            let last_slot = (layout.slots - 1) * layout.peer_slot;
            assert_eq!(last(layout.peer) + last_slot + layout.columns - 1, layout.peer_cells - 1);
            assert_eq!((layout.column(ROW_FIRST), layout.column(layout.rows - 1)), (0, layout.columns - 1));
        }
    }
}
