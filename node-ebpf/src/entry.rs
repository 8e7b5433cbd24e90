//! The XDP entries. `nodewall` filters frames of one buffer, `nodewall_frags` also multi-buffer (jumbo) frames, where the driver and
//! the kernel (5.18) can. The two `probe` entries run the same decision over the same bytes and return it instead of acting:
//! `replay --engine kernel` and the kernel tests read the reason from them.

use aya_ebpf::{
    Global,
    bindings::xdp_action::{XDP_ABORTED, XDP_PASS},
    macros::xdp,
    programs::XdpContext,
};
use node_ebpf_common::{Decision, PolicyImage, decide};

use crate::{
    frame::{Frags, Linear},
    maps,
};

/// Set by the loader before the program is loaded; 0 lets the verifier remove every log call.
#[unsafe(no_mangle)]
static KERNEL_LOG: Global<u8> = Global::new(0);

/// Filters frames that lie in one buffer.
#[xdp]
pub fn nodewall(context: XdpContext) -> u32 {
    let Some(image) = maps::image() else { return XDP_ABORTED };
    let frame = Linear::new(&context);
    let decision = decide(&frame, image);
    act(&context, image, decision)
}

/// Filters frames of any size.
#[xdp(frags)]
pub fn nodewall_frags(context: XdpContext) -> u32 {
    let Some(image) = maps::image() else { return XDP_ABORTED };
    let frame = Frags::new(&context);
    let decision = decide(&frame, image);
    act(&context, image, decision)
}

/// Answers with the decision, packed by [`Decision::pack`].
#[xdp]
pub fn nodewall_probe(context: XdpContext) -> u32 {
    let Some(image) = maps::image() else { return u32::MAX };
    decide(&Linear::new(&context), image).pack()
}

/// As `nodewall_probe`, for frames of any size.
#[xdp(frags)]
pub fn nodewall_probe_f(context: XdpContext) -> u32 {
    let Some(image) = maps::image() else { return u32::MAX };
    decide(&Frags::new(&context), image).pack()
}

#[inline(always)]
fn act(context: &XdpContext, image: &PolicyImage, decision: Decision) -> u32 {
    maps::count(decision.cell(image), u64::from(decision.bytes));
    if KERNEL_LOG.load() != 0 {
        log(context, decision);
    }
    // XDP_DROP is XDP_PASS - 1: the verdict needs no branch.
    XDP_PASS - (decision.drop_bit() & image.enforce & 1)
}

#[inline(always)]
fn log(context: &XdpContext, decision: Decision) {
    aya_log_ebpf::info!(
        context,
        "drop={} reason={} row={} peer={} bytes={}",
        decision.drop_bit(),
        decision.reason,
        decision.row,
        decision.peer,
        decision.bytes
    );
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
