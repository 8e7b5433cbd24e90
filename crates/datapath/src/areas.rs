//! What each CPU counts and notes, read and emptied through memory. A part is mapped while it is looked at, so that no process grows by what a machine with many
//! CPUs keeps. It must not know what a word means.

use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering::Relaxed;

use aya::{maps::MapData, util::nr_cpus};
use node_ebpf_common::{area::CpuArea, counter::Counter};

use super::{
    error::DatapathError,
    memory::{ReadOnly, Words},
    sys,
};

/// Words of a counter.
const CELL_WORDS: usize = size_of::<Counter>() / 8;

/// The map with an area for each CPU.
pub(super) struct Areas {
    data: MapData,
    cpus: usize,
}

impl Areas {
    /// A map that was checked to be one.
    pub(super) fn of(data: MapData) -> Result<Self, DatapathError> {
        let cpus = nr_cpus().map_err(|(what, error)| DatapathError::io(format!("can not read {what}"))(error))?;
        Ok(Self { data, cpus })
    }

    pub(super) const fn data(&self) -> &MapData {
        &self.data
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        sys::fd_of(&self.data)
    }

    /// So many counters from byte `at` of an area on, each summed over all CPUs.
    pub(super) fn sums(&self, at: usize, counters: usize) -> Result<Vec<Counter>, DatapathError> {
        let mut sums = vec![Counter::default(); counters];
        add_sums(self.fd(), self.cpus, size_of::<CpuArea>(), at, &mut sums)?;
        Ok(sums)
    }

    /// Empties so many counters from byte `at` on. No program may be counting there.
    pub(super) fn empty(&mut self, at: usize, counters: usize) -> Result<(), DatapathError> {
        for part in self.parts(at, counters * CELL_WORDS) {
            part?.all().iter().for_each(|word| word.store(0, Relaxed));
        }
        Ok(())
    }

    /// So many words of each CPU's area from byte `at` on, to write as well.
    pub(super) fn parts(&self, at: usize, words: usize) -> impl Iterator<Item = Result<Words, DatapathError>> {
        (0..self.cpus)
            .map(move |cpu| Words::part(self.fd(), cpu * size_of::<CpuArea>() + at, words).map_err(unmapped()))
    }
}

/// Adds to `sums` what all CPUs have in the counters from byte `at` of their areas on, each of `area_bytes`.
pub(super) fn add_sums(
    map: BorrowedFd<'_>,
    cpus: usize,
    area_bytes: usize,
    at: usize,
    sums: &mut [Counter],
) -> Result<(), DatapathError> {
    for cpu in 0..cpus {
        let part = ReadOnly::part(map, cpu * area_bytes + at, sums.len() * CELL_WORDS).map_err(unmapped())?;
        let mut words = part.load();
        for sum in &mut *sums {
            sum.packets += words.next().unwrap_or(0);
            sum.bytes += words.next().unwrap_or(0);
        }
    }
    Ok(())
}

fn unmapped() -> impl FnOnce(std::io::Error) -> DatapathError {
    DatapathError::io("can not map what the CPUs count")
}
