//! The tc egress entries: they count what this node sends. They never drop and never change a frame, and leave it to whatever program comes next.

use aya_ebpf::{bindings::TC_ACT_UNSPEC, macros::classifier, programs::TcContext};
use node_ebpf_common::{
    Frame,
    outbound::{CELL_MISSION_CONTROL, account},
    peer_traffic,
    wire::VLAN_TAG_BYTES,
};

use crate::{
    frame::{Buffer, Fetched},
    maps,
};

/// Counts an outbound frame. The answer is "next program": `TCX_NEXT` and `TC_ACT_UNSPEC` are the same number.
#[classifier]
pub fn nodewall_egress(context: TcContext) -> i32 {
    count(&context, Buffer::new);
    TC_ACT_UNSPEC
}

/// The same for devices without a link-layer header.
#[classifier]
pub fn nodewall_sent(context: TcContext) -> i32 {
    count(&context, Fetched::<true>::new);
    TC_ACT_UNSPEC
}

#[inline(always)]
fn count<F: Frame>(context: &TcContext, read: impl Fn(&TcContext) -> F) {
    let image = maps::image();
    let outbound = account(&read(context), image);
    let (packets, bytes) = on_the_wire(context);
    let Some(area) = maps::area() else { return };
    area.count_outbound(outbound.cell(), packets, bytes);
    if outbound.mission_control != 0 {
        area.count_outbound(CELL_MISSION_CONTROL, packets, bytes);
    }
    if let Some(cell) = peer_traffic::outbound(&outbound) {
        area.count_peer(cell, packets, bytes);
    }
}

/// Frames and bytes as the wire will see them. An aggregate is cut up behind this program: the kernel has written down into how many pieces, and the
/// bytes with a header for each piece (`qdisc_pkt_len_init`, before any egress program runs). A VLAN tag that still waits beside the frame is in neither.
#[inline(always)]
fn on_the_wire(context: &TcContext) -> (u64, u64) {
    // SAFETY: the context is this program's own; the verifier turns each field into a load.
    let (pieces, bytes, tagged) = unsafe {
        let skb = context.skb.skb;
        ((*skb).gso_segs, (*skb).wire_len, (*skb).vlan_present)
    };
    let frames = u64::from(pieces.max(1));
    let tags = if tagged == 0 { 0 } else { frames * VLAN_TAG_BYTES as u64 };
    (frames, u64::from(bytes) + tags)
}
