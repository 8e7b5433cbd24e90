//! The XDP entries: `nodewall` filters frames of one buffer, `nodewall_frags` also multi-buffer (jumbo) frames, where the driver and the kernel (5.18)
//! can. Which instructions they have is the shape's.

use aya_ebpf::{bindings::xdp_action::XDP_PASS, macros::xdp, programs::XdpContext};
use aya_log_ebpf::info;
use node_ebpf_common::{
    Decision, Frame, PolicyImage,
    decide::{Settle, judge},
    packet::PacketKind,
    peer_traffic,
    query::Query,
};

use crate::{
    evidence,
    frame::{Frags, Linear},
    maps,
    settings::setting,
};

/// Filters frames that lie in one buffer.
#[xdp]
#[inline(always)]
pub fn nodewall(context: XdpContext) -> u32 {
    filter(&context, Linear::new)
}

/// Filters frames of any size.
#[xdp(frags)]
#[inline(always)]
pub fn nodewall_frags(context: XdpContext) -> u32 {
    filter(&context, Frags::new)
}

#[inline(always)]
fn filter<F: Frame>(context: &XdpContext, read: impl Fn(&XdpContext) -> F + Copy) -> u32 {
    let image = maps::image();
    let frame = &read(context);
    judge(frame, image, Act { context, read, frame, image })
}

/// What the filter does with a decision.
struct Act<'a, F, R> {
    context: &'a XdpContext,
    /// The way to read the frame anew.
    read: R,
    frame: &'a F,
    image: &'a PolicyImage,
}

impl<F, R: Copy> Clone for Act<'_, F, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F, R: Copy> Copy for Act<'_, F, R> {}

impl<F: Frame, R: Fn(&XdpContext) -> F + Copy> Settle for Act<'_, F, R> {
    type Settled = u32;

    #[inline(always)]
    fn passed(self, _query: Query, decision: Decision) -> u32 {
        if setting!(answer, decision.bytes) {
            return decision.pack();
        }
        if let Some(area) = maps::area() {
            area.count(decision.cell, u64::from(decision.bytes));
            if setting!(per_peer, decision.bytes)
                && let Some(cell) = peer_traffic::inbound(&decision)
            {
                area.count_peer(cell, 1, u64::from(decision.bytes));
            }
        }
        XDP_PASS
    }

    #[inline(always)]
    fn denied(self, query: Query, decision: Decision) -> u32 {
        let Self { context, read, frame, image } = self;
        if setting!(answer, decision.bytes) {
            return decision.pack();
        }
        if let Some(area) = maps::area() {
            area.count(decision.cell, u64::from(decision.bytes));
            if setting!(evidence, decision.bytes) {
                evidence::record(context, read, area, frame, image, &query, &decision);
            }
        }
        // XDP_DROP is XDP_PASS - 1: what only an audit denies needs no branch.
        XDP_PASS - decision.dropped()
    }

    /// What logs is too much to be there three times: with a log every packet goes the long way.
    #[inline(always)]
    fn takes_shortcuts(self) -> bool {
        !setting!(log, self.frame.linear_bytes() as u64)
    }

    #[inline(always)]
    fn settle_other(self, query: Query, decision: Decision) -> u32 {
        if setting!(log, decision.bytes) {
            log(self.context, self.frame, self.image.zero, &query, decision);
        }
        if decision.is_denied() { self.denied(query, decision) } else { self.passed(query, decision) }
    }
}

/// One line for a frame. The loader turns the trailing number, the counter cell, into the reason's name.
#[inline(always)]
fn log<F: Frame>(context: &XdpContext, frame: &F, zero: u64, query: &Query, decision: Decision) {
    const TCP: u32 = PacketKind::Tcp as u32;
    const UDP: u32 = PacketKind::Udp as u32;
    const TUNNEL: u32 = PacketKind::Tunnel as u32;
    const FRAGMENT: u32 = PacketKind::LaterFragment as u32;
    let (cell, bytes) = (unknown(frame, zero, decision.cell), unknown(frame, zero, decision.bytes));
    let verdict = if decision.is_denied() { "drop" } else { "pass" };
    let protocol = match unknown(frame, zero, query.kind) {
        TCP => "tcp",
        UDP => "udp",
        TUNNEL => "tunnel",
        FRAGMENT => "fragment",
        _ => {
            info!(context, "{} {} bytes, reason {}", verdict, bytes, cell);
            return;
        }
    };
    let port = if query.kind == FRAGMENT { 0 } else { unknown(frame, zero, query.port_wire) };
    let port = (port as u16).swap_bytes();
    let (hi, lo) = (frame.opaque(query.source.hi ^ zero), frame.opaque(query.source.lo ^ zero));
    if unknown(frame, zero, query.source.is_v6) == 0 {
        let address = (lo as u32).swap_bytes();
        info!(context, "{} {:i} -> {}/{}, {} bytes, reason {}", verdict, address, protocol, port, bytes, cell);
    } else {
        let address = (u128::from(hi) | u128::from(lo) << 64).to_le_bytes();
        info!(context, "{} {:i} -> {}/{}, {} bytes, reason {}", verdict, address, protocol, port, bytes, cell);
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
