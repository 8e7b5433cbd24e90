//! What maps of other layouts had counted before these: amounts that stand still, beside the counters that move. Whoever reads adds both. Each pin is of one
//! former map of counters, and has its number in its name, so that no amount is carried twice. It must not know another layout.

use std::{
    fs,
    os::fd::{AsFd, BorrowedFd},
    path::Path,
    sync::atomic::Ordering::Relaxed,
};

use aya::maps::MapData;
use node_ebpf_common::{Layout, counter::Counter, maps::MMAPABLE};

use super::{
    error::DatapathError,
    memory::{Words, new_array},
    sign, sys,
};

/// Begins the names of the pins.
const PREFIX: &str = "nw_carried-";
/// First cells of the three kinds; all cells.
pub(super) const INBOUND: usize = 0;
pub(super) const OUTBOUND: usize = INBOUND + Layout::OURS.inbound_cells as usize;
pub(super) const PEERS: usize = OUTBOUND + Layout::OURS.outbound_cells as usize;
pub(super) const ALL: usize = PEERS + Layout::OURS.peer_cells as usize;
const CELL_BYTES: u32 = size_of::<Counter>() as u32;
const CELL_WORDS: usize = size_of::<Counter>() / 8;

/// Amounts by cell; mostly there are none.
#[derive(Default)]
pub(super) struct Carried(Vec<Amounts>);

struct Amounts {
    name: String,
    map: MapData,
    words: Words,
}

impl Carried {
    /// Those of a folder of maps.
    pub(super) fn open(folder: &Path) -> Result<Self, DatapathError> {
        let mut all = Vec::new();
        for name in names(folder)? {
            let path = folder.join(&name);
            let failed = || DatapathError::map(path.display().to_string());
            let map = MapData::from_pin(&path).map_err(failed())?;
            let info = map.info().map_err(failed())?;
            if (info.value_size(), info.max_entries() as usize) != (CELL_BYTES, ALL) {
                return Err(DatapathError::ForeignMap {
                    path,
                    found: format!("{} values of {} bytes", info.max_entries(), info.value_size()),
                    expected: format!("{ALL} of {CELL_BYTES}"),
                });
            }
            let words = Words::new(sys::fd_of(&map), ALL * CELL_WORDS)
                .map_err(DatapathError::io(format!("can not map {}", path.display())))?;
            all.push(Amounts { name, map, words });
        }
        Ok(Self(all))
    }

    /// Adds the amounts of the cells from `first` on.
    pub(super) fn add(&self, first: usize, sums: &mut [Counter]) {
        for amounts in &self.0 {
            let cells = amounts.words.all().chunks_exact(CELL_WORDS).skip(first);
            for (sum, cell) in sums.iter_mut().zip(cells) {
                if let [packets, bytes] = cell {
                    sum.packets += packets.load(Relaxed);
                    sum.bytes += bytes.load(Relaxed);
                }
            }
        }
    }

    /// Forgets the amounts of these cells: they are given to somebody else.
    pub(super) fn empty(&self, first: usize, cells: usize) {
        for amounts in &self.0 {
            let words = amounts.words.all().iter().skip(first * CELL_WORDS).take(cells * CELL_WORDS);
            words.for_each(|word| word.store(0, Relaxed));
        }
    }

    /// The maps by the names of their pins.
    pub(super) fn maps(&self) -> impl Iterator<Item = (&str, BorrowedFd<'_>)> {
        self.0.iter().map(|amounts| (amounts.name.as_str(), sys::fd_of(&amounts.map)))
    }
}

/// The name of the pin of what the map of counters with this number had counted.
pub(super) fn pin_name(counters_id: u32) -> String {
    format!("{PREFIX}{counters_id}")
}

/// The names of all such pins of a folder.
pub(super) fn names(folder: &Path) -> Result<Vec<String>, DatapathError> {
    let entries = fs::read_dir(folder).map_err(DatapathError::io(format!("can not list {}", folder.display())))?;
    let mut names: Vec<String> = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| name.starts_with(PREFIX));
    names.sort();
    Ok(names)
}

/// Carries what a former map of counters had counted, instead of what was carried of it before.
pub(super) fn write(folder: &Path, counters_id: u32, amounts: &[Counter]) -> Result<(), DatapathError> {
    let failed = || DatapathError::io("can not make a map of what was counted");
    let map = new_array("nw_carried", CELL_BYTES, ALL as u32, MMAPABLE).map_err(failed())?;
    let words = Words::new(map.as_fd(), ALL * CELL_WORDS).map_err(failed())?;
    for (cell, amount) in words.all().chunks_exact(CELL_WORDS).zip(amounts) {
        if let [packets, bytes] = cell {
            packets.store(amount.packets, Relaxed);
            bytes.store(amount.bytes, Relaxed);
        }
    }
    // With its amounts in it: this is what makes them count.
    sign::put(map.as_fd(), &folder.join(pin_name(counters_id)))
}
