//! The peer matrix: reading its cells, and whose they are. Cells go back to zero only when their slot is given to another peer.

use std::mem::offset_of;

use aya::maps::IterableMap;
use node_ebpf_common::{
    area::CpuArea,
    counter::{Counter, ROW_FIRST},
    maps::{PeerRecord, RowRecord, name},
    peer_traffic::{COLUMN_SHARED, Direction, SLOT_CELLS, SLOT_OTHER, SLOTS, cell, column},
};
use zerocopy::transmute;

use super::{carried, error::DatapathError, maps::Maps, sys, words::PeerBytes};

/// Attempts to read cells that nobody gives away meanwhile.
const READ_ATTEMPTS: usize = 8;

/// One cell of the matrix that has moved, summed over all CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerCell {
    /// Which way.
    pub direction: Direction,
    /// The row; `None`: all rows that have no column of their own.
    pub row: Option<u32>,
    /// The peer; `None`: all peers that have no slot of their own.
    pub peer: Option<PeerRecord>,
    /// The sum.
    pub counter: Counter,
}

impl Maps {
    /// Every cell that is not zero: inbound first, then by row, then by slot. Reads only what was ever given away.
    pub fn peer_cells(&self, rows: &[RowRecord]) -> Result<Vec<PeerCell>, DatapathError> {
        for _ in 0..READ_ATTEMPTS {
            let peers = self.peers()?;
            let cells = self.cells_of(rows, &peers)?;
            // A slot that was given away meanwhile would show another peer's traffic.
            let same_peers = |now: &[PeerRecord]| now.iter().zip(&peers).all(|(a, b)| is_of(a, b));
            if same_peers(&self.peers()?) {
                return Ok(cells);
            }
        }
        Err(DatapathError::Missing("peers that stay the same long enough to be read".into()))
    }

    fn cells_of(&self, rows: &[RowRecord], peers: &[PeerRecord]) -> Result<Vec<PeerCell>, DatapathError> {
        let is_used = |row: &u32| rows.get(*row as usize).is_some_and(|record| record.protocol != 0);
        let used: Vec<u32> = (ROW_FIRST..rows.len() as u32).filter(is_used).collect();
        let own = used.iter().copied().filter(|row| column(*row) != COLUMN_SHARED).map(|row| (column(row), Some(row)));
        // Also without such a row: another layout's may have had more.
        let shared = Some((COLUMN_SHARED, None));
        let columns: Vec<(u32, Option<u32>)> = own.chain(shared).collect();
        let given = (0..).zip(peers).filter(|(_, record)| record.family != 0).map(|(slot, r)| (slot, Some(*r)));
        let slots: Vec<(u32, Option<PeerRecord>)> = given.chain([(SLOT_OTHER, None)]).collect();
        let sums = slots.iter().map(|(slot, peer)| Ok((peer, self.slot_cells(*slot)?)));
        let sums = sums.collect::<Result<Vec<_>, DatapathError>>()?;
        let mut cells = Vec::new();
        for direction in Direction::ALL {
            for (column, row) in &columns {
                let place = cell(direction, *column, 0) as usize;
                let of_peers = sums.iter().filter_map(|(peer, sums)| Some((**peer, *sums.get(place)?)));
                let moved = of_peers.filter(|(_, counter)| *counter != Counter::default());
                cells.extend(moved.map(|(peer, counter)| PeerCell { direction, row: *row, peer, counter }));
            }
        }
        Ok(cells)
    }

    /// The cells of a slot, each summed over all CPUs.
    pub fn slot_cells(&self, slot: u32) -> Result<Vec<Counter>, DatapathError> {
        let mut sums = self.areas.sums(at(slot), SLOT_CELLS as usize)?;
        self.carried.add(first_cell(slot), &mut sums);
        Ok(sums)
    }

    /// The record of every slot, in the order of their numbers.
    pub fn peers(&self) -> Result<Vec<PeerRecord>, DatapathError> {
        sys::array_values(sys::fd_of(IterableMap::map(&self.peers)), SLOTS as usize)
            .map_err(DatapathError::io(format!("can not read map {}", name::PEERS)))
    }

    /// Writes the records that differ from what is there. A slot that another peer had is emptied first; no image in force may count on it.
    pub fn write_peers(&mut self, old: &[PeerRecord], new: &[PeerRecord]) -> Result<(), DatapathError> {
        for (slot, record) in (0..SLOTS).zip(new) {
            let before = old.get(slot as usize).copied().unwrap_or_default();
            if before == *record {
                continue;
            }
            if before.family != 0 && !is_of(&before, record) {
                // Nobody's, before it is empty: whoever reads meanwhile must not take the rest for the old peer's, nor for the new one's.
                self.write_peer(slot, PeerRecord::default())?;
                self.empty(slot)?;
            }
            self.write_peer(slot, *record)?;
        }
        Ok(())
    }

    /// Marks the slots as they were before [`Self::write_peers`], however far it came. A slot that it gave away stays given away: its cells may have moved.
    pub fn restore_peers(&mut self, old: &[PeerRecord]) -> Result<(), DatapathError> {
        let now = self.peers()?;
        let restored: Vec<PeerRecord> = now
            .iter()
            .enumerate()
            .map(|(slot, now)| match old.get(slot) {
                Some(old) if is_of(old, now) => *old,
                _ => PeerRecord { active: 0, ..*now },
            })
            .collect();
        self.write_peers(&now, &restored)
    }

    fn write_peer(&mut self, slot: u32, record: PeerRecord) -> Result<(), DatapathError> {
        let bytes: PeerBytes = transmute!(record);
        self.peers.set(slot, bytes, 0).map_err(DatapathError::map(name::PEERS))
    }

    fn empty(&mut self, slot: u32) -> Result<(), DatapathError> {
        self.carried.empty(first_cell(slot), SLOT_CELLS as usize);
        self.areas.empty(at(slot), SLOT_CELLS as usize)
    }
}

/// Where a slot's cells begin in an area, bytes.
const fn at(slot: u32) -> usize {
    offset_of!(CpuArea, peers) + (slot * SLOT_CELLS) as usize * size_of::<Counter>()
}

/// Of a slot, among what was carried over.
const fn first_cell(slot: u32) -> usize {
    carried::PEERS + (slot * SLOT_CELLS) as usize
}

/// Whether both records are one peer's.
pub(super) fn is_of(one: &PeerRecord, other: &PeerRecord) -> bool {
    (one.family, one.prefix_len, one.address) == (other.family, other.prefix_len, other.address)
}
