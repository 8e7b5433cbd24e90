//! The table of denied flows: who was denied at which port, per CPU and bounded. Which entry a denied frame moves; it reads no clock and no frame.
//!
//! Each CPU has a table of its own with two banks. The program writes into the one that [`crate::area::CpuArea::bank`] names; userspace turns that over, waits
//! until no program still runs that read the old number, and then has the other bank for itself. Each word of a key is multiplied by a number of its own that
//! userspace draws anew for each turn, so that nobody can choose addresses or ports that share a bucket.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{
    counter::{
        CELLS, CELLS_PER_ROW, Counter, DROPPED_FROM, ROW_IP_TUNNELS, ROW_LATER_FRAGMENTS, ROW_TCP_UNMANAGED,
        ROW_UDP_UNMANAGED, meaning,
    },
    decide::Decision,
    frame::Frame,
    packet::PacketKind,
    query::Query,
    reason::Reason,
    verifier::rebound,
    wire::protocol,
};

/// Flows of one bucket.
pub const BUCKET_ENTRIES: usize = 4;
/// Buckets of a bank, a power of two.
pub const BUCKETS: usize = 256;
/// Flows of a bank.
pub const BANK_ENTRIES: usize = BUCKETS * BUCKET_ENTRIES;
/// Bits of the hash that name a bucket.
const BUCKET_SHIFT: u32 = 64 - BUCKETS.trailing_zeros();

/// What tells flows apart: the source, the destination port, and the counter cell, which says which rule's, why, and whether it was dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FlowKey {
    /// From the lowest bit: 32 of an IPv4 source's wire bytes (read little-endian), 16 of the destination port's, 1 whether the source is IPv6, 15 of the
    /// counter cell. Never 0: no cell of what is denied is 0. Without a port its bits say the kind of packet ([`crate::packet::PacketKind`]).
    pub word: u64,
    /// First eight wire bytes of an IPv6 source, read little-endian.
    pub hi: u64,
    /// Last eight.
    pub lo: u64,
}

const PORT_SHIFT: u32 = 32;
const V6_SHIFT: u32 = 48;
const CELL_SHIFT: u32 = 49;
const _: () = assert!((CELLS as u64 - 1) << CELL_SHIFT >> CELL_SHIFT == CELLS as u64 - 1);

impl FlowKey {
    /// The key of a denied frame.
    #[inline(always)]
    pub const fn new(query: &Query, decision: &Decision) -> Self {
        let rest = (decision.cell as u64) << CELL_SHIFT | (query.port_wire as u64) << PORT_SHIFT;
        // Of an IPv6 source only words of their own.
        let source = query.source;
        if source.is_v6 == 0 {
            Self { word: rest | source.lo, hi: 0, lo: 0 }
        } else {
            Self { word: rest | 1 << V6_SHIFT, hi: source.hi, lo: source.lo }
        }
    }

    /// The counter cell that its frames move.
    pub const fn cell(&self) -> u32 {
        (self.word >> CELL_SHIFT) as u32
    }

    /// The counter row.
    pub const fn row(&self) -> u32 {
        self.cell() / CELLS_PER_ROW
    }

    /// What kind of packet it is. `protocol`: that of the counter row's record; `None`: nobody has the row.
    pub fn kind(&self, protocol: Option<u8>) -> Option<PacketKind> {
        let port_wire = self.port_wire();
        match self.row() {
            ROW_TCP_UNMANAGED => Some(PacketKind::Tcp),
            ROW_IP_TUNNELS if port_wire == 0 => Some(PacketKind::Tunnel),
            // On the tunnels' row are UDP ports, too, that found no row of their own.
            ROW_UDP_UNMANAGED | ROW_IP_TUNNELS => Some(PacketKind::Udp),
            ROW_LATER_FRAGMENTS => Some(PacketKind::LaterFragment),
            ..ROW_TCP_UNMANAGED => PacketKind::from_number(port_wire.into()),
            _ => match protocol? {
                protocol::TCP => Some(PacketKind::Tcp),
                protocol::UDP => Some(PacketKind::Udp),
                _ => None,
            },
        }
    }

    /// The destination port; 0 where there is none.
    pub const fn port(&self) -> u16 {
        let has_port = self.row() >= ROW_TCP_UNMANAGED && self.row() != ROW_LATER_FRAGMENTS;
        if has_port { self.port_wire().swap_bytes() } else { 0 }
    }

    const fn port_wire(&self) -> u16 {
        (self.word >> PORT_SHIFT) as u16
    }

    /// Why; `None` for a number that this build does not know.
    pub fn reason(&self) -> Option<Reason> {
        meaning(self.cell()).map(|(_, reason, _)| reason)
    }

    /// Whether it was dropped; else the policy only audits.
    pub const fn dropped(&self) -> bool {
        self.cell() % CELLS_PER_ROW >= DROPPED_FROM
    }

    /// Whether the source is an IPv6 address.
    pub const fn is_v6(&self) -> bool {
        self.word >> V6_SHIFT & 1 == 1
    }

    /// The source's bytes as on the wire; of IPv4 the first four.
    pub const fn source_be(&self) -> [u8; 16] {
        if self.is_v6() {
            (self.hi as u128 | (self.lo as u128) << 64).to_le_bytes()
        } else {
            (self.word as u32 as u128).to_le_bytes()
        }
    }

    /// The bucket that is this key's in a bank with these multipliers: multiply-shift hashing, which for random odd multipliers is universal.
    /// `is_v6`: what the word says as well, but LLVM knows it here.
    #[inline(always)]
    const fn bucket(&self, is_v6: bool, multipliers: &[u64; KEY_WORDS]) -> usize {
        let [word, hi, lo] = multipliers;
        let mut hash = self.word.wrapping_mul(*word);
        if is_v6 {
            // A product's top bits know little of a factor's: of two words, those could make up for one another. So one of them is folded first.
            let folded = self.lo ^ self.lo >> 32;
            hash = hash.wrapping_add(self.hi.wrapping_mul(*hi)).wrapping_add(folded.wrapping_mul(*lo));
        }
        (hash >> BUCKET_SHIFT) as usize & (BUCKETS - 1)
    }

    /// Whether an entry has this key. The word first: where programs come between one another, the rest is sure once that is there.
    #[inline(always)]
    const fn is_of(&self, is_v6: bool, entry: &FlowEntry) -> bool {
        entry.key.word == self.word && (!is_v6 || entry.key.lo == self.lo && entry.key.hi == self.hi)
    }
}

/// Words of a key, each with a multiplier of its own.
pub const KEY_WORDS: usize = size_of::<FlowKey>() / 8;

/// One flow. The first of a bucket has all that a further frame moves in one cache line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FlowEntry {
    /// Whose it is; all zero while it is free.
    pub key: FlowKey,
    /// Frames and bytes, as the counters count them.
    pub sums: Counter,
    /// What the first frame was like.
    pub first: FirstFrame,
    /// Programs that want it while it is free, where programs come between one another.
    pub claims: u64,
}

/// What only a flow's first frame tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FirstFrame {
    /// The link-layer source's six wire bytes (read little-endian) in the low 48 bits, above them the frame's length up to 65,535.
    pub link: u64,
    /// Index of the interface that it came in by, and above it the low 32 bits of the policy's generation.
    pub seen: u64,
    /// Where it was captured: `CLOCK_BOOTTIME`, ns; else 0.
    pub boot_ns: u64,
    /// First eight wire bytes of the destination address, read little-endian; 0 for IPv4.
    pub destination_hi: u64,
    /// Last eight, or the four of IPv4.
    pub destination_lo: u64,
    /// 16 of the source port's wire bytes, read little-endian, and above them 8 of TCP's flags.
    pub sender: u64,
}

impl FirstFrame {
    /// Makes [`Self::link`].
    #[inline(always)]
    pub const fn link(sender_le: u64, frame_bytes: u64) -> u64 {
        let length = if frame_bytes > 0xffff { 0xffff } else { frame_bytes };
        sender_le & 0xffff_ffff_ffff | length << 48
    }

    /// Makes [`Self::seen`].
    #[inline(always)]
    pub const fn seen(if_index: u32, generation: u64) -> u64 {
        if_index as u64 | generation << 32
    }

    /// Makes [`Self::sender`].
    #[inline(always)]
    pub const fn sender(source_port_wire: u32, tcp_flags: u8) -> u64 {
        source_port_wire as u64 | (tcp_flags as u64) << 16
    }

    /// The link-layer source.
    pub const fn mac(&self) -> [u8; 6] {
        let [a, b, c, d, e, f, _, _] = self.link.to_le_bytes();
        [a, b, c, d, e, f]
    }

    /// The frame's length, up to 65,535.
    pub const fn frame_bytes(&self) -> u32 {
        (self.link >> 48) as u32
    }

    /// Index of the interface that it came in by.
    pub const fn interface(&self) -> u32 {
        self.seen as u32
    }

    /// The low 32 bits of the number of the policy that denied it.
    pub const fn generation(&self) -> u32 {
        (self.seen >> 32) as u32
    }

    /// The destination's bytes as on the wire; of IPv4 the first four. All zero: it is not known.
    pub const fn destination_be(&self) -> [u8; 16] {
        (self.destination_hi as u128 | (self.destination_lo as u128) << 64).to_le_bytes()
    }

    /// The source port; 0 where there is none.
    pub const fn source_port(&self) -> u16 {
        (self.sender as u16).swap_bytes()
    }

    /// TCP's flags (SYN is 2); 0 where they are not known.
    pub const fn tcp_flags(&self) -> u8 {
        (self.sender >> 16) as u8
    }
}

/// The flows of one CPU between two turns, and what is not in them.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(64))]
pub struct Bank {
    /// For [`FlowKey::bucket`]: odd numbers, drawn by userspace before the bank is turned to.
    pub multipliers: [u64; KEY_WORDS],
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
    /// Lets the buckets begin with a cache line.
    pub reserved: [u64; 7],
    /// The flows.
    pub buckets: [[FlowEntry; BUCKET_ENTRIES]; BUCKETS],
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
    /// Stores a word after all that was stored before.
    fn publish(self, word: &mut u64, value: u64);
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

    #[inline(always)]
    fn publish(self, word: &mut u64, value: u64) {
        *word = value;
    }
}

/// Takes a free entry. By additions alone, which every kernel has: whoever is not the only one takes his claim back, and the entry may stay free, but is never
/// two programs'. Who has it keeps the claim until userspace empties the entry.
#[inline(always)]
fn claim<C: Change>(change: C, claims: &mut u64) -> bool {
    if change.is_alone() {
        return true;
    }
    change.add(claims, 1);
    if change.read(claims) == 1 {
        return true;
    }
    change.add(claims, 1_u64.wrapping_neg());
    false
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
    /// Notes a denied frame of this key; `is_v6`: of which family. `frame` and `zero` (the image's) only hide from the verifier which place of a bucket it is, so that it follows one.
    #[inline(always)]
    pub fn attribute<F: Frame + ?Sized, C: Change>(
        &mut self,
        frame: &F,
        change: C,
        zero: u64,
        key: &FlowKey,
        is_v6: bool,
        bytes: u64,
    ) -> Attributed<'_> {
        #[allow(clippy::indexing_slicing, reason = "masked, also for the verifier's eyes")]
        let bucket = &mut self.buckets[key.bucket(is_v6, &self.multipliers) & (BUCKETS - 1)];
        // Whoever floods came first: straight to the point.
        let [first, ..] = bucket;
        if key.is_of(is_v6, first) {
            change.count(&mut first.sums, bytes);
            return Attributed::Counted;
        }
        let Some(place) = bucket.iter().position(|entry| key.is_of(is_v6, entry) || entry.key.word == 0) else {
            change.count(&mut self.other, bytes);
            return Attributed::Counted;
        };
        #[allow(clippy::indexing_slicing, reason = "masked")]
        let entry = &mut bucket[rebound::<F, { BUCKET_ENTRIES - 1 }>(frame, zero, place)];
        let is_free = entry.key.word == 0;
        let is_ours =
            if is_free { claim(change, &mut entry.claims) } else { change.is_alone() || key.is_of(is_v6, entry) };
        if !is_ours {
            // Another program took it a moment ago, or is about to. Looking on would be work without a bound.
            change.count(&mut self.other, bytes);
            return Attributed::Counted;
        }
        change.count(&mut entry.sums, bytes);
        if !is_free {
            return Attributed::Counted;
        }
        // A free entry is all zero.
        if is_v6 {
            (entry.key.hi, entry.key.lo) = (key.hi, key.lo);
        }
        change.publish(&mut entry.key.word, key.word);
        Attributed::First(entry)
    }
}

const _: () = assert!(
    size_of::<[FlowEntry; BUCKET_ENTRIES]>().is_multiple_of(64) && size_of::<Bank>() == 128 + BANK_ENTRIES * 96
);

#[cfg(test)]
mod tests;
