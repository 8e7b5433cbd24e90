//! Evidence of a denied frame: its flow's entry in this CPU's table and, for the first frame of a flow, a capture while the budget lasts. It must not
//! change the verdict, and nothing here is read again by the program.

use core::hint::cold_path;

use aya_ebpf::{
    EbpfContext,
    bindings::BPF_F_CURRENT_CPU,
    helpers::generated::{bpf_get_smp_processor_id, bpf_ktime_get_boot_ns, bpf_perf_event_output},
    programs::XdpContext,
};
use node_ebpf_common::{
    Decision, Frame, PolicyImage,
    flow::{Attributed, Change as _, FirstFrame, FlowEntry, FlowKey},
    packet,
    query::Query,
    wire::LinkAddresses,
};

use crate::{add::Tables, frame::anew, maps};

/// Notes a frame that the policy denies; `read` makes the way to read it anew.
#[inline(always)]
pub fn record<F: Frame>(
    context: &XdpContext,
    read: impl Fn(&XdpContext) -> F,
    frame: &F,
    image: &PolicyImage,
    query: &Query,
    decision: &Decision,
) {
    // SAFETY: no more than a number is read.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let Some(table) = maps::nw_flows.get_ptr_mut(cpu as u32) else { return };
    // SAFETY: the value is this CPU's own. XDP programs do not preempt one another on a CPU, or `Tables` changes what they share. Userspace writes into the
    // first line, each word of which is read once, and into the bank that is not in use.
    let table = unsafe { &mut *table };
    // SAFETY: as above.
    let which = unsafe { core::ptr::from_ref(&table.bank).read_volatile() } & 1;
    let key = FlowKey::new(query, decision);
    // So that the verifier follows what comes now once, not for each way to a decision; of the source it knows nothing already.
    let key = FlowKey { word: frame.opaque(key.word ^ image.zero), ..key };
    let Some(bank) = table.banks.get_mut(which as usize) else { return };
    let Attributed::First(entry) =
        bank.attribute(frame, Tables, image.zero, &key, query.source.is_v6 != 0, u64::from(decision.bytes))
    else {
        return;
    };
    cold_path();
    let context = anew(context);
    let frame = read(&context);
    let frame_bytes = frame.total_bytes() as u64;
    let sender = frame.start::<LinkAddresses>(0).map_or(0, LinkAddresses::source_le);
    entry.first.link = FirstFrame::link(sender, frame_bytes);
    entry.first.seen = FirstFrame::seen(context.ingress_ifindex() as u32, image.generation);
    // Of common shapes read again: kept, it would cost every frame two words.
    let (destination, source_port_wire, flags) = match packet::common(&frame) {
        Some(packet) => (packet.destination, packet.source_port_wire, packet.tcp_flags(&frame, image.zero)),
        None => (query.destination, query.source_port_wire, 0),
    };
    (entry.first.destination_hi, entry.first.destination_lo) = (destination.hi, destination.lo);
    entry.first.sender = FirstFrame::sender(source_port_wire, flags);
    let entry = core::ptr::from_mut(entry);
    Tables.add(&mut bank.offered, 1);
    // SAFETY: as above.
    let granted = unsafe { core::ptr::from_ref(&table.granted).read_volatile() };
    if granted <= table.spent {
        Tables.add(&mut bank.over_budget, 1);
        return;
    }
    // SAFETY: as above.
    let snap_bytes = unsafe { core::ptr::from_ref(&table.snap_bytes).read_volatile() };
    let length = if frame_bytes < snap_bytes { frame_bytes } else { snap_bytes };
    let flags = BPF_F_CURRENT_CPU | (length & CONTEXT_LENGTH_MASK) << 32;
    // SAFETY: the entry is within the table; the helper reads it and the frame, and fails where the frame is shorter.
    let result = unsafe {
        (*entry).first.boot_ns = bpf_ktime_get_boot_ns();
        bpf_perf_event_output(context.as_ptr(), maps::captures(), flags, entry.cast(), size_of::<FlowEntry>() as u64)
    };
    if result == 0 {
        Tables.add(&mut table.spent, 1);
        Tables.add(&mut bank.written, 1);
    } else {
        Tables.add(&mut bank.unread, 1);
        // SAFETY: as above.
        unsafe { (*entry).first.boot_ns = 0 };
    }
}

/// How much of a frame the helper can be query to append (`BPF_F_CTXLEN_MASK`).
const CONTEXT_LENGTH_MASK: u64 = 0xf_ffff;
