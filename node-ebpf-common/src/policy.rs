//! `PolicyImage`, the one value that the kernel program reads, and its lookups: port -> row, source -> groups. Building an image (the
//! perfect hash, the rows) is userspace's work, in `crates/policy`.
//!
//! The source table is a perfect hash with a pilot per bucket: one probe for each prefix length in use, no chain, so that no source can make the
//! kernel's work longer. A longer prefix carries the groups of the shorter ones that contain it, so that the first match is the whole answer.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{
    address::Address,
    counter::ROWS,
    frame::Frame,
    rule::{GROUP_PEER, PortWord, Row},
    verifier::zero_mask,
};
use core::hint::cold_path;

/// "nodewall", little-endian: an image map that holds anything else was never filled.
pub const MAGIC: u64 = u64::from_le_bytes(*b"nodewall");
/// Buckets (each with a pilot) of one source table.
pub const BUCKETS: usize = 8192;
/// Slots of one source table: twice the largest number of sources, so that a pilot is always found.
pub const SLOTS: usize = 32_768;
/// Sources of one address family that an image can hold.
pub const MAX_SOURCES: usize = 16_384 + 1_024;
/// Distinct IPv4 prefix lengths. Sources of more are expanded; the verifier follows each.
pub const MAX_LENGTHS_V4: usize = 8;
/// Distinct IPv6 prefix lengths, as for IPv4; wider gaps between them make expansion costlier.
pub const MAX_LENGTHS_V6: usize = 12;
/// Places for them: a power of two.
pub const LENGTH_PLACES_V6: usize = 16;

/// Interfaces with a rule of their own that fit.
pub const MAX_INTERFACE_RULES: usize = 8;
/// Mission Control's addresses of one family that fit.
pub const MAX_MISSION_ADDRESSES: usize = 8;
/// What stands in an unused place of Mission Control's IPv4 addresses: the limited broadcast.
pub const NO_MISSION_V4: u32 = u32::MAX;
/// The same for IPv6: a multicast address.
pub const NO_MISSION_V6: [u64; 2] = [u64::MAX; 2];
/// [`PolicyImage::mission_port_wire`] where nobody is Mission Control.
pub const NO_MISSION_PORT: u32 = u32::MAX;

/// First of the group bits that rules' `also_allow` prefixes get.
pub const GROUP_RULE_FIRST: u32 = 1 << 1;
/// Rules with `also_allow` that fit.
pub const MAX_RULE_GROUPS: usize = 29;
/// The source can not be genuine on a wire: martian, or the node's own address.
pub const GROUP_SPOOFED: u32 = 1 << 30;
/// An operator blocked the source. Outranks everything.
pub const GROUP_BLOCKED: u32 = 1 << 31;

/// What a peer must be to come in by an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct InterfaceRule {
    /// The interface's index; 0: this rule is for none.
    pub if_index: u32,
    /// Group bits, one of which it must be in: [`GROUP_PEER`] lets every peer in, 0 lets in none.
    pub admits: u32,
}

/// One IPv4 prefix length in use: what an address with all ones above it is masked by to make the key.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct LengthV4(u64);

impl LengthV4 {
    /// From the prefix length's mask over the wire's bytes (read little-endian) and the prefix length plus one, so that zeroed memory is no key.
    pub const fn new(mask: u32, length_plus_one: u32) -> Self {
        Self(key_v4(mask, length_plus_one))
    }

    /// The prefix length plus one.
    pub const fn length_plus_one(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The key of the prefix of this length that `address` is in.
    #[inline(always)]
    pub const fn key(self, address: u32) -> u64 {
        (address as u64 | (u32::MAX as u64) << 32) & self.0
    }
}

/// One IPv6 prefix length in use.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct LengthV6 {
    /// Mask of the first eight wire bytes.
    pub mask_hi: u64,
    /// Mask of the last eight wire bytes.
    pub mask_lo: u64,
    /// The prefix length plus one.
    pub length_plus_one: u64,
}

/// A slot of the IPv4 source table.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SlotV4 {
    /// Masked address (low half) and prefix length plus one (high half).
    pub key: u64,
    /// See [`value`].
    pub value: u64,
}

/// A slot of the IPv6 source table.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SlotV6 {
    /// Masked address, first half.
    pub hi: u64,
    /// Masked address, second half.
    pub lo: u64,
    /// The prefix length plus one.
    pub length_plus_one: u64,
    /// See [`value`].
    pub value: u64,
}

/// A slot's value: the groups in the low 32 bits, the peer's number (0: none) in the 16 bits above. A peer keeps its number up to
/// [`crate::peer_traffic::OWN_PEERS`] from image to image.
pub const fn value(groups: u32, peer: u16) -> u64 {
    groups as u64 | (peer as u64) << 32
}

/// The compiled policy. Lives in one of the two places of [`crate::images::Images`] and is never changed there while a packet may read it.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PolicyImage {
    /// [`MAGIC`].
    pub magic: u64,
    /// [`crate::ABI_VERSION`].
    pub abi_version: u32,
    /// 1: drop. 0: audit, nothing is dropped.
    pub enforce: u16,
    /// 1: traffic of peers is counted for each peer, too.
    pub per_peer: u8,
    /// Where the place of what is denied without a port begins ([`crate::counter::denied_from`]).
    pub denied_from: u8,
    /// Always 0, which the verifier can not know (see [`rebound`]).
    pub zero: u64,
    /// Number of this image; each swap raises it.
    pub generation: u64,
    /// Unix time of the compilation, ns.
    pub compiled_at_ns: u64,
    /// SHA-256 of the policy's canonical text.
    pub policy_sha256: [u8; 32],
    /// Peers named by the policy (addresses and prefixes), for people. More than both tables hold are refused, so 16 bits are enough.
    pub peers: u16,
    /// Blocked prefixes. While it is not 0, the source matters on every port, and packets without a port are judged by their source, too.
    pub blocked: u16,
    /// IPv4 prefix lengths in use.
    pub lengths_v4: u32,
    /// IPv6 prefix lengths in use.
    pub lengths_v6: u32,
    /// Pilots of the IPv4 table in use, minus one: a power of two less one, below [`BUCKETS`]. 0: there are none, each hash leads to its slot at once. So it is
    /// where sources are few: then a multiplier under which no two meet is soon found.
    pub bucket_mask_v4: u32,
    /// Slots of the IPv4 table in use, minus one, below [`SLOTS`]. A table no larger than it must be stays in the processor's nearest cache.
    pub slot_mask_v4: u32,
    /// As for IPv4.
    pub bucket_mask_v6: u32,
    /// As for IPv4.
    pub slot_mask_v6: u32,
    /// Mission Control's port, the wire's two bytes loaded little-endian; above 65,535: there is none.
    pub mission_port_wire: u32,
    /// Odd multiplier of the IPv4 hash.
    pub multiplier_v4: u64,
    /// Odd multipliers of the IPv6 hash.
    pub multiplier_v6: [u64; 2],
    /// The IPv4 lengths, longest first.
    pub length_v4: [LengthV4; MAX_LENGTHS_V4],
    /// The IPv6 lengths, longest first.
    pub length_v6: [LengthV6; LENGTH_PLACES_V6],
    /// For [`index_v4`]: where the bits are that tell this image's IPv4 sources apart best.
    pub index_shift_v4: u32,
    /// For [`index_v6`].
    pub index_shift_v6: u32,
    /// Which lengths an IPv4 source with this index can have, longest first: the place in [`Self::length_v4`] and one, in four bits each. 0 ends it.
    pub possible_v4: [u32; INDEXES],
    /// The same for IPv6.
    pub possible_v6: [u64; INDEXES],
    /// What each row lets in.
    pub rows: [Row; ROWS as usize],
    /// Port -> [`PortWord`], for TCP and UDP. The index is the wire's two bytes loaded little-endian: the verifier of older kernels knows
    /// that a two-byte load is at most 65,535, but not that a byte-swapped value is.
    pub port_words: [[u16; 65_536]; 2],
    /// A pilot for each IPv4 bucket.
    pub pilots_v4: [u16; BUCKETS],
    /// A pilot for each IPv6 bucket.
    pub pilots_v6: [u16; BUCKETS],
    /// IPv4 sources.
    pub slots_v4: [SlotV4; SLOTS],
    /// IPv6 sources.
    pub slots_v6: [SlotV6; SLOTS],
    /// Interfaces by which not every peer may come in. Looked at only where the program has the instructions for it.
    pub interface_rules: [InterfaceRule; MAX_INTERFACE_RULES],
    /// Mission Control's IPv6 addresses, first and last eight wire bytes. Unused places hold what no TCP packet is sent to.
    pub mission_v6: [[u64; 2]; MAX_MISSION_ADDRESSES],
    /// Mission Control's IPv4 addresses, the wire's bytes. Not in the source table: there they could cost every inbound packet a probe.
    pub mission_v4: [u32; MAX_MISSION_ADDRESSES],
}

/// A hash gives its top bits to the slot and those below to the bucket: the product's lower bits depend on too little of the key.
const SLOT_SHIFT: u32 = 64 - SLOTS.trailing_zeros();
const BUCKET_SHIFT: u32 = SLOT_SHIFT - BUCKETS.trailing_zeros();

/// Hash of an IPv4 key.
#[inline(always)]
pub const fn hash_v4(multiplier: u64, key: u64) -> u64 {
    key.wrapping_mul(multiplier)
}

/// Hash of an IPv6 key. High bits are folded down first: in wire order the bytes that differ are the top ones. The halves are multiplied apart, for
/// one after the other would take the processor twice as long.
#[inline(always)]
pub const fn hash_v6(multiplier: [u64; 2], hi: u64, lo: u64, length_plus_one: u64) -> u64 {
    let first = (hi ^ (hi >> 32) ^ length_plus_one).wrapping_mul(multiplier[0]);
    let second = (lo ^ (lo >> 32)).wrapping_mul(multiplier[1]);
    first.wrapping_add(second)
}

/// The bucket whose pilot places this hash, before the image's mask.
#[inline(always)]
pub const fn bucket(hash: u64) -> usize {
    (hash >> BUCKET_SHIFT) as usize & (BUCKETS - 1)
}

/// Bits of an address by which an image says which prefix lengths it can have.
pub const INDEX_BITS: u32 = 12;
/// What they can be.
pub const INDEXES: usize = 1 << INDEX_BITS;

/// These bits of an IPv4 address (the wire's bytes, read little-endian): those above `shift`.
#[inline(always)]
pub const fn index_v4(address: u32, shift: u32) -> usize {
    address.swap_bytes().wrapping_shr(shift) as usize & (INDEXES - 1)
}

/// The same of the first half of an IPv6 address.
#[inline(always)]
pub const fn index_v6(hi: u64, shift: u32) -> usize {
    hi.swap_bytes().wrapping_shr(shift) as usize & (INDEXES - 1)
}

/// The only slot where a key with this hash can be, before the image's mask. A sum, whose mask LLVM must leave at the end: it moves that of an exclusive or to the front,
/// and the verifiers of 5.10 and 6.1 know nothing of an exclusive or's bounds.
#[inline(always)]
pub const fn slot(hash: u64, pilot: u16) -> usize {
    ((hash >> SLOT_SHIFT) + pilot as u64) as usize & (SLOTS - 1)
}

/// The key of an IPv4 prefix: its masked wire bytes and its length plus one.
#[inline(always)]
pub const fn key_v4(masked: u32, length_plus_one: u32) -> u64 {
    masked as u64 | (length_plus_one as u64) << 32
}

impl PolicyImage {
    /// What is said of a destination port; `port_wire` is the port's two wire bytes loaded little-endian.
    #[inline(always)]
    #[expect(clippy::indexing_slicing, reason = "both are masked to their tables' lengths")]
    pub fn port_word(&self, table: u32, port_wire: u32) -> PortWord {
        PortWord::from_bits(self.port_words[table as usize & 1][port_wire as usize & 0xffff])
    }

    /// The row of a destination port, likewise.
    #[inline(always)]
    pub fn row_of(&self, table: u32, port_wire: u32) -> u32 {
        self.port_word(table, port_wire).row()
    }

    /// What a row lets in.
    #[inline(always)]
    #[expect(clippy::indexing_slicing, reason = "masked to the table's length, a power of two")]
    pub fn row(&self, row: u32) -> Row {
        self.rows[row as usize & (ROWS as usize - 1)]
    }

    /// [`Self::source`]'s answer for what came in by this interface: whose peers are not let in there, they are no peers.
    #[inline(always)]
    pub fn by_interface(&self, found: u64, if_index: u32) -> u64 {
        let mut admits = GROUP_PEER;
        for rule in &self.interface_rules {
            if rule.if_index == if_index {
                admits = rule.admits;
            }
        }
        if found as u32 & admits == 0 { found & u64::from(!GROUP_PEER) } else { found }
    }

    /// 1 when `destination` is one of Mission Control's addresses, else 0.
    #[inline(always)]
    pub fn is_mission_control<F: Frame + ?Sized>(&self, frame: &F, destination: Address) -> u32 {
        let mut found = 0;
        if destination.is_v6 == 0 {
            for address in &self.mission_v4 {
                found |= zero_mask(frame, u64::from(*address) ^ destination.lo);
            }
        } else {
            for [hi, lo] in &self.mission_v6 {
                let differs = (hi ^ destination.hi) | (lo ^ destination.lo);
                found |= zero_mask(frame, differs >> 1 | differs & 1);
            }
        }
        found as u32 & 1
    }

    /// Number of the peer that `destination` is; 0: none. What blocks a source does not unmake a peer.
    #[inline(always)]
    pub fn peer_at<F: Frame + ?Sized>(&self, frame: &F, destination: Address) -> u32 {
        (self.source(frame, destination) >> 32) as u32 & 0xffff
    }

    /// The [`value`] of the longest prefix that the source is in, 0 when it is in none. With one length that is probed, without a question: cheaper than a branch
    /// on mixed traffic. With more, some of the address' bits say which can be.
    #[inline(always)]
    pub fn source<F: Frame + ?Sized>(&self, frame: &F, source: Address) -> u64 {
        if source.is_v6 == 0 {
            self.source_v4(frame, source.lo as u32)
        } else {
            self.source_v6(frame, source.hi, source.lo)
        }
    }

    #[inline(always)]
    #[expect(clippy::indexing_slicing, reason = "masked to their tables' lengths")]
    fn source_v4<F: Frame + ?Sized>(&self, frame: &F, address: u32) -> u64 {
        if self.lengths_v4 <= 1 {
            return self.probe_v4::<F, true>(frame, address, self.length_v4[0]);
        }
        cold_path();
        let image = frame.anew(self);
        // Hidden, so that the mask stays: the verifiers of 5.10 and 6.1 know no bounds of an `or`.
        let index = frame.opaque(index_v4(address, image.index_shift_v4) as u64) as usize;
        let mut possible = image.possible_v4[index & (INDEXES - 1)];
        let (mut found, mut n) = (0, 0);
        while n < MAX_LENGTHS_V4 && possible & 15 != 0 {
            let length = image.length_v4[(possible as usize & 15).wrapping_sub(1) & (MAX_LENGTHS_V4 - 1)];
            found = image.probe_v4::<F, false>(frame, address, length);
            if found != 0 {
                break;
            }
            possible >>= 4;
            n += 1;
        }
        // So that the verifier follows what comes next once, not for each number of lengths.
        frame.opaque(found.wrapping_add(image.zero))
    }

    #[inline(always)]
    #[expect(clippy::indexing_slicing, reason = "masked to their tables' lengths")]
    fn source_v6<F: Frame + ?Sized>(&self, frame: &F, hi: u64, lo: u64) -> u64 {
        if self.lengths_v6 <= 1 {
            return self.probe_v6::<F, true>(frame, hi, lo, self.length_v6[0]);
        }
        cold_path();
        let image = frame.anew(self);
        let index = frame.opaque(index_v6(hi, image.index_shift_v6) as u64) as usize;
        let mut possible = image.possible_v6[index & (INDEXES - 1)];
        let (mut found, mut n) = (0, 0);
        while n < MAX_LENGTHS_V6 && possible & 15 != 0 {
            let length = image.length_v6[(possible as usize & 15).wrapping_sub(1) & (LENGTH_PLACES_V6 - 1)];
            found = image.probe_v6::<F, false>(frame, hi, lo, length);
            if found != 0 {
                break;
            }
            possible >>= 4;
            n += 1;
        }
        frame.opaque(found.wrapping_add(image.zero))
    }

    #[inline(always)]
    #[expect(clippy::indexing_slicing, reason = "bucket and slot are masked to their tables' lengths")]
    fn probe_v4<F: Frame + ?Sized, const IS_FIRST: bool>(&self, frame: &F, address: u32, length: LengthV4) -> u64 {
        let key = length.key(address);
        let hash = hash_v4(self.multiplier_v4, key);
        let mut pilot = 0;
        // Where there is none, a 0 stands in its place.
        if !IS_FIRST || self.bucket_mask_v4 != 0 {
            cold_path();
            pilot = self.pilots_v4[bucket(hash) & self.bucket_mask_v4 as usize];
        }
        let slot = frame.anew(&self.slots_v4[slot(hash, pilot) & self.slot_mask_v4 as usize]);
        zero_mask(frame, slot.key ^ key) & slot.value
    }

    #[inline(always)]
    #[expect(clippy::indexing_slicing, reason = "bucket and slot are masked to their tables' lengths")]
    fn probe_v6<F: Frame + ?Sized, const IS_FIRST: bool>(&self, frame: &F, hi: u64, lo: u64, length: LengthV6) -> u64 {
        let (hi, lo) = (hi & length.mask_hi, lo & length.mask_lo);
        let hash = hash_v6(self.multiplier_v6, hi, lo, length.length_plus_one);
        let mut pilot = 0;
        // Where there is none, a 0 stands in its place.
        if !IS_FIRST || self.bucket_mask_v6 != 0 {
            cold_path();
            pilot = self.pilots_v6[bucket(hash) & self.bucket_mask_v6 as usize];
        }
        let slot = frame.anew(&self.slots_v6[slot(hash, pilot) & self.slot_mask_v6 as usize]);
        let differs = (slot.hi ^ hi) | (slot.lo ^ lo) | (slot.length_plus_one ^ length.length_plus_one);
        zero_mask(frame, differs >> 1 | differs & 1) & slot.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_stays_far_below_what_old_kernels_can_copy() {
        // Kernels before 5.11 copy a map value through one contiguous allocation of at most 4 MiB.
        assert!(size_of::<PolicyImage>() < 2 << 20, "{}", size_of::<PolicyImage>());
        assert_eq!(size_of::<PolicyImage>() % 8, 0);
        // What counts a table's sources has 16 bits.
        assert!(u16::try_from(2 * MAX_SOURCES).is_ok());
    }
}
