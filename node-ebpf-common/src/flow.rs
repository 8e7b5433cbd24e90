//! The table of denied flows: who was denied at which port, per CPU and bounded. Which entry a denied frame moves; it reads no clock and no frame.
//!
//! Each CPU has a table of its own with two banks. The program writes into the one that [`CpuFlows::bank`] names; userspace turns that over, waits
//! until no program still runs that read the old number, and then has the other bank for itself. The hash is multiplied by numbers that userspace
//! draws anew for each turn, so that nobody can choose addresses that share a bucket.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{
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
    /// Frames.
    pub packets: u64,
    /// Bytes, as the counters count them.
    pub bytes: u64,
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
    /// Denied frames that are in no entry, as their bucket was full.
    pub other_packets: u64,
    /// Their bytes.
    pub other_bytes: u64,
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
    pub fn attribute<F: Frame + ?Sized>(&mut self, frame: &F, zero: u64, key: &FlowKey, bytes: u64) -> Attributed<'_> {
        #[allow(clippy::indexing_slicing, reason = "masked, also for the verifier's eyes")]
        let bucket = &mut self.buckets[key.bucket(self.multipliers) & (BUCKETS - 1)];
        let is_there =
            |entry: &FlowEntry| entry.key.lo == key.lo && entry.key.word == key.word && entry.key.hi == key.hi;
        // Whoever floods came first: straight to the point.
        let [first, ..] = bucket;
        if is_there(first) {
            first.packets += 1;
            first.bytes += bytes;
            return Attributed::Counted;
        }
        let Some(place) = bucket.iter().position(|entry| is_there(entry) || entry.key.word == 0) else {
            self.other_packets += 1;
            self.other_bytes += bytes;
            return Attributed::Counted;
        };
        #[allow(clippy::indexing_slicing, reason = "masked")]
        let entry = &mut bucket[rebound::<F, { BUCKET_ENTRIES - 1 }>(frame, zero, place)];
        entry.packets += 1;
        entry.bytes += bytes;
        if entry.key.word != 0 {
            return Attributed::Counted;
        }
        entry.key = *key;
        Attributed::First(entry)
    }
}

const _: () = assert!(size_of::<FlowEntry>() == 64 && size_of::<Bank>() == 64 * (1 + BANK_ENTRIES));
