//! Which prefix lengths an address can have at all, by a few of its bits: those by which the sources are told apart best. So that a packet is not asked for each
//! length that the policy has. What is said here may be too much, never too little.

use node_ebpf_common::policy::{INDEX_BITS, INDEXES};

use super::Prefixes;

/// Places of the bits that are tried lie so far apart.
const STEP: usize = 4;

/// The lengths of each index, and where the index' bits are.
pub(super) struct Possible {
    /// Bits of the address below those of the index.
    pub shift: u32,
    /// A bit for each length, the longest the lowest.
    lengths: Vec<u16>,
}

impl Possible {
    /// For these prefixes; `lengths` are theirs, longest first. The index' bits are among the first `bits` of an address.
    pub(super) fn of(lengths: &[u8], prefixes: &Prefixes, bits: u32) -> Self {
        // The topmost bits first: where others are no better, these tell everybody else apart as well.
        let shifts = (0..=bits - INDEX_BITS).rev().step_by(STEP);
        // A single length is asked without a look at what is possible.
        let shifts = shifts.take(if lengths.len() > 1 { usize::MAX } else { 1 });
        let all = shifts.map(|shift| Index { skipped: bits - INDEX_BITS - shift, shift }.possible(lengths, prefixes));
        let cheapest = all.min_by_key(|(cost, _)| *cost).map(|(_, possible)| possible);
        cheapest.unwrap_or_else(|| Self { shift: 0, lengths: Vec::new() })
    }

    /// As the image has it: four bits a length, its place and one, the longest lowest.
    pub(super) fn places(&self) -> impl Iterator<Item = u64> {
        let lengths = self.lengths.iter().copied();
        lengths.map(|has| (0..16).rev().filter(|n| has >> n & 1 == 1).fold(0, |places, n| places << 4 | (n + 1)))
    }
}

/// Where in an address the bits are.
#[derive(Clone, Copy)]
struct Index {
    /// Bits above them.
    skipped: u32,
    shift: u32,
}

impl Index {
    /// The first index of a prefix and how many it has: of one that ends before the index' bits, all.
    fn range(self, length: u8, bits: u128) -> (usize, usize) {
        let free = (self.skipped + INDEX_BITS).saturating_sub(u32::from(length)).min(INDEX_BITS);
        let first = (bits << self.skipped >> (u128::BITS - INDEX_BITS)) as usize;
        (first >> free << free, 1 << free)
    }

    /// What each index can have, and what that costs: the lengths that are asked for every source, and for so many of whom nobody knows anything.
    fn possible(self, lengths: &[u8], prefixes: &Prefixes) -> (u64, Possible) {
        let mut has = vec![0_u16; INDEXES];
        for (n, length) in lengths.iter().enumerate() {
            let mut begin_or_end = vec![0_i32; INDEXES + 1];
            let of_length = prefixes.range((*length, 0)..=(*length, u128::MAX));
            for ((_, bits), _) in of_length {
                let (first, number) = self.range(*length, *bits);
                if let Some(begin) = begin_or_end.get_mut(first) {
                    *begin += 1;
                }
                if let Some(end) = begin_or_end.get_mut(first + number) {
                    *end -= 1;
                }
            }
            let mut covering = 0;
            for (has, change) in has.iter_mut().zip(begin_or_end) {
                covering += change;
                *has |= u16::from(covering > 0) << n;
            }
        }
        let asked = |index: usize| has.get(index).map_or(0, |has| u64::from(has.count_ones()));
        let of_sources: u64 = prefixes.keys().map(|(length, bits)| asked(self.range(*length, *bits).0)).sum();
        let of_others: u64 = (0..INDEXES).map(asked).sum::<u64>() * prefixes.len() as u64 / INDEXES as u64;
        (of_sources + of_others, Possible { shift: self.shift, lengths: has })
    }
}
