//! How the two policy images lie in one map value, at an address that the program knows: one is in force, the other is written next. Userspace swaps
//! them; the program only reads.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::policy::PolicyImage;

/// Every part begins at a multiple of it, bytes: the largest page of any machine, so that userspace can map each by itself.
pub const PART_BYTES: usize = 65_536;
/// From one image to the next, bytes.
pub const STRIDE: usize = size_of::<PolicyImage>().next_multiple_of(PART_BYTES);

/// The value of `nw_policy`. A swap writes the image that is not in force, stores [`Self::in_force`], waits until no program runs any more that may have
/// read it before, and stores [`Self::settled`].
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Images {
    /// Where the image in force begins in [`Self::images`], bytes: 0 or [`STRIDE`].
    pub in_force: u64,
    /// What `in_force` was when the last swap came to its end. While they differ, a program may still read the other image.
    pub settled: u64,
    /// The rest of the first part.
    pub reserved: [u64; PART_BYTES / 8 - 2],
    /// The two images, each a [`PolicyImage`] and zeros up to [`STRIDE`].
    pub images: [[u64; STRIDE / 8]; 2],
}

// Linux 5.10 makes no array whose value is larger.
const _: () = assert!(size_of::<Images>() <= 4 << 20);
