//! The verdict: packet + image -> decision. The only place that says pass or drop. It counts nothing, logs nothing and reads no map.

use core::hint::cold_path;

use crate::{
    address::Address,
    counter::{CELLS_PER_ROW, ROW_IP_TUNNELS, ROW_LATER_FRAGMENTS, ROW_PORTLESS, ROWS},
    frame::Frame,
    packet::{self, PacketKind},
    policy::{GROUP_BLOCKED, GROUP_PEER, GROUP_SPOOFED, PolicyImage},
    query::Query,
    reason::{DROP_BIT, REASON_SLOTS, Reason, Verdict},
    verifier::{rebound, zero_mask},
};

/// The whole answer for one frame. Plain 32-bit numbers: narrower fields cost packing in BPF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Number of the [`Reason`]; always exactly one.
    pub reason: u32,
    /// Counter row of the port; 0 for packets without one.
    pub row: u32,
    /// Number of the peer that sent it; 0: none, or the source did not matter.
    pub peer: u32,
    /// Bytes to count.
    pub bytes: u32,
}

impl Decision {
    /// The reason, or `None` for a number that this build does not know (an image of another version).
    pub const fn reason(&self) -> Option<Reason> {
        Reason::from_number(self.reason)
    }

    /// 1 for drop, 0 for pass, without a table and without a branch.
    #[inline(always)]
    pub const fn drop_bit(&self) -> u32 {
        (self.reason / DROP_BIT) & 1
    }

    /// The policy's answer, the same in both modes.
    pub const fn verdict(&self) -> Verdict {
        if self.drop_bit() == 0 { Verdict::Pass } else { Verdict::Drop }
    }

    /// The counter cell that this decision moves under `image`.
    #[inline(always)]
    pub const fn cell(&self, image: &PolicyImage) -> u32 {
        let (value, cell) = self.place(image);
        value * CELLS_PER_ROW + cell
    }

    /// Where that cell lies: which value of the map, and which cell of it.
    #[inline(always)]
    pub const fn place(&self, image: &PolicyImage) -> (u32, u32) {
        (image.counter_bank + self.row + self.reason / CELLS_PER_ROW, self.reason % CELLS_PER_ROW)
    }
}

/// What `image` says about `frame`.
#[inline(always)]
pub fn decide<F: Frame + ?Sized>(frame: &F, image: &PolicyImage) -> Decision {
    judge(frame, image).1
}

/// The same, with what the decision was made of: for those who tell a person about it.
///
/// What follows the parse is there once for each family's common shape and once for all others: were it shared, every common packet would pay for
/// what the others keep on the stack.
#[inline(always)]
pub fn judge<F: Frame + ?Sized>(frame: &F, image: &PolicyImage) -> (Query, Decision) {
    let Some(packet) = packet::common(frame) else {
        cold_path();
        return judge_any(&frame.forgotten(image.zero), image);
    };
    let row = image.row_of(packet.kind as u32, packet.port_wire);
    let query = Query::forgotten(&packet, frame, image.zero);
    let decision = if packet.source.is_v6 == 0 {
        by_row(frame, image, row, Address::v4(packet.source.lo as u32), packet.bytes)
    } else {
        by_row(frame, image, row, Address::v6(packet.source.hi, packet.source.lo), packet.bytes)
    };
    (query, decision)
}

/// As [`judge`], without the shortcut.
#[inline(always)]
fn judge_any<F: Frame + ?Sized>(frame: &F, image: &PolicyImage) -> (Query, Decision) {
    let packet = packet::walk(frame, image.zero);
    let reason = rebound::<F, { REASON_SLOTS as usize - 1 }>(frame, image.zero, packet.reason.number() as usize) as u32;
    let bytes = frame.opaque(u64::from(packet.bytes) ^ image.zero) as u32;
    let own = Decision { reason, row: ROW_PORTLESS, peer: 0, bytes };
    let query = Query::forgotten(&packet, frame, image.zero);
    let row = match packet.kind {
        PacketKind::Settled => return (query, own),
        // Judged by their source only where the policy asks for it.
        PacketKind::LaterFragment if image.row(ROW_LATER_FRAGMENTS).allow != 0 => ROW_LATER_FRAGMENTS,
        PacketKind::Portless | PacketKind::LaterFragment if image.blocked == 0 => return (query, own),
        PacketKind::Portless | PacketKind::LaterFragment => ROW_PORTLESS,
        PacketKind::Tunnel => ROW_IP_TUNNELS,
        PacketKind::Tcp | PacketKind::Udp => image.row_of(packet.kind as u32, packet.port_wire),
    };
    // So that the verifier follows what comes now once, not for each row and reason.
    let row = rebound::<F, { ROWS as usize - 1 }>(frame, image.zero, row as usize) as u32;
    let mut decision = by_row(frame, image, row, query.source(), bytes);
    // Without a port the source says nothing but whether it is blocked.
    if row == ROW_PORTLESS && decision.reason != Reason::BlockedSource.number() {
        decision.reason = reason;
    }
    (query, decision)
}

#[inline(always)]
fn by_row<F: Frame + ?Sized>(frame: &F, image: &PolicyImage, row_number: u32, source: Address, bytes: u32) -> Decision {
    let found = if source.is_martian() {
        cold_path();
        u64::from(GROUP_SPOOFED)
    } else {
        image.source(frame, source, || image.row(row_number).allow != 0)
    };
    // Loaded after the source was looked up, so that it keeps no register busy meanwhile.
    let row = image.row(row_number);
    let groups = found as u32;
    let allowed = groups & row.allow;
    let denied = zero_mask(frame, u64::from(allowed)) as u32;
    // PEER is one below ALLOWED_SOURCE, and the peers' group is bit 0. Without a branch: on mixed traffic each is mispredicted.
    let hit = Reason::AllowedSource.number() - (allowed & GROUP_PEER);
    let mut reason = hit.wrapping_add(row.otherwise.wrapping_sub(Reason::AllowedSource.number()) & denied);
    // That a block would matter makes nobody a peer.
    let consulted = !zero_mask(frame, u64::from(row.allow & !GROUP_BLOCKED));
    let mut peer = (found >> 32) as u32 & 0xffff & consulted as u32;
    if groups & (GROUP_SPOOFED | GROUP_BLOCKED) != 0 {
        cold_path();
        peer = 0;
        if groups & GROUP_BLOCKED != 0 {
            reason = Reason::BlockedSource.number();
        } else if row.otherwise & DROP_BIT != 0 {
            reason = Reason::SpoofedSource.number();
        }
    }
    Decision { reason, row: row_number, peer, bytes }
}

const _: () = assert!(Reason::AllowedSource.number() - GROUP_PEER == Reason::Peer.number());

/// Bits of the packed form: reason, row, peer.
const PACKED_ROW_SHIFT: u32 = 6;
const PACKED_PEER_SHIFT: u32 = 17;
const PACKED_PEER_MASK: u32 = 0x7fff;

impl Decision {
    /// Reason, row and peer (its low 15 bits) in one number, for the programs that answer instead of acting.
    #[inline(always)]
    pub const fn pack(&self) -> u32 {
        self.reason | self.row << PACKED_ROW_SHIFT | (self.peer & PACKED_PEER_MASK) << PACKED_PEER_SHIFT
    }

    /// The decision that was packed; `bytes` is not part of it.
    pub const fn unpack(packed: u32) -> Self {
        Self {
            reason: packed & (REASON_SLOTS - 1),
            row: packed >> PACKED_ROW_SHIFT & (ROWS - 1),
            peer: packed >> PACKED_PEER_SHIFT & PACKED_PEER_MASK,
            bytes: 0,
        }
    }
}
const _: () = assert!(REASON_SLOTS == 1 << PACKED_ROW_SHIFT && ROWS == 1 << (PACKED_PEER_SHIFT - PACKED_ROW_SHIFT));
