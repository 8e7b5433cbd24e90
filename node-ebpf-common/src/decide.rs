//! The verdict: packet + image -> decision. The only place that says pass or drop. It counts nothing, logs nothing and reads no map.

use core::hint::cold_path;

use crate::{
    address::Address,
    counter::{CELLS_PER_ROW, Fate, ROW_IP_TUNNELS, ROW_LATER_FRAGMENTS, ROW_PORTLESS, ROWS, values_behind},
    frame::Frame,
    packet::{self, Packet, PacketKind},
    policy::{GROUP_BLOCKED, GROUP_PEER, GROUP_SPOOFED, PolicyImage, PortWord, Row},
    query::Query,
    reason::{DROP_BIT, PORTLESS_FROM, REASON_SLOTS, Reason, Verdict},
    verifier::rebound,
};

/// The whole answer for one frame. Plain 32-bit numbers: narrower fields cost packing in BPF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Number of the [`Reason`]; always exactly one.
    pub reason: u32,
    /// Counter row of the port; 0 for packets without one.
    pub row: u32,
    /// Number of the peer that sent it, where it passes as one; else 0.
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
        self.value() * CELLS_PER_ROW + self.fate(image).cell()
    }

    /// The value of the map that it moves a cell of.
    #[inline(always)]
    pub const fn value(&self) -> u32 {
        self.row + values_behind(self.reason)
    }

    /// What becomes of the frame under `image`, and which cell of that value it moves.
    #[inline(always)]
    #[expect(clippy::indexing_slicing, reason = "masked to the table's length, a power of two")]
    pub const fn fate(&self, image: &PolicyImage) -> Fate {
        image.fates[self.reason as usize & (REASON_SLOTS as usize - 1)]
    }
}

/// What `image` says about `frame`.
#[inline(always)]
pub fn decide<F: Frame + ?Sized>(frame: &F, image: &PolicyImage) -> Decision {
    explain(frame, image).1
}

/// The same, with what the packet asks: for those who tell a person about it.
#[inline(always)]
pub fn explain<F: Frame + ?Sized>(frame: &F, image: &PolicyImage) -> (Query, Decision) {
    judge(frame, image, Both)
}

/// What is done with a decision. A trait, for a closure that is called in three places is not inlined there.
pub trait Settle: Copy {
    /// What comes of it.
    type Settled;

    /// Whether a shortcut for the commonest shapes is wanted.
    #[inline(always)]
    fn takes_shortcuts(self) -> bool {
        true
    }

    /// Gets what a packet of the commonest shapes asks, and the decision.
    fn settle(self, query: Query, decision: Decision) -> Self::Settled;

    /// The same for all other packets.
    #[inline(always)]
    fn settle_other(self, query: Query, decision: Decision) -> Self::Settled {
        self.settle(query, decision)
    }
}

#[derive(Clone, Copy)]
struct Both;

impl Settle for Both {
    type Settled = (Query, Decision);

    #[inline(always)]
    fn settle(self, query: Query, decision: Decision) -> (Query, Decision) {
        (query, decision)
    }
}

/// What `image` says about `frame`, and what is done with it.
///
/// What follows the parse, `settle` included, is there once for each family's common shape and once for all others: were it shared, every common packet
/// would pay for what the others keep.
#[inline(always)]
pub fn judge<F: Frame + ?Sized, S: Settle>(frame: &F, image: &PolicyImage, settle: S) -> S::Settled {
    let v4 = |packet: Packet| by_port(frame, image, &packet, Address::v4(packet.source.lo as u32), settle);
    let v6 = |packet: Packet| by_port(frame, image, &packet, Address::v6(packet.source.hi, packet.source.lo), settle);
    if settle.takes_shortcuts()
        && let Some(settled) = packet::common_by_family(frame, v4, v6)
    {
        return settled;
    }
    cold_path();
    let (query, decision) = judge_any(&frame.forgotten(image.zero), image);
    settle.settle_other(query, decision)
}

#[inline(always)]
fn by_port<F: Frame + ?Sized, S: Settle>(
    frame: &F,
    image: &PolicyImage,
    packet: &Packet,
    source: Address,
    settle: S,
) -> S::Settled {
    let word = image.port_word(packet.kind as u32, packet.port_wire);
    settle.settle(Query::of(packet, source), by_word(frame, image, word, source, packet.bytes))
}

/// As [`judge`], without the shortcut.
#[inline(always)]
fn judge_any<F: Frame + ?Sized>(frame: &F, image: &PolicyImage) -> (Query, Decision) {
    let packet = packet::walk(frame, image.zero);
    let reason = rebound::<F, { REASON_SLOTS as usize - 1 }>(frame, image.zero, packet.reason.number() as usize) as u32;
    let bytes = frame.opaque(u64::from(packet.bytes) ^ image.zero) as u32;
    let own = Decision { reason, row: ROW_PORTLESS, peer: 0, bytes };
    let query = Query::forgotten(&packet, frame, image.zero);
    let on_row = |row| PortWord::new(row, image.row(row));
    let word = match packet.kind {
        PacketKind::Settled => return (query, own),
        // Judged by their source only where the policy asks for it.
        PacketKind::LaterFragment if image.row(ROW_LATER_FRAGMENTS).allow != 0 => on_row(ROW_LATER_FRAGMENTS),
        PacketKind::Portless | PacketKind::LaterFragment if image.blocked == 0 => return (query, own),
        PacketKind::Portless | PacketKind::LaterFragment => on_row(ROW_PORTLESS),
        PacketKind::Tunnel => on_row(ROW_IP_TUNNELS),
        PacketKind::Tcp | PacketKind::Udp => image.port_word(packet.kind as u32, packet.port_wire),
    };
    // So that the verifier follows what comes now once, not for each row and reason.
    let word = PortWord::from_bits(rebound::<F, 0xffff>(frame, image.zero, usize::from(word.bits())) as u16);
    let mut decision = by_word(frame, image, word, query.source(), bytes);
    // Without a port the source says nothing but whether it is blocked.
    if decision.row == ROW_PORTLESS && decision.reason != Reason::BlockedSource.number() {
        decision.reason = reason;
    }
    // The same for what is looked up by the reason.
    decision.reason = rebound::<F, { REASON_SLOTS as usize - 1 }>(frame, image.zero, decision.reason as usize) as u32;
    (query, decision)
}

#[inline(always)]
fn by_word<F: Frame + ?Sized>(frame: &F, image: &PolicyImage, word: PortWord, source: Address, bytes: u32) -> Decision {
    let mut found = image.source(frame, source, || word.asks_for_source() || image.blocked != 0);
    if let Some(if_index) = frame.interface(found) {
        found = image.by_interface(found, if_index);
    }
    let groups = found as u32;
    // Without a branch: on mixed traffic each is mispredicted.
    let admitted = frame.opaque(u64::from(word.admits(groups).wrapping_neg())) as u32;
    let otherwise = word.otherwise();
    let mut reason = otherwise ^ ((otherwise ^ Reason::Peer.number()) & admitted);
    // A reason that the verifier knows would have it follow all that comes once more.
    let unknown = |reason: u32| rebound::<F, { PORTLESS_FROM as usize - 1 }>(frame, image.zero, reason as usize) as u32;
    let mut peer = (found >> 32) as u32 & 0xffff & admitted;
    if groups & !GROUP_PEER != 0 {
        cold_path();
        (reason, peer) = by_groups(image.row(word.row()), source, found);
        reason = unknown(reason);
    }
    // Both drop, so who can not be genuine is told apart where he is denied. No martian is let in by the table: the compiler has marked its address there.
    if reason & DROP_BIT != 0 && source.is_martian() {
        cold_path();
        reason = unknown(Reason::SpoofedSource.number());
    }
    Decision { reason, row: word.row(), peer, bytes }
}

/// Reason and peer of a source that is in more groups than the peers': a rule's, the blocked ones, those that can not be genuine.
#[inline(always)]
fn by_groups(row: Row, source: Address, found: u64) -> (u32, u32) {
    // Nobody can block what is no address: on a port that is open to anyone it passes like any other.
    let groups = if source.is_martian() { GROUP_SPOOFED } else { found as u32 };
    let allowed = groups & row.allow;
    // It is of a port: so LLVM knows it, too, and counts it on the port's row without a question.
    let otherwise = row.otherwise & (PORTLESS_FROM - 1);
    if groups & GROUP_BLOCKED != 0 {
        (Reason::BlockedSource.number(), 0)
    } else if groups & GROUP_SPOOFED != 0 {
        (if otherwise & DROP_BIT == 0 { otherwise } else { Reason::SpoofedSource.number() }, 0)
    } else if allowed & GROUP_PEER != 0 {
        (Reason::Peer.number(), (found >> 32) as u32 & 0xffff)
    } else if allowed != 0 {
        (Reason::AllowedSource.number(), 0)
    } else {
        (otherwise, 0)
    }
}

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
