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
    Decision, Frame, decide, decide::judge, packet::PacketKind, peer_traffic, query::Query, reason::DROP_BIT,
};

use crate::{
    evidence,
    frame::{Frags, Linear},
    maps,
};

/// Filters frames that lie in one buffer.
#[xdp]
pub fn nodewall(context: XdpContext) -> u32 {
    filter::<_, false, false, false>(&context, Linear::new)
}

/// Filters frames of any size.
#[xdp(frags)]
pub fn nodewall_frags(context: XdpContext) -> u32 {
    filter::<_, false, false, false>(&context, Frags::new)
}

/// As `nodewall`, and notes who is denied. A program of its own, so that the other carries no trace of it.
#[xdp]
pub fn nodewall_ev(context: XdpContext) -> u32 {
    filter::<_, true, false, false>(&context, Linear::new)
}

/// As `nodewall_frags`, and notes who is denied.
#[xdp(frags)]
pub fn nodewall_ev_f(context: XdpContext) -> u32 {
    filter::<_, true, false, false>(&context, Frags::new)
}

/// As `nodewall_ev`, and counts for each peer. A program of its own, so that the other carries no trace of it.
#[xdp]
pub fn nodewall_peers(context: XdpContext) -> u32 {
    filter::<_, true, true, false>(&context, Linear::new)
}

/// As `nodewall_ev_f`, and counts for each peer.
#[xdp(frags)]
pub fn nodewall_peer_f(context: XdpContext) -> u32 {
    filter::<_, true, true, false>(&context, Frags::new)
}

/// As `nodewall_peers`, with a log line for every frame (`--kernel-log`). A program of its own, so that the others carry no trace of it.
#[xdp]
pub fn nodewall_log(context: XdpContext) -> u32 {
    filter::<_, true, true, true>(&context, Linear::new)
}

/// As `nodewall_peer_f`, with a log line for every frame.
#[xdp(frags)]
pub fn nodewall_log_f(context: XdpContext) -> u32 {
    filter::<_, true, true, true>(&context, Frags::new)
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
fn filter<F: Frame, const EVIDENCE: bool, const PEERS: bool, const LOG: bool>(
    context: &XdpContext,
    read: impl Fn(&XdpContext) -> F,
) -> u32 {
    let Some(image) = maps::image() else { return XDP_ABORTED };
    let frame = &read(context);
    let (query, decision) = judge(frame, image);
    maps::count(decision.place(image), u64::from(decision.bytes));
    // The bit of a denial, where it is to be noted.
    if EVIDENCE && decision.reason & u32::from(image.evidence) != 0 {
        evidence::record(context, read, frame, image, &query, &decision);
        if !LOG {
            return XDP_PASS - (u32::from(image.enforce) & 1);
        }
    }
    if LOG {
        log(context, frame, image.zero, &query, decision);
    }
    if PEERS
        && image.per_peer != 0
        && let Some(cell) = peer_traffic::inbound(&decision)
    {
        maps::count_peer(cell, 1, u64::from(decision.bytes));
    }
    // XDP_DROP is XDP_PASS - 1: the verdict needs no branch.
    XDP_PASS - (decision.drop_bit() & u32::from(image.enforce) & 1)
}

/// One line for a frame. The loader turns the trailing number into the reason's name.
#[inline(always)]
fn log<F: Frame>(context: &XdpContext, frame: &F, zero: u64, query: &Query, decision: Decision) {
    const TCP: u32 = PacketKind::Tcp as u32;
    const UDP: u32 = PacketKind::Udp as u32;
    const TUNNEL: u32 = PacketKind::Tunnel as u32;
    const FRAGMENT: u32 = PacketKind::LaterFragment as u32;
    let (reason, bytes) = (unknown(frame, zero, decision.reason), unknown(frame, zero, decision.bytes));
    let verdict = if reason & DROP_BIT == 0 { "pass" } else { "drop" };
    let protocol = match unknown(frame, zero, query.kind()) {
        TCP => "tcp",
        UDP => "udp",
        TUNNEL => "tunnel",
        FRAGMENT => "fragment",
        _ => {
            info!(context, "{} {} bytes, reason {}", verdict, bytes, reason);
            return;
        }
    };
    let port = (unknown(frame, zero, query.port_wire()) as u16).swap_bytes();
    let (hi, lo) = (frame.opaque(query.hi ^ zero), frame.opaque(query.lo ^ zero));
    if unknown(frame, zero, query.source().is_v6) == 0 {
        let address = (lo as u32).swap_bytes();
        info!(context, "{} {:i} -> {}/{}, {} bytes, reason {}", verdict, address, protocol, port, bytes, reason);
    } else {
        let address = (u128::from(hi) | u128::from(lo) << 64).to_le_bytes();
        info!(context, "{} {:i} -> {}/{}, {} bytes, reason {}", verdict, address, protocol, port, bytes, reason);
    }
}

/// Gives `value` back, of which the verifier knows nothing then (`zero` is 0, which it can not know). What a log line takes is a hundred times as long
/// as the decision, and would be verified anew for each way to a decision: too much for Linux 7.3.
#[inline(always)]
fn unknown<F: Frame>(frame: &F, zero: u64, value: u32) -> u32 {
    frame.opaque(u64::from(value) ^ zero) as u32
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
