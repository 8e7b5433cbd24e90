//! The XDP entries: `nodewall` filters frames of one buffer, `nodewall_frags` also multi-buffer (jumbo) frames, where the driver and the kernel (5.18)
//! can. Which instructions they have is the shape's.

use aya_ebpf::{
    EbpfContext as _,
    bindings::{BPF_F_CURRENT_CPU, xdp_action::XDP_PASS, xdp_md},
    cty::c_long,
    helpers::generated::bpf_perf_event_output,
    macros::xdp,
    programs::XdpContext,
};
use node_ebpf_common::{Frame, counter::Counter, flow::FlowEntry};

use crate::{
    act::filter,
    add::{Amount, One},
    arrival::Arrival,
    evidence::CONTEXT_LENGTH_MASK,
    frame::{Frags, Linear, anew},
    maps,
};

/// Filters frames that lie in one buffer.
#[xdp]
#[inline(always)]
pub fn nodewall(context: XdpContext) -> u32 {
    filter(|_| Xdp { context: context.ctx, read: Linear::new })
}

/// Filters frames of any size.
#[xdp(frags)]
#[inline(always)]
pub fn nodewall_frags(context: XdpContext) -> u32 {
    filter(|_| Xdp { context: context.ctx, read: Frags::new })
}

/// A frame as the driver has it.
#[derive(Clone, Copy)]
struct Xdp<R> {
    context: *mut xdp_md,
    /// The way to read it.
    read: R,
}

impl<R: Copy> Amount for Xdp<R> {
    #[inline(always)]
    unsafe fn count(self, counter: *mut Counter, bytes: u64) {
        // SAFETY: the caller's.
        unsafe { One.count(counter, bytes) };
    }
}

impl<F: Frame, R: Fn(&XdpContext) -> F + Copy> Arrival for Xdp<R> {
    type Frame = F;

    #[inline(always)]
    fn frame(self) -> F {
        (self.read)(&XdpContext::new(self.context))
    }

    #[inline(always)]
    fn anew(self) -> Self {
        Self { context: anew(self.context), read: self.read }
    }

    #[inline(always)]
    fn interface(self) -> u32 {
        XdpContext::new(self.context).ingress_ifindex() as u32
    }

    #[inline(always)]
    fn bytes_before(self) -> u64 {
        0
    }

    #[inline(always)]
    fn amount(self, bytes: u64) -> (u64, u64) {
        (1, bytes)
    }

    #[inline(always)]
    unsafe fn capture(self, entry: *const FlowEntry, length_bytes: u64) -> c_long {
        let flags = BPF_F_CURRENT_CPU | (length_bytes & CONTEXT_LENGTH_MASK) << 32;
        let context = XdpContext::new(self.context);
        let (entry, size) = (entry.cast_mut().cast(), size_of::<FlowEntry>() as u64);
        // SAFETY: the entry is the caller's; the helper reads it and the frame, and fails where the frame is shorter.
        unsafe { bpf_perf_event_output(context.as_ptr(), maps::captures(), flags, entry, size) }
    }

    /// `XDP_DROP` is `XDP_PASS` - 1: it needs no branch.
    #[inline(always)]
    fn answer(dropped: u32) -> u32 {
        XDP_PASS - dropped
    }
}

const _: () = assert!(aya_ebpf::bindings::xdp_action::XDP_DROP + 1 == XDP_PASS);

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The kernel reads the licence from here: GPL-only helpers are allowed.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
