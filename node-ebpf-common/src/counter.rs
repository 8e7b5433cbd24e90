//! The counter cell and which cell a decision moves. Does not count: the kernel program does.
//!
//! One per-CPU array holds every counter. A frame whose port was looked up moves the cell (its row, its reason); every other
//! frame moves the cell of its reason in the rows that no port ever has; a blocked source's packet without a port moves that of its reason in row 0.
//! Audit mode uses a second bank, so that what was dropped and what would have been dropped are never mixed.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::reason::PORTLESS_FROM;

/// Reasons that a row has cells for.
pub const CELLS_PER_ROW: u32 = PORTLESS_FROM;
/// No port at all: what such a packet of a blocked source is counted on, and where the cells of reasons without a port begin.
pub const ROW_PORTLESS: u32 = 0;
/// Counter rows. Ranges of more than 256 ports share one; the kernel holds them all for each CPU (1 MiB).
pub const ROWS: u32 = 2048;
/// Outbound only: what goes to Mission Control, counted here besides its own row. Inbound it is one of the rows that no port has.
pub const ROW_MISSION_CONTROL: u32 = 1;
/// TCP ports that the policy does not name. The rows before hold the reasons without a port.
pub const ROW_TCP_UNMANAGED: u32 = 4;
/// UDP ports that the policy does not name.
pub const ROW_UDP_UNMANAGED: u32 = 5;
/// IP protocols that carry whole packets (IPIP, 6in4, GRE).
pub const ROW_IP_TUNNELS: u32 = 6;
/// Fragments after the first, where the policy asks who sent them.
pub const ROW_LATER_FRAGMENTS: u32 = 7;
/// The first row that a policy may give to a port.
pub const ROW_FIRST: u32 = 8;
/// Cells of one bank.
pub const BANK_CELLS: u32 = ROWS * CELLS_PER_ROW;
/// All cells: the enforce bank, then the audit bank.
pub const CELLS: u32 = 2 * BANK_CELLS;

/// What one CPU counted for one (row, reason, mode).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Counter {
    /// Frames.
    pub packets: u64,
    /// Link-layer header as received plus the IP packet's own length; for frames that are not IP, the buffer's length.
    pub bytes: u64,
}

/// The cells of one row: one value of the map, as the kernel takes 20 ms to allocate 65,536 values and half of one for 4,096.
pub type RowCells = [Counter; CELLS_PER_ROW as usize];

/// The cell of a row and a reason's number in the bank that starts at `bank`. For reasons without a row, `row` is [`ROW_PORTLESS`] and the number
/// itself reaches into the rows after it.
#[inline(always)]
pub const fn cell(bank: u32, row: u32, reason: u32) -> u32 {
    bank + row * CELLS_PER_ROW + reason
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::Reason;

    #[test]
    fn portless_cells_stay_out_of_the_port_rows() {
        for reason in Reason::ALL.iter().filter(|r| !r.has_row()) {
            let cell = cell(0, 0, reason.number());
            assert!((CELLS_PER_ROW..ROW_TCP_UNMANAGED * CELLS_PER_ROW).contains(&cell), "{reason:?}");
        }
        assert!(
            cell(0, ROW_PORTLESS, Reason::BlockedSource.number()) < CELLS_PER_ROW,
            "below those, and nobody else's"
        );
        assert_eq!(cell(BANK_CELLS, ROWS - 1, CELLS_PER_ROW - 1), CELLS - 1);
    }
}
