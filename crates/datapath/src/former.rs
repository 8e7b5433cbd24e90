//! The maps of another layout, read by what that layout says of itself. It changes nothing in them but takes them away when they are done with.

use std::{
    fs,
    path::{Path, PathBuf},
};

use aya::{
    maps::{MapData, MapInfo},
    util::nr_cpus,
};
use node_ebpf_common::{
    ABI_VERSION, Layout, Reason,
    counter::{Counter, ROW_FIRST, ROW_PORTLESS, ROW_TCP_UNMANAGED},
    layout::{EARLIER_WORDS, LAYOUT_MAGIC, NO_CELL},
    maps::{LayoutWords, PeerRecord, RowRecord, name},
    peer_traffic::{Direction, SLOT_OTHER},
    reason::PORTLESS_FROM,
};

use zerocopy::transmute;

use super::{
    areas::add_sums,
    bpffs::{PinDir, pinned},
    carried,
    error::DatapathError,
    maps::values,
    peer_cells::is_of,
    sign, sys,
};

const CELL_BYTES: u32 = size_of::<Counter>() as u32;
/// Maps that layouts before 9 had beside their counters.
const OUTBOUND: &str = "nw_outbound";
const PEER_TRAFFIC: &str = "nw_peer_traffic";

/// Another layout's maps.
pub(super) struct Former {
    layout: Layout,
    folder: PathBuf,
    /// The kernel's number of its counters.
    pub(super) counters_id: u32,
    /// It is the one in force; else what is left of an upgrade that did not come to its end.
    pub(super) in_force: bool,
    pub(super) rows: Vec<RowRecord>,
    pub(super) peers: Vec<PeerRecord>,
}

impl Former {
    /// All that are there, the one in force among them.
    pub(super) fn all(pins: &PinDir, in_force: Option<u32>) -> Result<Vec<Self>, DatapathError> {
        let mut all = Vec::new();
        for (version, folder) in pins.others()? {
            match Self::open(version, folder, in_force == Some(version)) {
                Ok(former) => all.push(former),
                Err(error) if in_force == Some(version) => return Err(error),
                Err(error) => tracing::warn!("what is left of another upgrade is left alone: {error}"),
            }
        }
        match in_force.filter(|version| *version != Layout::OURS.version) {
            Some(found) if !all.iter().any(|former| former.in_force) => {
                Err(DatapathError::UnknownLayout { found, expected: Layout::OURS.version })
            }
            _ => Ok(all),
        }
    }

    fn open(version: u32, folder: PathBuf, in_force: bool) -> Result<Self, DatapathError> {
        let layout = if version == Layout::SEVEN.version { Layout::SEVEN } else { account(&folder)? };
        let sizes = (layout.row_bytes as usize, layout.peer_bytes as usize);
        if (layout.magic, layout.version) != (LAYOUT_MAGIC, version)
            || sizes != (size_of::<RowRecord>(), size_of::<PeerRecord>())
        {
            return Err(DatapathError::UnknownLayout { found: version, expected: Layout::OURS.version });
        }
        let counters = pinned(&folder.join(name::COUNTERS))?;
        let counters_id = counters.info().map_err(DatapathError::map(name::COUNTERS))?.id();
        let rows = values(&folder, name::ROWS, layout.rows)?;
        let peers = values(&folder, name::PEERS, layout.slots)?;
        Ok(Self { layout, folder, counters_id, in_force, rows, peers })
    }

    /// The number of the map of counters that its amounts began with.
    pub(super) const fn origin(&self) -> u32 {
        if self.layout.origin == 0 { self.counters_id } else { self.layout.origin }
    }

    /// All that it has counted, in the cells of this build's layout, whose rows and slots are these. No program may count there any more.
    pub(super) fn amounts(&self, rows: &[RowRecord], peers: &[PeerRecord]) -> Result<Vec<Counter>, DatapathError> {
        let (inbound, outbound) = (self.layout.inbound_cells as usize, self.layout.outbound_cells as usize);
        let mut cells = vec![Counter::default(); inbound + outbound + self.layout.peer_cells as usize];
        let (first, rest) = cells.split_at_mut(inbound);
        let (second, third) = rest.split_at_mut(outbound);
        let layout = &self.layout;
        if layout.area_bytes == 0 {
            for (name, cells) in [(name::COUNTERS, first), (OUTBOUND, second), (PEER_TRAFFIC, third)] {
                self.add_counted(name, cells)?;
            }
        } else if let Some(map) = self.pinned(name::COUNTERS)? {
            let info = map.info().map_err(DatapathError::map(name::COUNTERS))?;
            for (at, cells) in [(layout.inbound_at, first), (layout.outbound_at, second), (layout.peers_at, third)] {
                let within = at as usize + size_of_val(cells) <= layout.area_bytes as usize;
                if info.value_size() != layout.area_bytes || !within {
                    return Err(self.foreign(name::COUNTERS, &info, &format!("areas of {} bytes", layout.area_bytes)));
                }
                let (cpus, area_bytes) = (info.max_entries() as usize, layout.area_bytes as usize);
                add_sums(sys::fd_of(&map), cpus, area_bytes, at as usize, cells)?;
            }
        }
        if self.in_force {
            for name in carried::names(&self.folder)? {
                let amounts: Vec<Counter> = values(&self.folder, &name, cells.len() as u32)?;
                cells.iter_mut().zip(amounts).for_each(|(cell, amount)| add(cell, amount));
            }
        }
        Ok(self.placed(&cells, rows, peers))
    }

    /// Amounts of that layout's cells, inbound, outbound and the matrix, in those of this build's.
    fn placed(&self, cells: &[Counter], rows: &[RowRecord], peers: &[PeerRecord]) -> Vec<Counter> {
        let (inbound, rest) = cells.split_at(self.layout.inbound_cells as usize);
        let (outbound, matrix) = rest.split_at(self.layout.outbound_cells as usize);
        let mut placed = Placed { cells: vec![Counter::default(); carried::ALL] };
        let rows: Vec<Option<u32>> = (0..self.layout.rows).map(|row| self.row_here(row, rows)).collect();
        let here = |row: u32| rows.get(row as usize).copied().flatten();
        self.place_inbound(inbound, here, &mut placed);
        for (from, to) in self.layout.outbound.into_iter().zip(Layout::OURS.outbound) {
            for row in 0..self.layout.rows {
                let counter = at(outbound, from + row * self.layout.outbound_row);
                placed
                    .add(here(row).map(|row| carried::OUTBOUND as u32 + to + row * Layout::OURS.outbound_row), counter);
            }
        }
        self.place_peers(matrix, here, peers, &mut placed);
        placed.cells
    }

    fn place_inbound(&self, cells: &[Counter], here: impl Fn(u32) -> Option<u32>, placed: &mut Placed) {
        let (from, to) = (&self.layout, &Layout::OURS);
        for (number, [enforced, audited]) in from.inbound.into_iter().enumerate() {
            let reason = Reason::from_number(number as u32);
            let mut own = vec![(enforced, 0), (audited, 1)];
            // A layout may keep what passes in one place, whatever the mode.
            own.dedup_by_key(|(cell, _)| *cell);
            own.retain(|(cell, _)| *cell != NO_CELL);
            let has_row = reason.map_or(number < PORTLESS_FROM as usize, Reason::has_row);
            let rows = (0..from.rows).filter(|row| *row == ROW_PORTLESS || has_row && *row >= ROW_TCP_UNMANAGED);
            for (row, (cell, mode)) in rows.flat_map(|row| own.iter().map(move |own| (row, *own))) {
                let counter = at(cells, cell + row * from.inbound_row);
                let place = reason.and_then(|reason| to.inbound.get(reason.number() as usize)?.get(mode).copied());
                placed.add(place.zip(here(row)).map(|(place, row)| place + row * to.inbound_row), counter);
            }
        }
    }

    fn place_peers(
        &self,
        cells: &[Counter],
        here: impl Fn(u32) -> Option<u32>,
        peers: &[PeerRecord],
        placed: &mut Placed,
    ) {
        let (from, to) = (&self.layout, &Layout::OURS);
        let shared = to.columns - 1;
        // A column is a row's as long as there are any; the rows behind share the last one, here as there.
        let column = |column: u32| {
            let is_shared = column == from.columns - 1;
            here(ROW_FIRST + column).filter(|_| !is_shared).map_or(shared, |row| to.column(row))
        };
        for (slot, record) in (0..from.slots).zip(&self.peers) {
            let slot_here = slot_of(record, peers);
            for (way, column_there) in
                Direction::ALL.into_iter().flat_map(|way| (0..from.columns).map(move |column| (way as usize, column)))
            {
                let [first, first_here] = [from.peer, to.peer].map(|first| first.get(way).copied().unwrap_or(NO_CELL));
                let counter = at(cells, first + slot * from.peer_slot + column_there);
                let place = first_here + slot_here * to.peer_slot + column(column_there);
                placed.add(Some(carried::PEERS as u32 + place), counter);
            }
        }
    }

    /// The row of this build's that is for what that row was for.
    fn row_here(&self, row: u32, rows: &[RowRecord]) -> Option<u32> {
        if row < ROW_FIRST {
            return Some(row);
        }
        let record = self.rows.get(row as usize).filter(|record| record.protocol != 0)?;
        row_of(record, rows)
    }

    /// One of its maps; `None`, and logged, where somebody removed it.
    fn pinned(&self, name: &str) -> Result<Option<MapData>, DatapathError> {
        let path = self.folder.join(name);
        match pinned(&path) {
            Err(error) if error.is_not_found() => {
                tracing::error!("{} was removed: what it had counted is lost", path.display());
                Ok(None)
            }
            result => result.map(Some),
        }
    }

    fn foreign(&self, name: &str, info: &MapInfo, expected: &str) -> DatapathError {
        DatapathError::ForeignMap {
            path: self.folder.join(name),
            found: format!("{} values of {} bytes", info.max_entries(), info.value_size()),
            expected: expected.to_owned(),
        }
    }

    /// Adds up what all CPUs have counted in a per-CPU array.
    fn add_counted(&self, name: &str, sums: &mut [Counter]) -> Result<(), DatapathError> {
        let path = self.folder.join(name);
        let Some(map) = self.pinned(name)? else { return Ok(()) };
        let info = map.info().map_err(DatapathError::map(path.display().to_string()))?;
        let per_value = (info.value_size() / CELL_BYTES) as usize;
        if per_value * info.max_entries() as usize != sums.len() || info.value_size() % CELL_BYTES != 0 {
            return Err(self.foreign(name, &info, &format!("{} counters", sums.len())));
        }
        let cpus = nr_cpus().map_err(|(what, error)| DatapathError::io(format!("can not read {what}"))(error))?;
        let mut value = vec![Counter::default(); per_value * cpus];
        for (key, sums) in (0..).zip(sums.chunks_exact_mut(per_value)) {
            sys::lookup(sys::fd_of(&map), key, &mut value)
                .map_err(DatapathError::io(format!("can not read {}", path.display())))?;
            for cells in value.chunks_exact(per_value) {
                sums.iter_mut().zip(cells).for_each(|(sum, cell)| add(sum, *cell));
            }
        }
        Ok(())
    }

    /// Takes its pins away.
    pub(super) fn remove(&self) -> Result<(), DatapathError> {
        remove(self.layout.version, &self.folder)
    }
}

/// What a layout says of itself.
fn account(folder: &Path) -> Result<Layout, DatapathError> {
    let info = pinned(&folder.join(name::LAYOUT))?.info().map_err(DatapathError::map(name::LAYOUT))?;
    if info.value_size() as usize != EARLIER_WORDS * 8 {
        return Ok(*values(folder, name::LAYOUT, 1)?.first().unwrap_or(&Layout::SEVEN));
    }
    let mut words: LayoutWords = [0; EARLIER_WORDS + 2];
    let there: Vec<[u64; EARLIER_WORDS]> = values(folder, name::LAYOUT, 1)?;
    words.iter_mut().zip(there.iter().flatten()).for_each(|(word, there)| *word = *there);
    Ok(transmute!(words))
}

/// Takes away what is done with, as a process died before it could: maps whose amounts the layout in force has carried over. They would be counted twice.
pub(super) fn forget_carried(pins: &PinDir, in_force: Option<u32>) -> Result<(), DatapathError> {
    let Some(in_force) = in_force else { return Ok(()) };
    let carried = carried::names(&pins.maps_of(in_force))?;
    let ours = Some((ABI_VERSION, pins.maps())).filter(|(_, folder)| folder.join(name::COUNTERS).exists());
    for (version, folder) in pins.others()?.into_iter().chain(ours).filter(|(version, _)| *version != in_force) {
        let info = pinned(&folder.join(name::COUNTERS))?.info().map_err(DatapathError::map(name::COUNTERS))?;
        if carried.contains(&carried::pin_name(info.id())) {
            remove(version, &folder)?;
        }
    }
    Ok(())
}

/// Takes the pins of a folder away. The counters go last: while they are there, something may be left to be carried.
fn remove(version: u32, folder: &Path) -> Result<(), DatapathError> {
    let failed = || DatapathError::io(format!("can not remove {}", folder.display()));
    let is_seven = version == Layout::SEVEN.version;
    for entry in fs::read_dir(folder).map_err(failed())?.flatten() {
        // Where the maps of layout 7 were is the sign now.
        let stays = entry.file_name() == name::COUNTERS || is_seven && entry.file_name() == sign::SIGN;
        if !stays {
            fs::remove_file(entry.path()).map_err(failed())?;
        }
    }
    fs::remove_file(folder.join(name::COUNTERS)).map_err(failed())?;
    // Maps of ours are made there next.
    if is_seven || version == ABI_VERSION { Ok(()) } else { fs::remove_dir(folder).map_err(failed()) }
}

/// Amounts in the cells of this build's layout.
struct Placed {
    cells: Vec<Counter>,
}

impl Placed {
    /// `None`: there is no place for it here.
    fn add(&mut self, cell: Option<u32>, counter: Counter) {
        if counter == Counter::default() {
            return;
        }
        if let Some(cell) = cell.and_then(|cell| self.cells.get_mut(cell as usize)) {
            add(cell, counter);
        } else {
            let packets = counter.packets;
            tracing::warn!(
                "{packets} packets are of a row or a reason that this build does not have, and are forgotten"
            );
        }
    }
}

const fn add(sum: &mut Counter, counter: Counter) {
    sum.packets += counter.packets;
    sum.bytes += counter.bytes;
}

fn at(cells: &[Counter], cell: u32) -> Counter {
    cells.get(cell as usize).copied().unwrap_or_default()
}

/// The row that is for the same ports.
pub(super) fn row_of(record: &RowRecord, rows: &[RowRecord]) -> Option<u32> {
    let key = |record: &RowRecord| (record.protocol, record.first_port, record.last_port);
    (0..).zip(rows).skip(ROW_FIRST as usize).find(|(_, row)| key(row) == key(record)).map(|(row, _)| row)
}

/// The slot of the same peer; else that of all who have none.
fn slot_of(record: &PeerRecord, peers: &[PeerRecord]) -> u32 {
    let found = (0..).zip(peers).find(|(_, peer)| record.family != 0 && is_of(peer, record));
    found.map_or(SLOT_OTHER, |(slot, _)| slot)
}

#[cfg(test)]
mod tests;
