//! Reading the counters and the rows they belong to. It must not change them: counters never go back.

use aya::maps::IterableMap;
use node_ebpf_common::{
    counter::{
        self, CELLS_PER_ROW, Counter, Outcome, ROW_FIRST, ROW_LATER_FRAGMENTS, ROW_MISSION_CONTROL, ROW_PORTLESS,
        ROW_TCP_UNMANAGED, ROWS,
    },
    maps::{RowRecord, name},
    outbound::{self, Sent},
    reason::Reason,
};
use zerocopy::transmute;

use super::{
    carried,
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
    /// What became of the packets.
    pub outcome: Outcome,
    /// The sum.
    pub counter: Counter,
}

impl Cell {
    /// Its place in the array.
    pub const fn index(&self) -> Option<u32> {
        counter::cell(self.row, self.reason, self.outcome)
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
        self.carried.add(carried::OUTBOUND + index as usize, std::slice::from_mut(&mut sum));
        Ok(sum)
    }

    /// Every cell that is not zero, in the order of the array. Reads only the rows that were ever given away.
    pub fn cells(&self, rows: &[RowRecord]) -> Result<Vec<Cell>, DatapathError> {
        let used = (ROW_FIRST..ROWS).filter(|r| rows.get(*r as usize).is_some_and(|r| r.protocol != 0));
        let mut cells = Vec::new();
        for value in (ROW_PORTLESS..ROW_FIRST).chain(used) {
            let first = value * CELLS_PER_ROW;
            let moved = (first..).zip(self.row_cells(value)?).filter(|(_, counter)| *counter != Counter::default());
            cells.extend(moved.filter_map(|(index, counter)| {
                let (row, reason, outcome) = counter::meaning(index)?;
                Some(Cell { row, reason, outcome, counter })
            }));
        }
        Ok(cells)
    }

    /// The cells of a value, each summed over all CPUs.
    fn row_cells(&self, value: u32) -> Result<Vec<Counter>, DatapathError> {
        let values = self.counters.get(&value, 0).map_err(DatapathError::map(name::COUNTERS))?;
        let mut sums = sums(&values);
        self.carried.add(carried::INBOUND + (value * CELLS_PER_ROW) as usize, &mut sums);
        Ok(sums)
    }

    /// One cell, summed over all CPUs.
    pub fn cell(&self, index: u32) -> Result<Counter, DatapathError> {
        let cells = self.row_cells(index / CELLS_PER_ROW)?;
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
