//! The counter cell and which cell a decision moves. Does not count: the kernel program does.
//!
//! One per-CPU array holds every counter, a value for each row. What was counted is told by row, reason and [`Outcome`], and each of these has one
//! cell of its own ([`cell`]), whatever policy is in force: what passed has one in both modes, what is denied one for each. So a change of the mode moves
//! no counter. The program finds the cell by the image's table of [`Fate`]s, which is that of its mode.
//!
//! A frame whose port was looked up is counted on the port's row; every other frame, by its reason, on rows that no port ever has; a blocked
//! source's packet without a port on row 0.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::reason::{DROP_BIT, PORTLESS_FROM, REASON_SLOTS, Reason, Verdict};

/// Cells of a row: four for the reasons to pass, six for what was dropped, six for what would have been.
pub const CELLS_PER_ROW: u32 = 16;
/// The first cell of what was dropped.
const DROPS: u32 = 4;
/// The first cell of what would have been dropped.
const WOULD_DROPS: u32 = 10;
/// No port at all: what such a packet of a blocked source is counted on. The two rows after it are for the reasons without a port.
pub const ROW_PORTLESS: u32 = 0;
/// Counter rows. Ranges of more than 256 ports share one; the kernel holds them all for each CPU (512 KiB).
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
/// All cells.
pub const CELLS: u32 = ROWS * CELLS_PER_ROW;

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// It went on to the kernel's stack.
    Pass,
    /// It was not delivered.
    Drop,
    /// It went on although the policy denies it: the policy only audits.
    WouldDrop,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Pass, Self::Drop, Self::WouldDrop];

    /// What becomes of a frame under a policy that enforces, or that only audits.
    pub const fn of(verdict: Verdict, enforce: bool) -> Self {
        match (verdict, enforce) {
            (Verdict::Pass, _) => Self::Pass,
            (Verdict::Drop, true) => Self::Drop,
            (Verdict::Drop, false) => Self::WouldDrop,
        }
    }

    /// As scripts see it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Drop => "drop",
            Self::WouldDrop => "would_drop",
        }
    }
}

/// What one CPU counted for one (row, reason, outcome).
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

/// The cell of what `reason` made of frames on `row` ([`ROW_PORTLESS`] for those without a port); `None` where the reason never has that outcome.
pub const fn cell(row: u32, reason: Reason, outcome: Outcome) -> Option<u32> {
    match offset(reason, outcome) {
        Some(offset) => Some(row * CELLS_PER_ROW + offset),
        None => None,
    }
}

/// The same, counted from the row's first cell. Reasons without a port have two rows: one for what passed, one for what was denied.
const fn offset(reason: Reason, outcome: Outcome) -> Option<u32> {
    let (group, number) = (reason.number() / PORTLESS_FROM, reason.number() % PORTLESS_FROM);
    match (reason.verdict(), outcome) {
        (Verdict::Pass, Outcome::Pass) => Some(group * CELLS_PER_ROW + number),
        (Verdict::Drop, Outcome::Drop) => Some(2 * group * CELLS_PER_ROW + DROPS + number - DROP_BIT),
        (Verdict::Drop, Outcome::WouldDrop) => Some(2 * group * CELLS_PER_ROW + WOULD_DROPS + number - DROP_BIT),
        _ => None,
    }
}

/// What a cell counts: the inverse of [`cell`]. `None`: nothing is ever counted there.
pub fn meaning(index: u32) -> Option<(u32, Reason, Outcome)> {
    let row = index / CELLS_PER_ROW;
    let is_port_row = row >= ROW_TCP_UNMANAGED;
    let row = if is_port_row { row } else { ROW_PORTLESS };
    let reasons = Reason::ALL.iter().filter(|reason| match reason {
        Reason::BlockedSource => true,
        reason => reason.has_row() == is_port_row,
    });
    let counted = reasons.flat_map(|reason| Outcome::ALL.map(|outcome| (row, *reason, outcome)));
    counted.into_iter().find(|(row, reason, outcome)| cell(*row, *reason, *outcome) == Some(index))
}

/// What becomes of a frame by the number of its reason: whether it is dropped, and its cell on the row. A byte, so that an image has one for each reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct Fate(u8);

impl Fate {
    /// Above the bit of a frame that is dropped: where the cell's number begins. A cell has 16 bytes, so that what is masked is its place in bytes.
    const CELL: u32 = 4;

    /// 1: dropped, 0: not.
    #[inline(always)]
    pub const fn dropped(self) -> u32 {
        self.0 as u32 & 1
    }

    /// The cell of its value.
    #[inline(always)]
    pub const fn cell(self) -> u32 {
        (self.0 >> Self::CELL) as u32
    }
}

/// The value of the map that a reason without a port is counted in, behind that of [`ROW_PORTLESS`]; 0 for all other reasons.
#[inline(always)]
pub const fn values_behind(reason: u32) -> u32 {
    let group = reason / PORTLESS_FROM;
    group + (group & (reason / DROP_BIT))
}

/// A fate for each reason's number, under a policy of that mode: what an image holds.
#[allow(
    clippy::indexing_slicing,
    reason = "a constant function has no get, and a reason's number is below the table's end"
)]
pub const fn fates(enforce: bool) -> [Fate; REASON_SLOTS as usize] {
    let mut fates = [Fate(0); REASON_SLOTS as usize];
    let mut at = 0;
    while at < Reason::ALL.len() {
        let reason = Reason::ALL[at];
        let outcome = Outcome::of(reason.verdict(), enforce);
        if let Some(offset) = offset(reason, outcome) {
            let dropped = matches!(outcome, Outcome::Drop) as u32;
            fates[reason.number() as usize] = Fate((dropped | (offset % CELLS_PER_ROW) << Fate::CELL) as u8);
        }
        at += 1;
    }
    fates
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Where a reason can be counted: those of ports on every row that a port can have (a port's rule, and so its reasons, may change while its row stays).
    fn rows_of(reason: Reason) -> Vec<u32> {
        let ports = [ROW_TCP_UNMANAGED, ROW_UDP_UNMANAGED, ROW_IP_TUNNELS, ROW_LATER_FRAGMENTS, ROW_FIRST, ROWS - 1];
        match reason {
            Reason::BlockedSource => [ROW_PORTLESS].into_iter().chain(ports).collect(),
            reason if reason.has_row() => ports.into(),
            _ => vec![ROW_PORTLESS],
        }
    }

    #[test]
    fn every_cell_has_one_meaning_and_every_meaning_one_cell() {
        let mut cells = BTreeMap::new();
        for reason in Reason::ALL {
            for row in rows_of(*reason) {
                for outcome in [true, false].map(|enforce| Outcome::of(reason.verdict(), enforce)) {
                    let cell = cell(row, *reason, outcome).unwrap();
                    assert!(cell < CELLS, "{reason:?} on {row}");
                    assert!(
                        row == ROW_PORTLESS || cell / CELLS_PER_ROW == row,
                        "{reason:?} leaves its row {row}: another port's would count it"
                    );
                    let other = cells.insert(cell, (row, *reason, outcome));
                    assert!(
                        other.is_none_or(|other| other == (row, *reason, outcome)),
                        "{cell}: {other:?}, {reason:?}"
                    );
                    assert_eq!(meaning(cell), Some((row, *reason, outcome)));
                }
            }
        }
        let walked = |row: &u32| *row < ROW_TCP_UNMANAGED || rows_of(Reason::Peer).contains(row);
        for cell in (0..ROWS).filter(walked).flat_map(|row| row * CELLS_PER_ROW..(row + 1) * CELLS_PER_ROW) {
            assert_eq!(meaning(cell), cells.get(&cell).copied(), "cell {cell}");
        }
        assert!(
            cells
                .keys()
                .all(|cell| *cell < ROW_TCP_UNMANAGED * CELLS_PER_ROW || cell / CELLS_PER_ROW >= ROW_TCP_UNMANAGED)
        );
    }

    #[test]
    fn an_images_fates_lead_to_the_same_cells() {
        for enforce in [true, false] {
            let table = fates(enforce);
            for reason in Reason::ALL {
                for row in rows_of(*reason) {
                    let fate = table[reason.number() as usize];
                    let (value, within) = (row + values_behind(reason.number()), fate.cell());
                    let outcome = Outcome::of(reason.verdict(), enforce);
                    assert_eq!(
                        Some(value * CELLS_PER_ROW + within),
                        cell(row, *reason, outcome),
                        "{reason:?} on {row}"
                    );
                }
            }
        }
    }

    #[test]
    fn only_denials_depend_on_the_mode() {
        for reason in Reason::ALL {
            let [enforced, audited] = [true, false].map(|enforce| Outcome::of(reason.verdict(), enforce));
            assert_eq!(enforced == audited, reason.verdict() == Verdict::Pass, "{reason:?}");
            let impossible = Outcome::ALL.into_iter().filter(|outcome| ![enforced, audited].contains(outcome));
            assert!(impossible.into_iter().all(|outcome| cell(ROW_FIRST, *reason, outcome).is_none()), "{reason:?}");
        }
    }
}
