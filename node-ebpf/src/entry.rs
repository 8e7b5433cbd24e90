//! The XDP entries. `nodewall` filters frames of one buffer, `nodewall_frags` also multi-buffer (jumbo) frames, where the driver and
//! the kernel (5.18) can. The two `probe` entries run the same decision over the same bytes and return it instead of acting:
//! `replay --engine kernel` and the kernel tests read the reason from them.

use aya_ebpf::{
    Global,
    bindings::xdp_action::{XDP_ABORTED, XDP_PASS},
    macros::xdp,
    programs::XdpContext,
};
use aya_log_ebpf::info;
use node_ebpf_common::{
    Decision, Frame, PolicyImage, decide,
    packet::{self, Packet},
    policy::{Source, TABLE_TCP},
};

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
    act(&context, &frame, image, decision)
}

/// Filters frames of any size.
#[xdp(frags)]
pub fn nodewall_frags(context: XdpContext) -> u32 {
    let Some(image) = maps::image() else { return XDP_ABORTED };
    let frame = Frags::new(&context);
    let decision = decide(&frame, image);
    act(&context, &frame, image, decision)
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
fn act(context: &XdpContext, frame: &impl Frame, image: &PolicyImage, decision: Decision) -> u32 {
    maps::count(decision.cell(image), u64::from(decision.bytes));
    if KERNEL_LOG.load() != 0 {
        log(context, frame, image, decision);
    }
    // XDP_DROP is XDP_PASS - 1: the verdict needs no branch.
    XDP_PASS - (decision.drop_bit() & image.enforce & 1)
}

/// Walks the headers once more: only a program that was loaded with the log on pays for it. The loader turns the trailing number into
/// the reason's name.
#[inline(always)]
fn log(context: &XdpContext, frame: &impl Frame, image: &PolicyImage, decision: Decision) {
    let verdict = if decision.drop_bit() == 0 { "pass" } else { "drop" };
    let (source, protocol, port) = match packet::parse(frame, image.zero) {
        Packet::Port { source, table, port_wire, .. } => {
            (source, if table == TABLE_TCP { "tcp" } else { "udp" }, (port_wire as u16).swap_bytes())
        }
        Packet::Tunnel { source, .. } => (source, "tunnel", 0),
        Packet::Portless { .. } => {
            info!(context, "{} {} bytes, reason {}", verdict, decision.bytes, decision.reason);
            return;
        }
    };
    match source {
        Source::V4(wire) => info!(
            context,
            "{} {:i} -> {}/{}, {} bytes, reason {}",
            verdict,
            u32::from_be(wire),
            protocol,
            port,
            decision.bytes,
            decision.reason
        ),
        Source::V6(hi, lo) => {
            let wire = u128::from(hi) | u128::from(lo) << 64;
            info!(
                context,
                "{} {:i} -> {}/{}, {} bytes, reason {}",
                verdict,
                wire.to_le_bytes(),
                protocol,
                port,
                decision.bytes,
                decision.reason
            );
        }
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
