//! How many prefix lengths of an image are asked: all that it has, and never more than fit, whatever number it claims. In the kernel that bound is
//! what the verifier relies on, on the host what keeps a damaged image from ending the process.
#![cfg(test)]

use node_ebpf_common::{
    PolicyImage,
    address::Address,
    policy::{
        BUCKETS, LengthV4, LengthV6, MAX_LENGTHS_V4, MAX_LENGTHS_V6, SLOTS, SlotV4, SlotV6, bucket, hash_v4, hash_v6,
        index_v4, index_v6, slot, value,
    },
};
use zerocopy::FromZeros;

const FRAME: &[u8] = &[];
const GROUPS: u64 = value(1, 7);

/// Every length that fits is in use, from the longest downwards; only the shortest has a source. Returns the image and an address of that source.
fn full_v4() -> (Box<PolicyImage>, Address) {
    let mut image = PolicyImage::new_box_zeroed().unwrap();
    image.multiplier_v4 = 0x9e37_79b9_7f4a_7c15;
    (image.bucket_mask_v4, image.slot_mask_v4) = (BUCKETS as u32 - 1, SLOTS as u32 - 1);
    for (length, entry) in (0..=32).rev().zip(&mut image.length_v4) {
        *entry = LengthV4::new((u32::MAX << (32 - length)).swap_bytes(), length + 1);
    }
    let shortest = image.length_v4[MAX_LENGTHS_V4 - 1];
    let address = u32::from_le_bytes([10, 1, 2, 3]);
    let key = shortest.key(address);
    image.slots_v4[slot(hash_v4(image.multiplier_v4, key), 0)] = SlotV4 { key, value: GROUPS };
    (image, Address::v4(address))
}

fn full_v6() -> (Box<PolicyImage>, Address) {
    let mut image = PolicyImage::new_box_zeroed().unwrap();
    image.multiplier_v6 = [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9];
    (image.bucket_mask_v6, image.slot_mask_v6) = (BUCKETS as u32 - 1, SLOTS as u32 - 1);
    for (length, entry) in (1..=64_u64).rev().zip(&mut image.length_v6) {
        *entry =
            LengthV6 { mask_hi: (u64::MAX << (64 - length)).swap_bytes(), mask_lo: 0, length_plus_one: length + 1 };
    }
    let shortest = image.length_v6[MAX_LENGTHS_V6 - 1];
    let (address, length_plus_one) = (u64::from_le_bytes([0x20, 1, 0xd, 0xb8, 0, 9, 1, 2]), shortest.length_plus_one);
    let hi = address & shortest.mask_hi;
    let at = slot(hash_v6(image.multiplier_v6, hi, 0, length_plus_one), 0);
    image.slots_v6[at] = SlotV6 { hi, lo: 0, length_plus_one, value: GROUPS };
    (image, Address::v6(address, 5))
}

/// The first `n` places, four bits each, from the lowest on.
fn places(n: u32) -> u64 {
    (1..=u64::from(n)).rev().fold(0, |places, place| places << 4 | place & 15)
}

#[test]
fn every_length_that_is_possible_is_asked_and_a_claim_of_more_is_cut() {
    let (mut four, source_v4) = full_v4();
    let (mut six, source_v6) = full_v6();
    let (all_v4, all_v6) = (MAX_LENGTHS_V4 as u32, MAX_LENGTHS_V6 as u32);
    (four.lengths_v4, six.lengths_v6) = (all_v4, all_v6);
    (four.index_shift_v4, six.index_shift_v6) = (9, 31);
    for (possible_v4, possible_v6, found) in
        [(0, 0, 0), (1, 1, 0), (all_v4 - 1, all_v6 - 1, 0), (all_v4, all_v6, GROUPS)]
    {
        // What an address of another index can have is not asked.
        four.possible_v4.fill(0);
        four.possible_v4[index_v4(source_v4.lo as u32, four.index_shift_v4)] = places(possible_v4) as u32;
        six.possible_v6.fill(0);
        six.possible_v6[index_v6(source_v6.hi, six.index_shift_v6)] = places(possible_v6);
        assert_eq!(four.source(FRAME, source_v4), found, "{possible_v4} IPv4 lengths");
        assert_eq!(six.source(FRAME, source_v6), found, "{possible_v6} IPv6 lengths");
    }
    // The last one alone.
    four.possible_v4.fill(all_v4);
    six.possible_v6.fill(u64::from(all_v6));
    assert_eq!((four.source(FRAME, source_v4), six.source(FRAME, source_v6)), (GROUPS, GROUPS));
    // Places that there are not, in a damaged image: as many probes as lengths, and no panic.
    four.possible_v4.fill(u32::MAX);
    six.possible_v6.fill(u64::MAX);
    let _ = (four.source(FRAME, source_v4), six.source(FRAME, source_v6));
    // One length is asked without a look at what is possible.
    (four.lengths_v4, six.lengths_v6) = (1, 1);
    (four.length_v4[0], six.length_v6[0]) = (four.length_v4[MAX_LENGTHS_V4 - 1], six.length_v6[MAX_LENGTHS_V6 - 1]);
    four.possible_v4.fill(0);
    six.possible_v6.fill(0);
    assert_eq!((four.source(FRAME, source_v4), six.source(FRAME, source_v6)), (GROUPS, GROUPS));
}

/// A small table: the pilot is that of the key's own bucket, and the slot lies within what is in use.
#[test]
fn a_small_table_is_asked_within_its_bounds() {
    let (buckets, slots, pilot, other) = (16, 64, 5, 9);
    for n in 0..200_u32 {
        let (mut four, mut six) = (PolicyImage::new_box_zeroed().unwrap(), PolicyImage::new_box_zeroed().unwrap());
        (four.lengths_v4, four.multiplier_v4) = (1, 0x9e37_79b9_7f4a_7c15);
        (four.bucket_mask_v4, four.slot_mask_v4) = (buckets - 1, slots - 1);
        four.length_v4[0] = LengthV4::new(u32::MAX, 33);
        four.pilots_v4.fill(other);
        let address = (0x0a00_0000 + n).swap_bytes();
        let key = four.length_v4[0].key(address);
        let hash = hash_v4(four.multiplier_v4, key);
        four.pilots_v4[bucket(hash) % buckets as usize] = pilot;
        four.slots_v4[slot(hash, pilot) % slots as usize] = SlotV4 { key, value: GROUPS };
        assert_eq!(four.source(FRAME, Address::v4(address)), GROUPS, "IPv4 {n}");

        (six.lengths_v6, six.multiplier_v6) = (1, [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9]);
        (six.bucket_mask_v6, six.slot_mask_v6) = (buckets - 1, slots - 1);
        six.length_v6[0] = LengthV6 { mask_hi: u64::MAX, mask_lo: u64::MAX, length_plus_one: 129 };
        six.pilots_v6.fill(other);
        let (hi, lo) = (0xfd, u64::from(n).swap_bytes());
        let hash = hash_v6(six.multiplier_v6, hi, lo, 129);
        six.pilots_v6[bucket(hash) % buckets as usize] = pilot;
        six.slots_v6[slot(hash, pilot) % slots as usize] = SlotV6 { hi, lo, length_plus_one: 129, value: GROUPS };
        assert_eq!(six.source(FRAME, Address::v6(hi, lo)), GROUPS, "IPv6 {n}");
    }
}
