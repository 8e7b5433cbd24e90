//! What becomes of a frame that arrives, whichever hook it came by: judged, counted, noted where it is denied, let on or dropped. It must know neither
//! hooks' contexts nor packet memory: [`Arrival`] stands for both.

use aya_log_ebpf::info;
use node_ebpf_common::{
    Decision, Frame, PolicyImage,
    decide::{Settle, judge},
    packet::PacketKind,
    peer_traffic,
    query::Query,
};

use crate::{arrival::Arrival, evidence, maps, settings::setting};

/// Filters a frame. `arrived` sees the policy, too.
#[inline(always)]
pub fn filter<A: Arrival>(arrived: impl FnOnce(&'static PolicyImage) -> A) -> u32 {
    let image = maps::image();
    let arrival = arrived(image);
    let frame = &arrival.frame();
    judge(frame, image, Act { arrival, frame, image })
}

/// What the filter does with a decision.
struct Act<'a, A, F> {
    arrival: A,
    frame: &'a F,
    image: &'a PolicyImage,
}

impl<A: Copy, F> Clone for Act<'_, A, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A: Copy, F> Copy for Act<'_, A, F> {}

impl<A: Arrival> Settle for Act<'_, A, A::Frame> {
    type Settled = u32;

    #[inline(always)]
    fn passed(self, _query: Query, decision: Decision) -> u32 {
        let arrival = self.arrival;
        if setting!(answer, decision.bytes) {
            return decision.pack();
        }
        if let Some(area) = maps::area() {
            area.count(arrival, decision.cell, u64::from(decision.bytes));
            if setting!(per_peer, decision.bytes)
                && let Some(cell) = peer_traffic::inbound(&decision)
            {
                let (frames, bytes) = arrival.amount(u64::from(decision.bytes));
                area.count_peer(cell, frames, bytes);
            }
        }
        A::answer(0)
    }

    #[inline(always)]
    fn denied(self, query: Query, decision: Decision) -> u32 {
        let Self { arrival, frame, image } = self;
        if setting!(answer, decision.bytes) {
            return decision.pack();
        }
        if let Some(area) = maps::area() {
            area.count(arrival, decision.cell, u64::from(decision.bytes));
            if setting!(evidence, decision.bytes) {
                evidence::record(arrival, area, frame, image, &query, &decision);
            }
        }
        A::answer(decision.dropped())
    }

    /// What logs is too much to be there for each common shape: with a log every packet goes the long way.
    #[inline(always)]
    fn takes_shortcuts(self) -> bool {
        !setting!(log, self.frame.linear_bytes() as u64)
    }

    #[inline(always)]
    fn see(self, query: &Query, decision: Decision) {
        if setting!(log, decision.bytes) {
            log(self.frame, self.image.zero, query, decision);
        }
    }
}

/// One line for a frame. The loader turns the trailing number, the counter cell, into the reason's name.
#[inline(always)]
fn log<F: Frame>(frame: &F, zero: u64, query: &Query, decision: Decision) {
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
            info!(frame, "{} {} bytes, reason {}", verdict, bytes, cell);
            return;
        }
    };
    let port = if query.kind == FRAGMENT { 0 } else { unknown(frame, zero, query.port_wire) };
    let port = (port as u16).swap_bytes();
    let (hi, lo) = (frame.opaque(query.source.hi ^ zero), frame.opaque(query.source.lo ^ zero));
    if unknown(frame, zero, query.source.is_v6) == 0 {
        let address = (lo as u32).swap_bytes();
        info!(frame, "{} {:i} -> {}/{}, {} bytes, reason {}", verdict, address, protocol, port, bytes, cell);
    } else {
        let address = (u128::from(hi) | u128::from(lo) << 64).to_le_bytes();
        info!(frame, "{} {:i} -> {}/{}, {} bytes, reason {}", verdict, address, protocol, port, bytes, cell);
    }
}

/// Gives `value` back, of which the verifier knows nothing then (`zero` is 0, which it can not know). What a log line takes is a hundred times as long
/// as the decision, and would be verified anew for each way to a decision: too much for Linux 7.3.
#[inline(always)]
fn unknown<F: Frame>(frame: &F, zero: u64, value: u32) -> u32 {
    frame.opaque(u64::from(value) ^ zero) as u32
}
