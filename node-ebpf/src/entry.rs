//! The XDP entries. `nodewall` filters frames of one buffer, `nodewall_frags` also multi-buffer (jumbo) frames, where the driver and
//! the kernel (5.18) can. The two `probe` entries run the same decision over the same bytes and return it instead of acting:
//! `replay --engine kernel` and the kernel tests read the reason from them.

use aya_ebpf::{
    bindings::xdp_action::{XDP_ABORTED, XDP_PASS},
    macros::xdp,
    programs::XdpContext,
};
use aya_log_ebpf::info;
use node_ebpf_common::{
    Decision, Frame, decide,
    decide::judge,
    packet::{About, Packet},
};

use crate::{
    frame::{Frags, Linear},
    maps,
};

/// Filters frames that lie in one buffer.
#[xdp]
pub fn nodewall(context: XdpContext) -> u32 {
    filter::<_, false>(&context, &Linear::new(&context))
}

/// Filters frames of any size.
#[xdp(frags)]
pub fn nodewall_frags(context: XdpContext) -> u32 {
    filter::<_, false>(&context, &Frags::new(&context))
}

/// As `nodewall`, with a log line for every frame (`--kernel-log`). A program of its own, so that the others carry no trace of it.
#[xdp]
pub fn nodewall_log(context: XdpContext) -> u32 {
    filter::<_, true>(&context, &Linear::new(&context))
}

/// As `nodewall_frags`, with a log line for every frame.
#[xdp(frags)]
pub fn nodewall_log_f(context: XdpContext) -> u32 {
    filter::<_, true>(&context, &Frags::new(&context))
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
fn filter<F: Frame, const LOG: bool>(context: &XdpContext, frame: &F) -> u32 {
    let Some(image) = maps::image() else { return XDP_ABORTED };
    let (packet, decision) = judge(frame, image);
    maps::count(decision.cell(image), u64::from(decision.bytes));
    if LOG {
        log(context, packet, decision);
    }
    // XDP_DROP is XDP_PASS - 1: the verdict needs no branch.
    XDP_PASS - (decision.drop_bit() & image.enforce & 1)
}

/// One line for a frame. The loader turns the trailing number into the reason's name.
#[inline(always)]
fn log(context: &XdpContext, packet: Packet, decision: Decision) {
    let verdict = if decision.drop_bit() == 0 { "pass" } else { "drop" };
    let protocol = match packet.about {
        About::Tcp => "tcp",
        About::Udp => "udp",
        About::Tunnel => "tunnel",
        About::LaterFragment => "fragment",
        About::Portless => {
            info!(context, "{} {} bytes, reason {}", verdict, decision.bytes, decision.reason);
            return;
        }
    };
    let (port, source) = ((packet.port_wire as u16).swap_bytes(), packet.source);
    if source.is_v6 == 0 {
        let address = (source.lo as u32).swap_bytes();
        info!(
            context,
            "{} {:i} -> {}/{}, {} bytes, reason {}", verdict, address, protocol, port, decision.bytes, decision.reason
        );
    } else {
        let address = (u128::from(source.hi) | u128::from(source.lo) << 64).to_le_bytes();
        info!(
            context,
            "{} {:i} -> {}/{}, {} bytes, reason {}", verdict, address, protocol, port, decision.bytes, decision.reason
        );
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
