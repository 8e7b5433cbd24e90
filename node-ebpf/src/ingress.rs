//! The filter's tc ingress entries, for interfaces whose driver has no XDP and for devices without an Ethernet header: the same verdict, counters and
//! evidence as XDP's. What passes is left to whatever program comes next.
//!
//! The kernel's stack has been here before: a VLAN tag lies beside the buffer, and frames of one stream may have become an aggregate. Both count as they
//! were on the wire.

use core::mem::offset_of;

use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_CURRENT_CPU, TC_ACT_SHOT, TC_ACT_UNSPEC},
    cty::c_long,
    helpers::generated::bpf_perf_event_output,
    macros::classifier,
    programs::TcContext,
};
use node_ebpf_common::{
    Frame, PolicyImage, aggregate,
    capture::{BESIDE, Beside},
    counter::Counter,
    flow::FlowEntry,
    wire::VLAN_TAG_BYTES,
};

use crate::{
    act::filter,
    add::{self, Amount},
    arrival::Arrival,
    evidence::CONTEXT_LENGTH_MASK,
    frame::{Buffer, Fetched, anew, launder},
    maps,
};

/// Filters frames that begin with an Ethernet header.
#[classifier]
#[inline(always)]
pub fn nodewall_ingress(context: TcContext) -> i32 {
    filter(|image| Received::new(&context, image, Buffer::new)).cast_signed()
}

/// Filters packets of devices without a link-layer header: tun, `WireGuard`, IP tunnels, PPP.
#[classifier]
#[inline(always)]
pub fn nodewall_packets(context: TcContext) -> i32 {
    filter(|image| Received::new(&context, image, Fetched::<true>::new)).cast_signed()
}

/// A frame, or an aggregate of frames, as the stack has it.
#[derive(Clone, Copy)]
struct Received<R> {
    skb: *mut __sk_buff,
    /// The way to read it.
    read: R,
    /// Frames on the wire.
    frames: u64,
    /// What their bytes were beyond those of the buffer: tags, and all headers but the first.
    more_bytes: u64,
}

impl<F: Frame, R: Fn(&TcContext) -> F + Copy> Received<R> {
    #[inline(always)]
    fn new(context: &TcContext, image: &PolicyImage, read: R) -> Self {
        let skb = context.skb.skb;
        // SAFETY: the context is this program's own; the verifier turns each field into a load.
        let (tagged, pieces, piece_bytes) = unsafe { ((*skb).vlan_present, (*skb).gso_segs, (*skb).gso_size) };
        let tag_bytes = if tagged == 0 { 0 } else { VLAN_TAG_BYTES as u64 };
        let (mut frames, mut more_bytes) = (1, tag_bytes);
        if piece_bytes != 0 {
            let headers = aggregate::headers(&read(context), image.zero) as u64;
            let pieces =
                aggregate::Pieces::new(u64::from(pieces), u64::from(piece_bytes), u64::from(context.len()), headers);
            frames = pieces.frames;
            more_bytes = frames * tag_bytes + pieces.more_bytes();
        }
        // So that the verifier follows what comes once, not for aggregates by themselves.
        Self { skb, read, frames: launder(frames ^ image.zero), more_bytes: launder(more_bytes ^ image.zero) }
    }
}

/// What goes before a captured frame. Words, for an entry is aligned to more than the stack.
#[repr(C)]
struct Record {
    entry: EntryWords,
    beside: u64,
}
type EntryWords = [u64; size_of::<FlowEntry>() / 8];
const BOOT_NS: usize = offset_of!(FlowEntry, first.boot_ns) / 8;

impl<F: Frame, R: Fn(&TcContext) -> F + Copy> Received<R> {
    #[inline(always)]
    fn beside(self) -> Beside {
        // SAFETY: as above.
        let (tagged, kind, control) =
            unsafe { ((*self.skb).vlan_present, (*self.skb).vlan_proto, (*self.skb).vlan_tci) };
        let beside = self.frame().protocol().map_or(Beside(0), |protocol| Beside(0).with_protocol(protocol));
        if tagged == 0 { beside } else { beside.with_tag(kind as u16, control as u16) }
    }
}

impl<R: Copy> Amount for Received<R> {
    #[inline(always)]
    unsafe fn count(self, counter: *mut Counter, bytes: u64) {
        // SAFETY: the caller's.
        unsafe { add::count(counter, self.frames, bytes + self.more_bytes) };
    }
}

impl<F: Frame, R: Fn(&TcContext) -> F + Copy> Arrival for Received<R> {
    type Frame = F;

    #[inline(always)]
    fn frame(self) -> F {
        (self.read)(&TcContext::new(self.skb))
    }

    #[inline(always)]
    fn anew(self) -> Self {
        Self { skb: anew(self.skb), ..self }
    }

    #[inline(always)]
    fn interface(self) -> u32 {
        // SAFETY: as above.
        unsafe { (*self.skb).ifindex }
    }

    #[inline(always)]
    fn bytes_before(self) -> u64 {
        self.beside().bytes()
    }

    #[inline(always)]
    fn amount(self, bytes: u64) -> (u64, u64) {
        (self.frames, bytes + self.more_bytes)
    }

    #[inline(always)]
    unsafe fn capture(self, entry: *const FlowEntry, length_bytes: u64) -> c_long {
        let flags = BPF_F_CURRENT_CPU | (length_bytes & CONTEXT_LENGTH_MASK) << 32;
        // SAFETY: the entry is the caller's.
        let mut record = unsafe { Record { entry: entry.cast::<EntryWords>().read(), beside: self.beside().0 } };
        if let Some(boot_ns) = record.entry.get_mut(BOOT_NS) {
            *boot_ns |= BESIDE;
        }
        let (data, size) = (core::ptr::from_mut(&mut record).cast(), size_of::<Record>() as u64);
        // SAFETY: the helper reads the record and the frame, and fails where the frame is shorter.
        unsafe { bpf_perf_event_output(self.skb.cast(), maps::captures(), flags, data, size) }
    }

    /// The next program, or none.
    #[inline(always)]
    fn answer(dropped: u32) -> u32 {
        TC_ACT_UNSPEC.cast_unsigned().wrapping_add(dropped * 3)
    }
}
const _: () = assert!(TC_ACT_UNSPEC + 3 == TC_ACT_SHOT);
