//! The kernel's statics, made from the one list of maps, and the two ways the program uses them.

use core::mem::offset_of;

use aya_ebpf::{btf_maps, helpers::generated::bpf_get_smp_processor_id, macros::btf_map};
use node_ebpf_common::{
    PolicyImage,
    area::CpuArea,
    counter::{CELLS, Counter},
    images::STRIDE,
    maps::PER_CPU_ENTRIES,
    outbound, peer_traffic,
};

use crate::{
    add::{self, Amount},
    frame::launder,
};

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
        &*(&raw const (*images).images).byte_add(offset).cast::<PolicyImage>()
    }
}

/// The captures' map, as the helper that writes into it wants it.
#[inline(always)]
pub fn captures() -> *mut core::ffi::c_void {
    core::ptr::from_ref(&nw_captures).cast_mut().cast()
}

/// What this CPU counts and notes; there is one for each.
#[inline(always)]
pub fn area() -> Option<Area> {
    // SAFETY: no more than a number is read.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    nw_counters.get_ptr_mut(cpu as u32).map(Area)
}

/// This CPU's area. XDP programs do not preempt one another on a CPU, or `add` changes what they share.
#[derive(Clone, Copy)]
pub struct Area(pub *mut CpuArea);

impl Area {
    /// Adds to a counter cell.
    #[inline(always)]
    pub fn count<A: Amount>(self, amount: A, cell: u32, bytes: u64) {
        // Hidden, so that the mask stays where LLVM knows the number and the verifiers of 5.10 and 6.1 do not.
        let cell = launder(u64::from(cell)) as usize % CELLS as usize;
        // SAFETY: this CPU's own, and within the counters.
        unsafe { amount.count((&raw mut (*self.0).counters).cast::<Counter>().add(cell), bytes) };
    }

    /// Adds to an outbound cell.
    #[inline(always)]
    pub fn count_outbound(self, cell: u32, packets: u64, bytes: u64) {
        let cell = launder(u64::from(cell)) as usize % outbound::CELLS as usize;
        // SAFETY: this CPU's own, and within the outbound cells.
        unsafe { add::count((&raw mut (*self.0).outbound).cast::<Counter>().add(cell), packets, bytes) };
    }

    /// Adds to a cell of the peer matrix. The two directions never share a cell.
    #[inline(always)]
    pub fn count_peer(self, cell: u32, packets: u64, bytes: u64) {
        // A power of two above the matrix, which its end in the area is behind of: what the verifier needs. The cell itself is always within.
        let cell = launder(u64::from(cell)) as usize % peer_traffic::CELLS.next_power_of_two() as usize;
        // SAFETY: this CPU's own, and within the matrix.
        unsafe { add::count((&raw mut (*self.0).peers).cast::<Counter>().add(cell), packets, bytes) };
    }
}

const _: () = assert!(
    offset_of!(CpuArea, peers) + peer_traffic::CELLS.next_power_of_two() as usize * size_of::<Counter>()
        <= size_of::<CpuArea>()
);
