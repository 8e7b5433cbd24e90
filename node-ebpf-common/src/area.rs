//! Where a CPU counts and notes: all that the programs write, in one value for each CPU, so that a frame finds its place once. What the parts mean is known by
//! `counter`, `peer_traffic`, `outbound` and `flow`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{
    counter::{Counter, ROWS, RowCells},
    flow::Bank,
    outbound,
    peer_traffic::{SLOTS, SlotCells},
};

/// The area of one CPU: the value of `nw_counters` at its number. What is used most is nearest to the beginning.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(64))]
pub struct CpuArea {
    /// Where the bank in use begins in [`Self::banks`], bytes: 0 or [`BANK_BYTES`]. This line is written by userspace alone.
    pub bank: u64,
    /// Captures granted since the area was made.
    pub granted: u64,
    /// How much of a frame is captured, bytes.
    pub snap_bytes: u64,
    /// Keeps the kernel's words on a line of their own.
    pub reserved: [u64; 5],
    /// Captures made of what was granted.
    pub spent: u64,
    /// Lets the counters begin with a cache line.
    pub reserved_kernel: [u64; 7],
    /// Every inbound counter, see [`crate::counter`].
    pub counters: [RowCells; ROWS as usize],
    /// The peer matrix, see [`crate::peer_traffic`].
    pub peers: [SlotCells; SLOTS as usize],
    /// Every outbound counter, see [`crate::outbound`].
    pub outbound: [Counter; outbound::CELLS as usize],
    /// The denied flows, see [`crate::flow`].
    pub banks: [Bank; 2],
}

/// From one bank to the next.
pub const BANK_BYTES: usize = size_of::<Bank>();

// What the packaged policy costs for each CPU.
const _: () = assert!(size_of::<CpuArea>() <= 12 * (1 << 20) / 10);
