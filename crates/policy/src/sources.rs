//! The source table: prefixes -> the image's perfect hash. Owns expansion to few prefix lengths, inheritance from shorter to longer prefixes, and the
//! search for pilots. It must not know what a group means, except that a spoofed (own) address inherits nothing, not even a block.
//!
//! Addresses are keyed by the wire's bytes read little-endian, as the kernel reads them.

mod possible;

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use node_ebpf_common::address::Address;
use node_ebpf_common::policy::{
    BUCKETS, GROUP_SPOOFED, LengthV4, LengthV6, MAX_LENGTHS_V4, MAX_LENGTHS_V6, MAX_SOURCES, NO_MISSION_PORT,
    NO_MISSION_V4, NO_MISSION_V6, PolicyImage, SLOTS, SlotV4, SlotV6, bucket, hash_v4, hash_v6, key_v4, slot, value,
};

use self::possible::Possible;
use crate::config::MissionControl;

/// Each length costs a probe for every frame that asks; expansion brings a policy down to this many where it fits.
pub const FEW_LENGTHS: usize = 4;
/// Seeds tried before the build gives up. With half-empty tables the first one nearly always works.
const MAX_SEEDS: u64 = 1_000;

/// What a source may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Grant {
    /// Group bits.
    pub groups: u32,
    /// Peer number, 0: none.
    pub peer: u16,
}

/// Why the sources do not fit into an image.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Too many entries, counted after the expansion that the limit of distinct lengths demands.
    #[error(
        "the {family} sources need {needed} table entries in at most {lengths} distinct prefix lengths, and {MAX_SOURCES} fit; \
         name fewer sources or use fewer different prefix lengths"
    )]
    TooMany {
        /// "IPv4" or "IPv6".
        family: &'static str,
        /// Entries needed at least.
        needed: u64,
        /// Distinct prefix lengths that an image holds.
        lengths: usize,
    },
    /// No seed gave a perfect hash.
    #[error(
        "no perfect hash found for the {family} sources after {MAX_SEEDS} seeds; please report this with your list of sources"
    )]
    NoSeed {
        /// "IPv4" or "IPv6".
        family: &'static str,
    },
}

/// How many distinct lengths the image ended up with, for the warning above [`FEW_LENGTHS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lengths {
    /// IPv4.
    pub v4: usize,
    /// IPv6.
    pub v6: usize,
}

/// Fills the source tables of `image`, which must be zeroed.
pub(super) fn fill(image: &mut PolicyImage, sources: &BTreeMap<IpNet, Grant>) -> Result<Lengths, SourceError> {
    let (mut v4, mut v6) = (BTreeMap::new(), BTreeMap::new());
    for (net, grant) in sources {
        // Both families as 128-bit numbers, most significant bit first, so that one algorithm serves both.
        match net {
            IpNet::V4(net) => v4.insert((net.prefix_len(), u128::from(u32::from(net.network())) << 96), *grant),
            IpNet::V6(net) => v6.insert((net.prefix_len(), u128::from(net.network())), *grant),
        };
    }
    let v4 = inherit(expand(&v4, "IPv4", MAX_LENGTHS_V4)?);
    let v6 = inherit(expand(&v6, "IPv6", MAX_LENGTHS_V6)?);
    fill_v4(image, &v4)?;
    fill_v6(image, &v6)?;
    Ok(Lengths { v4: image.lengths_v4 as usize, v6: image.lengths_v6 as usize })
}

/// (length, network bits from the top) -> grant.
type Prefixes = BTreeMap<(u8, u128), Grant>;

/// Brings the prefixes down to few distinct lengths: those that fall away are written out as longer ones.
fn expand(prefixes: &Prefixes, family: &'static str, max_lengths: usize) -> Result<Prefixes, SourceError> {
    let mut count: BTreeMap<u8, u64> = BTreeMap::new();
    for (length, _) in prefixes.keys() {
        *count.entry(*length).or_default() += 1;
    }
    let count: Vec<(u8, u64)> = count.into_iter().collect();
    let mut needed = 0;
    for lengths in FEW_LENGTHS..=max_lengths {
        let (entries, kept) = cheapest(&count, lengths);
        needed = entries;
        if entries <= MAX_SOURCES as u64 {
            return Ok(written_out(prefixes, &kept));
        }
    }
    Err(SourceError::TooMany { family, needed, lengths: max_lengths })
}

/// The `lengths` (or fewer) lengths to keep, so that the number of entries is smallest: a length that is not kept expands to the next kept one.
/// Dynamic programming over the lengths in use (at most 129).
fn cheapest(count: &[(u8, u64)], lengths: usize) -> (u64, Vec<u8>) {
    // best[n] = cheapest way to place the first n lengths when the last of them is kept, for each number of kept lengths.
    let total = count.len();
    let mut best: Vec<(u64, Vec<u8>)> = vec![(0, Vec::new())];
    best.resize(total + 1, (u64::MAX, Vec::new()));
    for _ in 0..lengths.min(total) {
        let mut next = best.clone();
        for (end, slot) in next.iter_mut().enumerate().skip(1) {
            let Some(&(kept, _)) = count.get(end - 1) else { continue };
            for (start, (cost, chosen)) in best.iter().enumerate().take(end) {
                let placed = count.get(start..end).unwrap_or_default().iter();
                let cost = placed.fold(*cost, |sum, (length, number)| {
                    let copies = 1_u64.checked_shl(u32::from(kept - length)).unwrap_or(u64::MAX);
                    sum.saturating_add(number.saturating_mul(copies))
                });
                if cost < slot.0 {
                    let mut chosen = chosen.clone();
                    chosen.push(kept);
                    *slot = (cost, chosen);
                }
            }
        }
        best = next;
    }
    best.pop().unwrap_or_default()
}

fn written_out(prefixes: &Prefixes, kept: &[u8]) -> Prefixes {
    let mut out = Prefixes::new();
    // Ascending length: what a longer prefix says itself comes last and decides the peer.
    for ((length, bits), grant) in prefixes {
        let to = kept.iter().copied().find(|k| k >= length).unwrap_or(*length);
        for n in 0..1_u128 << (to - length) {
            let bits = if to == 0 { 0 } else { bits | n << (128 - u32::from(to)) };
            let entry = out.entry((to, bits)).or_default();
            *entry = combined(*entry, *grant);
        }
    }
    out
}

/// `own` seen together with what contains it.
fn combined(outer: Grant, own: Grant) -> Grant {
    if own.groups & GROUP_SPOOFED != 0 {
        return own;
    }
    Grant { groups: outer.groups | own.groups, peer: if own.peer == 0 { outer.peer } else { own.peer } }
}

/// Gives every prefix the groups of the shorter ones that contain it.
fn inherit(prefixes: Prefixes) -> Prefixes {
    let mut out = Prefixes::new();
    let mut lengths: Vec<u8> = Vec::new();
    for ((length, bits), own) in prefixes {
        if lengths.last() != Some(&length) {
            lengths.push(length);
        }
        let mut outer = Grant::default();
        for shorter in lengths.iter().filter(|l| **l < length) {
            if let Some(grant) = out.get(&(*shorter, bits & mask(*shorter))) {
                outer = combined(outer, *grant);
            }
        }
        out.insert((length, bits), combined(outer, own));
    }
    out
}

/// The top `length` bits.
const fn mask(length: u8) -> u128 {
    if length == 0 { 0 } else { u128::MAX << (128 - length as u32) }
}

fn wire_v4(bits: u128) -> u32 {
    u32::from_le_bytes(((bits >> 96) as u32).to_be_bytes())
}

fn wire_v6(bits: u128) -> (u64, u64) {
    (((bits >> 64) as u64).swap_bytes(), (bits as u64).swap_bytes())
}

fn lengths_of(prefixes: &Prefixes) -> Vec<u8> {
    let mut lengths: Vec<u8> = prefixes.keys().map(|(length, _)| *length).collect();
    lengths.dedup();
    lengths.reverse();
    lengths
}

fn fill_v4(image: &mut PolicyImage, prefixes: &Prefixes) -> Result<(), SourceError> {
    let lengths = lengths_of(prefixes);
    image.lengths_v4 = lengths.len() as u32;
    let size = Size::of(prefixes.len());
    (image.bucket_mask_v4, image.slot_mask_v4) = (size.buckets as u32 - 1, size.slots as u32 - 1);
    for (into, length) in image.length_v4.iter_mut().zip(&lengths) {
        *into = LengthV4::new(wire_v4(mask(*length)), u32::from(*length) + 1);
    }
    let entries: Vec<SlotV4> = prefixes
        .iter()
        .map(|((length, bits), grant)| SlotV4 {
            key: key_v4(wire_v4(*bits), u32::from(*length) + 1),
            value: value(grant.groups, grant.peer),
        })
        .collect();
    for seed in seeds() {
        let [multiplier, _] = multipliers(seed);
        let hashes: Vec<u64> = entries.iter().map(|e| hash_v4(multiplier, e.key)).collect();
        if let Some(places) = pilots(&hashes, size, &mut image.pilots_v4) {
            image.multiplier_v4 = multiplier;
            place(&mut image.slots_v4, entries, &places);
            let possible = Possible::of(&lengths, prefixes, u32::BITS);
            image.index_shift_v4 = possible.shift;
            image.possible_v4.iter_mut().zip(possible.places()).for_each(|(to, places)| *to = places as u32);
            return Ok(());
        }
    }
    Err(SourceError::NoSeed { family: "IPv4" })
}

fn fill_v6(image: &mut PolicyImage, prefixes: &Prefixes) -> Result<(), SourceError> {
    let lengths = lengths_of(prefixes);
    image.lengths_v6 = lengths.len() as u32;
    let size = Size::of(prefixes.len());
    (image.bucket_mask_v6, image.slot_mask_v6) = (size.buckets as u32 - 1, size.slots as u32 - 1);
    for (into, length) in image.length_v6.iter_mut().zip(&lengths) {
        let (mask_hi, mask_lo) = wire_v6(mask(*length));
        *into = LengthV6 { mask_hi, mask_lo, length_plus_one: u64::from(*length) + 1 };
    }
    let entries: Vec<SlotV6> = prefixes
        .iter()
        .map(|((length, bits), grant)| {
            let (hi, lo) = wire_v6(*bits);
            SlotV6 { hi, lo, length_plus_one: u64::from(*length) + 1, value: value(grant.groups, grant.peer) }
        })
        .collect();
    for seed in seeds() {
        let multiplier = multipliers(seed);
        let hashes: Vec<u64> = entries.iter().map(|e| hash_v6(multiplier, e.hi, e.lo, e.length_plus_one)).collect();
        if let Some(places) = pilots(&hashes, size, &mut image.pilots_v6) {
            image.multiplier_v6 = multiplier;
            place(&mut image.slots_v6, entries, &places);
            let possible = Possible::of(&lengths, prefixes, u64::BITS);
            image.index_shift_v6 = possible.shift;
            image.possible_v6.iter_mut().zip(possible.places()).for_each(|(to, places)| *to = places);
            return Ok(());
        }
    }
    Err(SourceError::NoSeed { family: "IPv6" })
}

/// Writes down whom outbound TCP is counted apart for. What does not fit was refused with the configuration.
pub(super) fn fill_mission_control(image: &mut PolicyImage, mission: &MissionControl) {
    image.mission_v4.fill(NO_MISSION_V4);
    image.mission_v6.fill(NO_MISSION_V6);
    image.mission_port_wire =
        if mission.addresses.is_empty() { NO_MISSION_PORT } else { u32::from(mission.port.swap_bytes()) };
    let (mut v4, mut v6) = (image.mission_v4.iter_mut(), image.mission_v6.iter_mut());
    for address in &mission.addresses {
        let source = source_of(*address);
        match address {
            IpAddr::V4(_) => v4.next().into_iter().for_each(|at| *at = source.lo as u32),
            IpAddr::V6(_) => v6.next().into_iter().for_each(|at| *at = [source.hi, source.lo]),
        }
    }
}

fn seeds() -> impl Iterator<Item = u64> {
    1..=MAX_SEEDS
}

/// Two odd multipliers for a seed (splitmix64), the same on every machine, so that equal policies give equal images.
fn multipliers(seed: u64) -> [u64; 2] {
    let mix = |n: u64| {
        let mut z = (seed * 2 + n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) | 1
    };
    [mix(0), mix(1)]
}

fn place<S>(slots: &mut [S], entries: Vec<S>, places: &[usize]) {
    for (entry, place) in entries.into_iter().zip(places) {
        if let Some(slot) = slots.get_mut(*place) {
            *slot = entry;
        }
    }
}

/// Sources of a family up to which a table has no pilots.
const MAX_WITHOUT_PILOTS: usize = 96;

/// How much of a table is used; both are powers of two.
#[derive(Clone, Copy)]
struct Size {
    buckets: usize,
    slots: usize,
}

impl Size {
    /// A quarter to half full, but for the largest.
    fn of(entries: usize) -> Self {
        if entries <= MAX_WITHOUT_PILOTS {
            // So many that one multiplier in some 50 lets no two meet.
            let slots = (entries * entries / 8).next_power_of_two().clamp(64, SLOTS);
            return Self { buckets: 1, slots };
        }
        let slots = (2 * entries).next_power_of_two().clamp(64, SLOTS);
        Self { buckets: slots / (SLOTS / BUCKETS), slots }
    }
}

/// Finds a pilot for every bucket, fullest first, so that no two hashes share a slot. Returns each hash's slot.
fn pilots(hashes: &[u64], size: Size, out: &mut [u16; BUCKETS]) -> Option<Vec<usize>> {
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); size.buckets];
    for (n, hash) in hashes.iter().enumerate() {
        members.get_mut(bucket(*hash) & (size.buckets - 1))?.push(n);
    }
    let mut order: Vec<usize> = (0..size.buckets).collect();
    order.sort_by_key(|b| std::cmp::Reverse(members.get(*b).map_or(0, Vec::len)));
    let mut used = vec![false; size.slots];
    let mut places = vec![0; hashes.len()];
    out.fill(0);
    let mut taken: Vec<usize> = Vec::new();
    for b in order {
        let members = members.get(b)?;
        if members.is_empty() {
            break;
        }
        // A single bucket is no bucket: its pilot is not asked for.
        let pilots = if size.buckets == 1 { 0..1 } else { 0..size.slots as u16 };
        let pilot = pilots.into_iter().find(|pilot| {
            taken.clear();
            members.iter().filter_map(|n| hashes.get(*n)).all(|hash| {
                let at = slot(*hash, *pilot) & (size.slots - 1);
                let free = !used.get(at).copied().unwrap_or(true) && !taken.contains(&at);
                taken.push(at);
                free
            })
        })?;
        *out.get_mut(b)? = pilot;
        for (n, at) in members.iter().zip(&taken) {
            *used.get_mut(*at)? = true;
            *places.get_mut(*n)? = *at;
        }
    }
    Some(places)
}

/// An address as the image's lookups want it: the wire's bytes read little-endian.
pub fn source_of(address: IpAddr) -> Address {
    match address {
        IpAddr::V4(a) => Address::v4(wire_v4(u128::from(u32::from(a)) << 96)),
        IpAddr::V6(a) => {
            let (hi, lo) = wire_v6(a.into());
            Address::v6(hi, lo)
        }
    }
}

#[cfg(test)]
mod tests;
