//! Mixed traffic for test runs, which repeat one frame: writes the next of 65,536 sources and ports into the frame, then jumps into the measured
//! program. The measured program is the very one that is loaded otherwise, and what the prologue and the jump cost, the bare program pays, too.
//! The only place where packets are written.

use aya_ebpf::{
    bindings::xdp_action::XDP_ABORTED,
    btf_maps::{Array, ProgramArray},
    macros::{btf_map, xdp},
    programs::XdpContext,
};

/// Words before the entries: which entry is next, and the frame's shape (one of the constants below).
const HEAD_WORDS: usize = 8;
/// Entries, each the last four bytes of a source address (low half) and the four of both ports (high half), as they lie on the wire.
const ENTRIES: usize = 65_536;
/// IPv4 in Ethernet.
const V4: u64 = 0;
/// IPv6 in Ethernet.
const V6: u64 = 1;
/// IPv4 behind one VLAN tag.
const TAGGED_V4: u64 = 2;

#[btf_map]
static mix_table: Array<[u64; HEAD_WORDS + ENTRIES], 1> = Array::new();
/// The measured program. One array for each kind of buffers: the kernel lets no program jump into one of the other kind.
#[btf_map]
static mix_next: ProgramArray<1> = ProgramArray::new();
#[btf_map]
static mix_next_frags: ProgramArray<1> = ProgramArray::new();

#[xdp]
pub fn mix(context: XdpContext) -> u32 {
    rewrite(&context);
    // SAFETY: the context is this program's own.
    unsafe { mix_next.tail_call(&context, 0) };
    XDP_ABORTED
}

#[xdp(frags)]
pub fn mix_frags(context: XdpContext) -> u32 {
    rewrite(&context);
    // SAFETY: as above.
    unsafe { mix_next_frags.tail_call(&context, 0) };
    XDP_ABORTED
}

#[inline(always)]
#[expect(clippy::indexing_slicing, reason = "masked to the number of entries")]
fn rewrite(context: &XdpContext) {
    let Some(table) = mix_table.get_ptr_mut(0) else { return };
    // SAFETY: the map's one value; the bench runs on one CPU, and another one would only mix differently.
    let (shape, entry) = unsafe {
        let next = (*table)[0];
        (*table)[0] = next + 1;
        ((*table)[1], (*table)[HEAD_WORDS + (next as usize & (ENTRIES - 1))])
    };
    match shape {
        V4 => put::<u32, { 14 + 12 }, { 14 + 20 }>(context, entry as u32, entry),
        V6 => put::<u64, { 14 + 8 + 8 }, { 14 + 40 }>(context, entry << 32, entry),
        TAGGED_V4 => put::<u32, { 18 + 12 }, { 18 + 20 }>(context, entry as u32, entry),
        _ => {}
    }
}

/// Writes an entry into the frame: the address (of IPv6: its last eight bytes, half of them 0), and the ports. Each by one store that is as wide as
/// any load of it: a load that is wider than the store before it waits until the store has left the core, which no real packet's load does.
#[inline(always)]
fn put<T, const ADDRESS: usize, const PORTS: usize>(context: &XdpContext, address: T, entry: u64) {
    let start = context.data();
    if start + PORTS + size_of::<u32>() > context.data_end() {
        return;
    }
    // SAFETY: both lie within the packet by the check above, which the verifier repeats (the address is before the ports).
    unsafe {
        core::ptr::write_unaligned((start + ADDRESS) as *mut T, address);
        core::ptr::write_unaligned((start + PORTS) as *mut u32, (entry >> 32) as u32);
    }
}
