//! The counter cell that a decision moves, and what it means. Does not count: the kernel program does.
//!
//! Every row has the same cells, a cell for each (row, reason, [`Outcome`]): what passed has one in both modes, what is denied one for each. So a change of the
//! mode moves no counter, and the cell alone says why a frame went which way: it is what the verdict function answers ([`crate::Decision::cell`]), and what a
//! port's word holds ([`crate::rule::PortWord`]).
//!
//! A frame whose port was looked up is counted on the port's row; every other frame, by its reason, on rows that no port ever has; a blocked
//! source's packet without a port on row 0.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::reason::{DROP_BIT, PORTLESS_FROM, Reason, Verdict};

/// Cells of a row: four for what passed, six for what would have been dropped, six for what was.
pub const CELLS_PER_ROW: u32 = 16;
/// A cell's place on its row from which on it is of what the policy denies.
pub const DENIED_FROM: u32 = 4;
/// The same for what was dropped.
pub const DROPPED_FROM: u32 = 10;
/// No port at all: what such a packet of a blocked source is counted on. The three rows after it are for the reasons without a port ([`portless`]).
pub const ROW_PORTLESS: u32 = 0;
/// Counter rows. Ranges of more than 256 ports share one; each CPU has them all (512 KiB).
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

/// The cells of one row.
pub type RowCells = [Counter; CELLS_PER_ROW as usize];

/// Where on its row the cell of a frame is that the policy denies for `reason`: dropped, or under a policy that only audits. What passes has one place.
#[inline(always)]
pub const fn place(reason: Reason, enforce: bool) -> u32 {
    let number = reason.number() % PORTLESS_FROM;
    match reason.verdict() {
        Verdict::Pass => number % DENIED_FROM,
        Verdict::Drop => denied_from(enforce) + number - DROP_BIT,
    }
}

/// The first place of what is denied: dropped, or under a policy that only audits.
pub const fn denied_from(enforce: bool) -> u32 {
    if enforce { DROPPED_FROM } else { DENIED_FROM }
}

/// The cell of a reason without a port, by its number; `denied_from` as [`denied_from`] says. They pass on rows 1 and 3 and are denied on row 2.
#[inline(always)]
pub const fn portless(reason: u32, denied_from: u32) -> u32 {
    let number = reason % PORTLESS_FROM;
    if reason & DROP_BIT == 0 {
        (1 + 2 * (number / DENIED_FROM)) * CELLS_PER_ROW + number % DENIED_FROM
    } else {
        2 * CELLS_PER_ROW + denied_from + number - DROP_BIT
    }
}

/// The cell of what `reason` made of frames on `row` ([`ROW_PORTLESS`] for those without a port); `None` where the reason never has that outcome.
pub const fn cell(row: u32, reason: Reason, outcome: Outcome) -> Option<u32> {
    let enforce = matches!(outcome, Outcome::Drop);
    match (reason.verdict(), outcome) {
        (Verdict::Pass, Outcome::Pass) | (Verdict::Drop, Outcome::Drop | Outcome::WouldDrop) => {
            Some(if reason.has_row() {
                row * CELLS_PER_ROW + place(reason, enforce)
            } else {
                portless(reason.number(), denied_from(enforce))
            })
        }
        _ => None,
    }
}

/// What a cell counts: the inverse of [`cell`]. `None`: nothing is ever counted there.
pub fn meaning(index: u32) -> Option<(u32, Reason, Outcome)> {
    if index >= CELLS {
        return None;
    }
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
    fn only_denials_depend_on_the_mode() {
        for reason in Reason::ALL {
            let [enforced, audited] = [true, false].map(|enforce| Outcome::of(reason.verdict(), enforce));
            assert_eq!(enforced == audited, reason.verdict() == Verdict::Pass, "{reason:?}");
            let impossible = Outcome::ALL.into_iter().filter(|outcome| ![enforced, audited].contains(outcome));
            assert!(impossible.into_iter().all(|outcome| cell(ROW_FIRST, *reason, outcome).is_none()), "{reason:?}");
        }
    }
}
