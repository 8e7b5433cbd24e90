//! Reading the counters and the rows they belong to. It must not change them: counters never go back.

use std::mem::offset_of;

use aya::maps::IterableMap;
use node_ebpf_common::{
    area::CpuArea,
    counter::{
        self, CELLS_PER_ROW, Counter, Outcome, ROW_FIRST, ROW_LATER_FRAGMENTS, ROW_MISSION_CONTROL, ROW_PORTLESS,
        ROW_TCP_UNMANAGED, ROWS,
    },
    maps::{RowRecord, name},
    outbound::{self, Sent},
    reason::Reason,
};
use zerocopy::transmute;

use super::{carried, error::DatapathError, maps::Maps, sys, words::RowBytes};

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
        let sums = self.outbound_sums(0, rows_until_last(rows) * outbound::CELLS_PER_ROW)?;
        let all = fixed.chain(used).flat_map(|row| Sent::ALL.map(|sent| (row, sent)));
        let counters = all.filter_map(|(row, sent)| Some((row, sent, *sums.get(outbound::cell(row, sent) as usize)?)));
        let moved = counters.filter(|(.., counter)| *counter != Counter::default());
        Ok(moved.map(|(row, sent, counter)| OutboundCell { row, sent, counter }).collect())
    }

    /// One outbound cell, summed over all CPUs.
    pub fn outbound_cell(&self, index: u32) -> Result<Counter, DatapathError> {
        let sums = self.outbound_sums(index, 1)?;
        sums.first().copied().ok_or_else(|| DatapathError::Missing(format!("outbound cell {index}")))
    }

    fn outbound_sums(&self, first: u32, cells: u32) -> Result<Vec<Counter>, DatapathError> {
        let (first, at) = (first as usize, offset_of!(CpuArea, outbound));
        let mut sums = self.areas.sums(at + first * size_of::<Counter>(), cells as usize)?;
        self.carried.add(carried::OUTBOUND + first, &mut sums);
        Ok(sums)
    }

    /// Every cell that is not zero, in the order of the array. Reads only the rows that were ever given away.
    pub fn cells(&self, rows: &[RowRecord]) -> Result<Vec<Cell>, DatapathError> {
        let used = (ROW_FIRST..ROWS).filter(|r| rows.get(*r as usize).is_some_and(|r| r.protocol != 0));
        let sums = self.inbound_sums(0, rows_until_last(rows) * CELLS_PER_ROW)?;
        let own = (ROW_PORTLESS..ROW_FIRST).chain(used).flat_map(|row| row * CELLS_PER_ROW..(row + 1) * CELLS_PER_ROW);
        let counters = own.filter_map(|index| Some((index, *sums.get(index as usize)?)));
        let moved = counters.filter(|(_, counter)| *counter != Counter::default());
        let meant = moved.filter_map(|(index, counter)| Some((counter::meaning(index)?, counter)));
        Ok(meant.map(|((row, reason, outcome), counter)| Cell { row, reason, outcome, counter }).collect())
    }

    fn inbound_sums(&self, first: u32, cells: u32) -> Result<Vec<Counter>, DatapathError> {
        let (first, at) = (first as usize, offset_of!(CpuArea, counters));
        let mut sums = self.areas.sums(at + first * size_of::<Counter>(), cells as usize)?;
        self.carried.add(carried::INBOUND + first, &mut sums);
        Ok(sums)
    }

    /// One cell, summed over all CPUs.
    pub fn cell(&self, index: u32) -> Result<Counter, DatapathError> {
        let sums = self.inbound_sums(index, 1)?;
        sums.first().copied().ok_or_else(|| DatapathError::Missing(format!("counter cell {index}")))
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

/// The number of rows up to the last one that was ever given away: all that can have moved. On a machine with many CPUs the rest is most of what there is.
fn rows_until_last(rows: &[RowRecord]) -> u32 {
    let last = rows.iter().rposition(|record| record.protocol != 0);
    last.map_or(ROW_FIRST, |last| (last as u32 + 1).clamp(ROW_FIRST, ROWS))
}
