//! The peer matrix: how much of a port's traffic is with which peer. Which cell a frame moves; it counts nothing itself.
//!
//! Each CPU's part of it is slots: all of a peer's cells, which are read and emptied at once. A frame is in it besides its own counter cell, and only where
//! the policy names its port: inbound when it passes because a peer sent it, outbound when it goes to a peer. So the sum over a row's peers is what the row
//! counted as passed for the reason `peer`.

use crate::{
    counter::{CELLS_PER_ROW, Counter, ROW_FIRST, ROWS, place},
    decide::Decision,
    outbound::Outbound,
    reason::Reason,
};

/// Peers with cells of their own: the numbers 1 to this. Six addresses for each node of the largest cluster.
pub const OWN_PEERS: u32 = 192;
/// Slots. Slot 0 is shared by the peers whose numbers are larger.
pub const SLOTS: u32 = OWN_PEERS + 1;
/// The slot of the peers that have none of their own.
pub const SLOT_OTHER: u32 = 0;
/// Columns, some more than the rows of the vendor's ports (51): a row each from [`ROW_FIRST`] on, and the last one for all rows behind.
pub const COLUMNS: u32 = 64;
/// The column that rows share.
pub const COLUMN_SHARED: u32 = COLUMNS - 1;
/// Cells of a slot: one direction's columns, then the other's. A power of two.
pub const SLOT_CELLS: u32 = 2 * COLUMNS;
/// All cells.
pub const CELLS: u32 = SLOTS * SLOT_CELLS;

/// The cells of one slot.
pub type SlotCells = [Counter; SLOT_CELLS as usize];

/// Which way a frame went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
pub enum Direction {
    /// From the peer.
    In = 0,
    /// To the peer.
    Out = 1,
}

impl Direction {
    /// Both, in the order of their numbers.
    pub const ALL: [Self; 2] = [Self::In, Self::Out];

    /// `in` or `out`, as scripts see it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
        }
    }
}

/// The slot of a peer's number.
#[inline(always)]
pub const fn slot(peer: u32) -> u32 {
    if peer < SLOTS { peer } else { SLOT_OTHER }
}

/// The column of a row from [`ROW_FIRST`] on.
#[inline(always)]
pub const fn column(row: u32) -> u32 {
    let column = row.wrapping_sub(ROW_FIRST);
    if column < COLUMN_SHARED { column } else { COLUMN_SHARED }
}

/// The cell of a column and a slot: the slot times [`SLOT_CELLS`], and the place in it.
#[inline(always)]
pub const fn cell(direction: Direction, column: u32, slot: u32) -> u32 {
    slot * SLOT_CELLS + direction as u32 * COLUMNS + column
}

/// The cell that an inbound frame moves.
#[inline(always)]
pub const fn inbound(decision: &Decision) -> Option<u32> {
    let row = decision.cell / CELLS_PER_ROW;
    if decision.cell % CELLS_PER_ROW != place(Reason::Peer, true) || row < ROW_FIRST {
        return None;
    }
    Some(cell(Direction::In, column(row), slot(decision.source_peer)))
}

/// The cell that an outbound frame moves.
#[inline(always)]
pub const fn outbound(outbound: &Outbound) -> Option<u32> {
    if outbound.peer == 0 {
        return None;
    }
    Some(cell(Direction::Out, column(outbound.row), slot(outbound.peer)))
}

const _: () = assert!(ROWS - ROW_FIRST > COLUMNS && SLOT_CELLS.is_power_of_two());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_and_peer_has_a_cell_within_the_map() {
        assert_eq!((column(ROW_FIRST), column(ROW_FIRST + COLUMN_SHARED - 1)), (0, COLUMN_SHARED - 1));
        assert_eq!((column(ROW_FIRST + COLUMN_SHARED), column(ROWS - 1)), (COLUMN_SHARED, COLUMN_SHARED));
        assert_eq!((slot(1), slot(OWN_PEERS), slot(OWN_PEERS + 1), slot(65_535)), (1, OWN_PEERS, 0, 0));
        assert_eq!(cell(Direction::Out, COLUMN_SHARED, OWN_PEERS), CELLS - 1);
        assert_eq!(cell(Direction::In, 1, SLOT_OTHER), cell(Direction::In, 0, SLOT_OTHER) + 1, "no two share a cell");
    }

    #[test]
    fn only_what_passes_as_a_peer_on_a_named_row_is_in_it() {
        let decision = |reason: Reason, row| Decision {
            cell: row * CELLS_PER_ROW + place(reason, true),
            source_peer: 3,
            bytes: 60,
        };
        assert_eq!(inbound(&decision(Reason::Peer, ROW_FIRST + 2)), Some(cell(Direction::In, 2, 3)));
        assert_eq!(inbound(&decision(Reason::Peer, ROW_FIRST - 1)), None, "a tunnel or a fragment");
        for reason in Reason::ALL.iter().filter(|reason| **reason != Reason::Peer && reason.has_row()) {
            assert_eq!(inbound(&decision(*reason, ROW_FIRST)), None, "{reason:?}");
        }
    }
}
