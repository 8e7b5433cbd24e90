//! The kernel's statics, made from the one list of maps, and the two ways the program uses them.

use aya_ebpf::{btf_maps, macros::btf_map};
use node_ebpf_common::{
    PolicyImage,
    counter::{CELLS_PER_ROW, Counter},
    images::STRIDE,
    maps::PER_CPU_ENTRIES,
    peer_traffic::SLOT_CELLS,
};

use crate::{add, frame::launder};

macro_rules! statics {
    ($($(#[$doc:meta])* $name:ident: $kind:ident<$value:ty>, $entries:expr, $flags:expr;)+) => {
        $(statics!(@one $(#[$doc])* $name, $kind, $value, $entries, $flags);)+
    };
    (@one $(#[$doc:meta])* $name:ident, DirectValue, $value:ty, $entries:expr, $flags:expr) => {
        unsafe extern "C" {
            // In no object: the loader makes the map and writes its value's address into the loads of this symbol.
            $(#[$doc])*
            static $name: $value;
        }
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

/// The policy in force. Before the loader wrote one, when nothing is attached yet, an image of zeros.
#[inline(always)]
pub fn image() -> &'static PolicyImage {
    // SAFETY: by the mask within the value, which is 8-aligned; every bit pattern is a valid image (FromBytes), and the loader writes an image only when
    // no program may read it.
    unsafe {
        let images = &raw const nw_policy;
        let offset = (&raw const (*images).in_force).read_volatile() as usize & STRIDE;
        &*(&raw const (*images).images).cast::<u8>().add(offset).cast::<PolicyImage>()
    }
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
pub fn count(cell: u32, bytes: u64) {
    // Hidden, so that the mask stays where LLVM knows the number and the verifiers of 5.10 and 6.1 do not.
    let cell = launder(u64::from(cell)) as u32;
    if let Some(cells) = nw_counters.get_ptr_mut(cell / CELLS_PER_ROW) {
        let place = launder(u64::from(cell)) as u32 % CELLS_PER_ROW;
        // SAFETY: the value is this CPU's own, and the place is within the row's cells.
        unsafe { add::count_frame(cells.cast::<Counter>().add(place as usize), bytes) };
    }
}
