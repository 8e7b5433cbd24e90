//! The kernel's statics, made from the one list of maps, and the two ways the program uses them.

use aya_ebpf::{btf_maps, macros::btf_map};
use node_ebpf_common::{
    PolicyImage,
    counter::{CELLS_PER_ROW, Counter},
    maps::{IMAGE_FLAGS, PER_CPU_ENTRIES},
    peer_traffic::SLOT_CELLS,
};

use crate::{add, frame::launder};

macro_rules! statics {
    ($($(#[$doc:meta])* $name:ident: $kind:ident<$value:ty>, $entries:expr, $flags:expr;)+) => {
        $(statics!(@one $(#[$doc])* $name, $kind, $value, $entries, $flags);)+
    };
    (@one $(#[$doc:meta])* $name:ident, ArrayOfMaps, $value:ty, $entries:expr, $flags:expr) => {
        $(#[$doc])*
        #[btf_map]
        #[allow(non_upper_case_globals)]
        pub static $name: btf_maps::ArrayOfMaps<btf_maps::Array<$value, 1, { IMAGE_FLAGS as usize }>, { $entries as usize }> =
            btf_maps::ArrayOfMaps::new();
    };
    (@one $(#[$doc:meta])* $name:ident, PerfEventArray, $value:ty, $entries:expr, $flags:expr) => {
        $(#[$doc])*
        #[btf_map]
        #[allow(non_upper_case_globals)]
        pub static $name: btf_maps::PerfEventArray<{ $flags as usize }> = btf_maps::PerfEventArray::new();
    };
    (@one $(#[$doc:meta])* $name:ident, $kind:ident, $value:ty, $entries:expr, $flags:expr) => {
        $(#[$doc])*
        #[btf_map]
        #[allow(non_upper_case_globals)]
        pub static $name: btf_maps::$kind<$value, { at_least_one($entries) }, { $flags as usize }> = btf_maps::$kind::new();
    };
}

/// A map with an entry for each CPU gets their number from the loader.
const fn at_least_one(entries: u32) -> usize {
    if entries == PER_CPU_ENTRIES { 1 } else { entries as usize }
}
node_ebpf_common::with_maps!(statics);

/// The policy in force. `None` only before the loader filled the slot, when nothing is attached yet.
#[inline(always)]
pub fn image() -> Option<&'static PolicyImage> {
    let words = nw_policy.get_value(0, &0)?;
    // SAFETY: the inner value is `size_of::<PolicyImage>()` bytes, 8-aligned, read-only for programs, and every bit pattern is a
    // valid image (FromBytes); the kernel keeps the inner map alive until all programs that may hold it have ended.
    Some(unsafe { &*core::ptr::from_ref(words).cast::<PolicyImage>() })
}

/// The captures' map, as the helper that writes into it wants it.
#[inline(always)]
pub fn captures() -> *mut core::ffi::c_void {
    core::ptr::from_ref(&nw_captures).cast_mut().cast()
}

/// Adds to this CPU's part of an outbound cell.
#[inline(always)]
pub fn count_outbound(cell: u32, packets: u64, bytes: u64) {
    if let Some(counter) = nw_outbound.get_ptr_mut(cell) {
        // SAFETY: the slot is this CPU's own.
        unsafe { add::count(counter, packets, bytes) };
    }
}

/// Adds to this CPU's part of a cell of the peer matrix. The two directions never share a cell.
#[inline(always)]
pub fn count_peer(cell: u32, packets: u64, bytes: u64) {
    if let Some(cells) = nw_peer_traffic.get_ptr_mut(cell / SLOT_CELLS) {
        // SAFETY: the slot is this CPU's own, and the place is within its cells.
        unsafe { add::count(cells.cast::<Counter>().add((cell % SLOT_CELLS) as usize), packets, bytes) };
    }
}

/// Adds one frame to this CPU's part of a cell.
#[inline(always)]
pub fn count(value: u32, cell: u32, bytes: u64) {
    if let Some(cells) = nw_counters.get_ptr_mut(value) {
        // Hidden, so that the mask stays where LLVM knows the number and the verifiers of 5.10 and 6.1 do not.
        let cell = launder(u64::from(cell)) as u32 % CELLS_PER_ROW;
        // SAFETY: the value is this CPU's own, and the place is within the row's cells.
        unsafe { add::count_frame(cells.cast::<Counter>().add(cell as usize), bytes) };
    }
}
