//! Evidence of a denied frame: its flow's entry in this CPU's table and, for the first frame of a flow, a capture while the budget lasts. It must not
//! change the verdict, and nothing here is read again by the program.

use core::hint::cold_path;

use aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns;
use node_ebpf_common::{
    Decision, Frame, PolicyImage,
    area::BANK_BYTES,
    flow::{Attributed, Bank, Change as _, FirstFrame, FlowKey},
    query::{Query, Sent},
    wire::LinkAddresses,
};

use crate::{add::Tables, arrival::Arrival, maps::Area};

/// Notes a frame that the policy denies.
#[inline(always)]
pub fn record<A: Arrival>(
    arrival: A,
    area: Area,
    frame: &A::Frame,
    image: &PolicyImage,
    query: &Query,
    decision: &Decision,
) {
    // SAFETY: the area is this CPU's own. Userspace writes into the first line, each word of which is read once, and into the bank that is not in use.
    let area = unsafe { &mut *area.0 };
    // SAFETY: as above; by the mask within the banks.
    let bank = unsafe {
        let offset = core::ptr::from_ref(&area.bank).read_volatile() as usize & BANK_BYTES;
        &mut *(&raw mut area.banks).byte_add(offset).cast::<Bank>()
    };
    let key = FlowKey::new(query, decision);
    let Attributed::First(entry) =
        bank.attribute(frame, Tables(arrival), image.zero, &key, query.source.is_v6 != 0, u64::from(decision.bytes))
    else {
        return;
    };
    cold_path();
    let arrival = arrival.anew();
    let frame = arrival.frame();
    let frame_bytes = frame.total_bytes() as u64;
    let sender = frame.start::<LinkAddresses>(0).map_or(0, LinkAddresses::source_le);
    entry.first.link = FirstFrame::link(sender, arrival.bytes_before() + frame_bytes);
    entry.first.seen = FirstFrame::seen(arrival.interface(), image.generation);
    let Sent { destination, source_port_wire, tcp_flags } = query.sent(&frame);
    (entry.first.destination_hi, entry.first.destination_lo) = (destination.hi, destination.lo);
    entry.first.sender = FirstFrame::sender(source_port_wire, tcp_flags);
    let entry = core::ptr::from_mut(entry);
    Tables(arrival).add(&mut bank.offered, 1);
    // SAFETY: as above.
    let granted = unsafe { core::ptr::from_ref(&area.granted).read_volatile() };
    if granted <= area.spent {
        Tables(arrival).add(&mut bank.over_budget, 1);
        return;
    }
    // SAFETY: as above.
    let snap_bytes = unsafe { core::ptr::from_ref(&area.snap_bytes).read_volatile() };
    let length = if frame_bytes < snap_bytes { frame_bytes } else { snap_bytes };
    // SAFETY: the entry is within the table.
    let result = unsafe {
        (*entry).first.boot_ns = bpf_ktime_get_boot_ns();
        arrival.capture(entry, length)
    };
    if result == 0 {
        Tables(arrival).add(&mut area.spent, 1);
        Tables(arrival).add(&mut bank.written, 1);
    } else {
        Tables(arrival).add(&mut bank.unread, 1);
        // SAFETY: as above.
        unsafe { (*entry).first.boot_ns = 0 };
    }
}

/// How much of a frame the helper can be asked to append (`BPF_F_CTXLEN_MASK`).
pub const CONTEXT_LENGTH_MASK: u64 = 0xf_ffff;
