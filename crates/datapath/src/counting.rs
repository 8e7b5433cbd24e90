//! Reading the counters and the rows they belong to. It must not change them: counters never go back.

use aya::maps::IterableMap;
use node_ebpf_common::{
    counter::{
        self, BANK_CELLS, CELLS_PER_ROW, Counter, ROW_FIRST, ROW_LATER_FRAGMENTS, ROW_MISSION_CONTROL, ROW_PORTLESS,
        ROW_TCP_UNMANAGED, ROWS,
    },
    maps::{RowRecord, name},
    outbound::{self, Sent},
    reason::Reason,
};
use zerocopy::transmute;

use super::{
    error::DatapathError,
    maps::Maps,
    sys,
    words::{RowBytes, sums},
};

/// One cell that has moved, summed over all CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Counter row; 0 for packets without a port.
    pub row: u32,
    /// Why.
    pub reason: Reason,
    /// Counted in audit mode, where nothing is dropped.
    pub audit: bool,
    /// The sum.
    pub counter: Counter,
}

impl Cell {
    /// Its place in the array.
    pub const fn index(&self) -> u32 {
        counter::cell(if self.audit { BANK_CELLS } else { 0 }, self.row, self.reason.number())
    }
}

/// One outbound cell that has moved, summed over all CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboundCell {
    /// Counter row; [`ROW_PORTLESS`] for packets without a port. What is on [`ROW_MISSION_CONTROL`] is on its port's row as well.
    pub row: u32,
    /// To the row's port, or from it.
    pub sent: Sent,
    /// The sum.
    pub counter: Counter,
}

impl Maps {
    /// Every outbound cell that is not zero, in the order of their rows. Reads only the rows that were ever given away.
    pub fn outbound_cells(&self, rows: &[RowRecord]) -> Result<Vec<OutboundCell>, DatapathError> {
        let fixed = [ROW_PORTLESS, ROW_MISSION_CONTROL].into_iter().chain(ROW_TCP_UNMANAGED..=ROW_LATER_FRAGMENTS);
        let used = (ROW_FIRST..ROWS).filter(|r| rows.get(*r as usize).is_some_and(|r| r.protocol != 0));
        let mut cells = Vec::new();
        for row in fixed.chain(used) {
            for sent in Sent::ALL {
                let counter = self.outbound_cell(outbound::cell(row, sent))?;
                if counter != Counter::default() {
                    cells.push(OutboundCell { row, sent, counter });
                }
            }
        }
        Ok(cells)
    }

    /// One outbound cell, summed over all CPUs.
    pub fn outbound_cell(&self, index: u32) -> Result<Counter, DatapathError> {
        let values = self.outbound.get(&index, 0).map_err(DatapathError::map(name::OUTBOUND))?;
        let mut sum = Counter::default();
        for [packets, bytes] in values.iter() {
            sum.packets += packets;
            sum.bytes += bytes;
        }
        Ok(sum)
    }

    /// Every cell that is not zero, in the order of their rows and reasons. Reads only the rows that were ever given away.
    pub fn cells(&self, rows: &[RowRecord]) -> Result<Vec<Cell>, DatapathError> {
        let mut cells = Vec::new();
        for bank in [0, BANK_CELLS] {
            // What has no port is counted by its reason, and what of it came from a blocked source as that.
            let portless = (ROW_PORTLESS..ROW_TCP_UNMANAGED)
                .map(|row| self.row_cells(bank, row))
                .collect::<Result<Vec<_>, _>>()?
                .concat();
            let reasons = Reason::ALL.iter().filter(|r| !r.has_row() || **r == Reason::BlockedSource);
            cells.extend(moved(&portless, bank, ROW_PORTLESS, reasons));
            let used = (ROW_FIRST..ROWS).filter(|r| rows.get(*r as usize).is_some_and(|r| r.protocol != 0));
            for row in (ROW_TCP_UNMANAGED..=ROW_LATER_FRAGMENTS).chain(used) {
                let reasons = Reason::ALL.iter().filter(|r| r.has_row());
                cells.extend(moved(&self.row_cells(bank, row)?, bank, row, reasons));
            }
        }
        Ok(cells)
    }

    /// The cells of a row in the bank that starts at `bank`, each summed over all CPUs.
    fn row_cells(&self, bank: u32, row: u32) -> Result<Vec<Counter>, DatapathError> {
        let index = counter::cell(bank, row, 0) / CELLS_PER_ROW;
        let values = self.counters.get(&index, 0).map_err(DatapathError::map(name::COUNTERS))?;
        Ok(sums(&values))
    }

    /// One cell, summed over all CPUs.
    pub fn cell(&self, index: u32) -> Result<Counter, DatapathError> {
        let cells = self.row_cells(0, index / CELLS_PER_ROW)?;
        cells
            .get((index % CELLS_PER_ROW) as usize)
            .copied()
            .ok_or_else(|| DatapathError::Missing(format!("counter cell {index}")))
    }

    /// The record of every row, in the order of their numbers.
    pub fn rows(&self) -> Result<Vec<RowRecord>, DatapathError> {
        sys::array_values(sys::fd_of(IterableMap::map(&self.rows)), ROWS as usize)
            .map_err(DatapathError::io(format!("can not read map {}", name::ROWS)))
    }

    /// Writes the records that differ from what is there.
    pub fn write_rows(&mut self, old: &[RowRecord], new: &[RowRecord]) -> Result<(), DatapathError> {
        for (row, record) in (0..ROWS).zip(new) {
            if old.get(row as usize) != Some(record) {
                let bytes: RowBytes = transmute!(*record);
                self.rows.set(row, bytes, 0).map_err(DatapathError::map(name::ROWS))?;
            }
        }
        Ok(())
    }
}

/// Those of the reasons' cells that are not zero; `counters` begins with the row's own.
fn moved<'a>(
    counters: &[Counter],
    bank: u32,
    row: u32,
    reasons: impl Iterator<Item = &'a Reason>,
) -> impl Iterator<Item = Cell> {
    reasons
        .filter_map(move |reason| Some((reason, *counters.get(reason.number() as usize)?)))
        .filter(|(_, counter)| *counter != Counter::default())
        .map(move |(reason, counter)| Cell { row, reason: *reason, audit: bank != 0, counter })
}
