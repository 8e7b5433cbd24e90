//! The table of denied flows: who was denied at which port, per CPU and bounded. Which entry a denied frame moves; it reads no clock and no frame.
//!
//! Each CPU has a table of its own with two banks. The program writes into the one that [`CpuFlows::bank`] names; userspace turns that over, waits
//! until no program still runs that read the old number, and then has the other bank for itself. The hash is multiplied by numbers that userspace
//! draws anew for each turn, so that nobody can choose addresses that share a bucket.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{
    counter::Counter,
    decide::Decision,
    frame::Frame,
    query::{KIND_SHIFT, Query, V6_SHIFT},
    reason::REASON_SLOTS,
    verifier::rebound,
};

/// Flows of one bucket.
pub const BUCKET_ENTRIES: usize = 4;
/// Buckets of a bank, a power of two.
pub const BUCKETS: usize = 256;
/// Flows of a bank.
pub const BANK_ENTRIES: usize = BUCKETS * BUCKET_ENTRIES;
/// Bits of the hash that name a bucket.
const BUCKET_SHIFT: u32 = 64 - BUCKETS.trailing_zeros();

/// What tells flows apart: the source, and the rest in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FlowKey {
    /// As in [`crate::address::Address`]: the wire's bytes.
    pub hi: u64,
    /// As there; all of an IPv4 address.
    pub lo: u64,
    /// From the lowest bit: 16 of the destination port's wire bytes (read little-endian), 6 of the reason, 1 whether it was dropped, 1 unused, 4 of the kind of
    /// packet ([`crate::packet::PacketKind`]), 1 whether the source is IPv6, 3 unused, 32 of the interface. Never 0: a reason to deny is not 0.
    pub word: u64,
}

const REASON_SHIFT: u32 = 16;
/// Beside the reason: it was dropped. In [`crate::PolicyImage::evidence`] it stands at the same place, so that one `or` puts it here.
pub const DROPPED: u32 = REASON_SLOTS;
const INTERFACE_SHIFT: u32 = 32;

impl FlowKey {
    /// The key of a denied frame. `evidence` is the image's.
    #[inline(always)]
    pub const fn new(query: &Query, decision: &Decision, evidence: u32, interface: u32) -> Self {
        // The bit of a denial is in the reason, too.
        let own = (decision.reason | evidence) << REASON_SHIFT;
        let word = query.word | own as u64 | (interface as u64) << INTERFACE_SHIFT;
        Self { hi: query.hi, lo: query.lo, word }
    }

    /// The destination port; 0 where there is none.
    pub const fn port(&self) -> u16 {
        (self.word as u16).swap_bytes()
    }

    /// The reason's number.
    pub const fn reason(&self) -> u32 {
        (self.word >> REASON_SHIFT) as u32 & (REASON_SLOTS - 1)
    }

    /// Number of the [`crate::packet::PacketKind`].
    pub const fn kind(&self) -> u32 {
        (self.word >> KIND_SHIFT) as u32 & 0xf
    }

    /// Whether the source is an IPv6 address.
    pub const fn is_v6(&self) -> bool {
        self.word >> V6_SHIFT & 1 == 1
    }

    /// Whether it was dropped; else the policy only audits.
    pub const fn dropped(&self) -> bool {
        (self.word >> REASON_SHIFT) as u32 & DROPPED != 0
    }

    /// Index of the interface it came in by.
    pub const fn interface(&self) -> u32 {
        (self.word >> INTERFACE_SHIFT) as u32
    }

    /// The source's bytes as on the wire; of IPv4 the first four.
    pub const fn source_be(&self) -> [u8; 16] {
        if self.is_v6() {
            (self.hi as u128 | (self.lo as u128) << 64).to_le_bytes()
        } else {
            (self.lo as u128).to_le_bytes()
        }
    }

    /// The bucket that is this key's in a bank with these multipliers: multiply-shift hashing, which for random odd multipliers is universal.
    #[inline(always)]
    pub const fn bucket(&self, multipliers: [u64; 2]) -> usize {
        // Not by the interface, which comes late: it takes three loads in a row.
        let low = self.lo ^ self.word << 32;
        let hash = low.wrapping_mul(multipliers[0]).wrapping_add(self.hi.wrapping_mul(multipliers[1]));
        (hash >> BUCKET_SHIFT) as usize & (BUCKETS - 1)
    }
}

/// One flow: a cache line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(64))]
pub struct FlowEntry {
    /// Whose it is; all zero while it is free.
    pub key: FlowKey,
    /// Frames and bytes, as the counters count them.
    pub sums: Counter,
    /// Of the first frame: the link-layer source's six wire bytes (read little-endian) in the low 48 bits, above them the frame's length up to 65,535.
    pub first: u64,
    /// Of the first frame: the policy's generation.
    pub generation: u64,
    /// Of the first frame, where it was captured: `CLOCK_BOOTTIME`, ns; else 0.
    pub boot_ns: u64,
}

/// Makes [`FlowEntry::first`].
#[inline(always)]
pub const fn first(mac_le: u64, frame_bytes: u64) -> u64 {
    let length = if frame_bytes > 0xffff { 0xffff } else { frame_bytes };
    mac_le & 0xffff_ffff_ffff | length << 48
}

impl FlowEntry {
    /// The link-layer source of the first frame.
    pub const fn mac(&self) -> [u8; 6] {
        let [a, b, c, d, e, f, _, _] = self.first.to_le_bytes();
        [a, b, c, d, e, f]
    }

    /// Length of the first frame, up to 65,535.
    pub const fn first_frame_bytes(&self) -> u32 {
        (self.first >> 48) as u32
    }
}

/// The flows of one CPU between two turns, and what is not in them.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(64))]
pub struct Bank {
    /// For [`FlowKey::bucket`]: odd numbers, drawn by userspace before the bank is turned to.
    pub multipliers: [u64; 2],
    /// Denied frames that are in no entry, as their bucket was full, and their bytes.
    pub other: Counter,
    /// First frames of flows: what could have been captured.
    pub offered: u64,
    /// Of these, given to userspace.
    pub written: u64,
    /// Of these, not captured as the budget was spent.
    pub over_budget: u64,
    /// Of these, not captured as the buffer was full, or nobody reads it.
    pub unread: u64,
    /// The flows.
    pub buckets: [[FlowEntry; BUCKET_ENTRIES]; BUCKETS],
}

/// The table of one CPU. The first line is written by userspace alone.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(64))]
pub struct CpuFlows {
    /// Which bank is in use: its lowest bit.
    pub bank: u64,
    /// Captures granted since the table was made.
    pub granted: u64,
    /// How much of a frame is captured, bytes.
    pub snap_bytes: u64,
    /// Keeps the kernel's words on a line of their own.
    pub reserved: [u64; 5],
    /// Captures made of what was granted. Written by the kernel alone.
    pub spent: u64,
    /// Keeps the layout free of implicit padding.
    pub reserved_kernel: [u64; 7],
    /// The banks.
    pub banks: [Bank; 2],
}

/// How a program changes words that other programs of its processor may change in between: on real-time kernels alone.
pub trait Change: Copy {
    /// Whether nothing comes in between.
    fn is_alone(self) -> bool;
    /// Counts a frame; each of the sums in one step, where others may come in between.
    fn count(self, sums: &mut Counter, bytes: u64);
    /// Adds to a word, likewise.
    fn add(self, word: &mut u64, by: u64);
    /// The word as it is now, whatever was known of it.
    fn read(self, word: &u64) -> u64;
}

/// For whoever has the table to himself.
#[derive(Clone, Copy, Debug)]
pub struct Alone;

impl Change for Alone {
    #[inline(always)]
    fn is_alone(self) -> bool {
        true
    }

    #[inline(always)]
    fn count(self, sums: &mut Counter, bytes: u64) {
        sums.packets += 1;
        sums.bytes += bytes;
    }

    #[inline(always)]
    fn add(self, word: &mut u64, by: u64) {
        *word += by;
    }

    #[inline(always)]
    fn read(self, word: &u64) -> u64 {
        *word
    }
}

/// In [`FlowKey::word`] of a free entry: one program that wants it. No key has these three bits, so nobody takes such an entry for a flow of his own.
const CLAIM: u64 = 1 << 29;

/// Takes the free entry that has this word. By additions alone, which every kernel has: whoever is not the only one takes his claim back, and the entry
/// may stay free, but is never two programs'.
#[inline(always)]
fn claim<C: Change>(change: C, word: &mut u64) -> bool {
    if change.is_alone() {
        return true;
    }
    change.add(word, CLAIM);
    if change.read(word) == CLAIM {
        return true;
    }
    change.add(word, CLAIM.wrapping_neg());
    false
}

/// Turns the claim into the key's word; others may be about to take theirs back.
#[inline(always)]
fn publish<C: Change>(change: C, word: &mut u64, key: u64) {
    if change.is_alone() {
        *word = key;
    } else {
        change.add(word, key.wrapping_sub(CLAIM));
    }
}

/// What became of a denied frame.
#[derive(Debug)]
pub enum Attributed<'a> {
    /// It is in the bank.
    Counted,
    /// It is the first of its flow: what only the first frame tells is to be filled in.
    First(&'a mut FlowEntry),
}

impl Bank {
    /// Notes a denied frame. `frame` and `zero` (the image's) only hide from the verifier which place of a bucket it is, so that it follows one.
    #[inline(always)]
    pub fn attribute<F: Frame + ?Sized, C: Change>(
        &mut self,
        frame: &F,
        change: C,
        zero: u64,
        key: &FlowKey,
        bytes: u64,
    ) -> Attributed<'_> {
        #[allow(clippy::indexing_slicing, reason = "masked, also for the verifier's eyes")]
        let bucket = &mut self.buckets[key.bucket(self.multipliers) & (BUCKETS - 1)];
        // The word first: where others come in between, the rest is sure once that is there.
        let is_there =
            |entry: &FlowEntry| entry.key.word == key.word && entry.key.lo == key.lo && entry.key.hi == key.hi;
        // Whoever floods came first: straight to the point.
        let [first, ..] = bucket;
        if is_there(first) {
            change.count(&mut first.sums, bytes);
            return Attributed::Counted;
        }
        let Some(place) = bucket.iter().position(|entry| is_there(entry) || entry.key.word == 0) else {
            change.count(&mut self.other, bytes);
            return Attributed::Counted;
        };
        #[allow(clippy::indexing_slicing, reason = "masked")]
        let entry = &mut bucket[rebound::<F, { BUCKET_ENTRIES - 1 }>(frame, zero, place)];
        let is_free = entry.key.word == 0;
        let is_ours = if is_free { claim(change, &mut entry.key.word) } else { change.is_alone() || is_there(entry) };
        if !is_ours {
            // Another program took it a moment ago, or is about to. Looking on would be work without a bound.
            change.count(&mut self.other, bytes);
            return Attributed::Counted;
        }
        change.count(&mut entry.sums, bytes);
        if !is_free {
            return Attributed::Counted;
        }
        (entry.key.hi, entry.key.lo) = (key.hi, key.lo);
        publish(change, &mut entry.key.word, key.word);
        Attributed::First(entry)
    }
}

const _: () = assert!(CLAIM > 1 << V6_SHIFT && CLAIM << 3 == 1 << INTERFACE_SHIFT);
const _: () = assert!(size_of::<FlowEntry>() == 64 && size_of::<Bank>() == 64 * (1 + BANK_ENTRIES));

#[cfg(test)]
mod tests {
    use core::cell::Cell;

    use super::*;

    /// After each of a program's additions, what others add before it goes on.
    struct Between<'a> {
        others: &'a [u64],
        next: Cell<usize>,
    }

    impl Change for &Between<'_> {
        fn is_alone(self) -> bool {
            false
        }

        fn count(self, _sums: &mut Counter, _bytes: u64) {}

        fn add(self, word: &mut u64, by: u64) {
            let others = self.others.get(self.next.get()).copied().unwrap_or_default();
            self.next.set(self.next.get() + 1);
            *word = word.wrapping_add(by).wrapping_add(others);
        }

        fn read(self, word: &u64) -> u64 {
            *word
        }
    }

    const MINE: u64 = 9042_u16.swap_bytes() as u64 | 8 << REASON_SHIFT | 7 << INTERFACE_SHIFT;
    const THEIRS: u64 = 7000_u16.swap_bytes() as u64 | 8 << REASON_SHIFT | 9 << INTERFACE_SHIFT;
    const BACK: u64 = CLAIM.wrapping_neg();

    /// What the word is at the end, and whether the entry was taken. `before`: what others did since it was seen to be free.
    fn claimed(before: u64, others: &[u64]) -> (bool, u64) {
        let (mut word, between) = (before, Between { others, next: Cell::new(0) });
        let is_mine = claim(&between, &mut word);
        if is_mine {
            publish(&between, &mut word, MINE);
        }
        (is_mine, word)
    }

    #[test]
    fn an_entry_is_never_two_programs_and_no_claim_is_left_behind() {
        assert_eq!(claimed(0, &[]), (true, MINE), "nobody else");
        // Who comes in between claims, sees that he is not alone, and takes it back at once.
        assert_eq!(claimed(0, &[0, 0]), (true, MINE));
        // Or is held up before that: both take their claims back.
        assert_eq!(claimed(0, &[CLAIM, BACK]), (false, 0), "two at once: nobody's");
        assert_eq!(claimed(CLAIM, &[0, BACK]), (false, 0), "the other was first and is held up, too");
        // The other had it, and says so before or after this one's claim.
        assert_eq!(claimed(CLAIM, &[0, 0]), (false, CLAIM), "it stays the other's");
        assert_eq!(claimed(THEIRS, &[]), (false, THEIRS));
        assert_eq!(claimed(CLAIM, &[THEIRS.wrapping_sub(CLAIM), 0]), (false, THEIRS));
        // This one has it, and another's claim comes and goes around the moment in which it says so.
        assert_eq!(claimed(0, &[0, CLAIM]), (true, MINE + CLAIM), "the other's is still there");
        assert_eq!(claimed(0, &[0, CLAIM]).1.wrapping_add(BACK), MINE);
    }

    #[test]
    fn no_key_looks_like_a_claim() {
        let query = Query { hi: u64::MAX, lo: u64::MAX, word: 0xffff | 0xf << KIND_SHIFT | 1 << V6_SHIFT };
        let decision = Decision { reason: REASON_SLOTS - 1, row: 0, peer: 0, bytes: 0 };
        let key = FlowKey::new(&query, &decision, DROPPED, u32::MAX);
        assert_eq!(key.word & (7 * CLAIM), 0, "{:x}", key.word);
    }
}
