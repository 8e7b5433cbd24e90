//! The verdict: packet + image -> decision. The only place that says pass or drop. It counts nothing, logs nothing and reads no map.

use core::hint::cold_path;

use crate::{
    address::Address,
    counter::{
        CELLS, CELLS_PER_ROW, DENIED_FROM, DROPPED_FROM, Outcome, ROW_IP_TUNNELS, ROW_LATER_FRAGMENTS, ROW_PORTLESS,
        ROW_TCP_UNMANAGED, meaning, place, portless,
    },
    frame::Frame,
    own_copy,
    packet::{self, Packet, PacketKind},
    policy::{GROUP_BLOCKED, GROUP_SPOOFED, PolicyImage},
    query::Query,
    reason::{REASON_SLOTS, Reason, Verdict},
    rule::{GROUP_PEER, PortWord, Row},
    verifier::rebound,
};

/// The whole answer for one frame. Plain 32-bit numbers: narrower fields cost packing in BPF.
#[derive(Clone, Copy, Debug)]
pub struct Decision {
    /// The counter cell, which says all: the row, the reason, and what becomes of the frame ([`crate::counter::meaning`]).
    pub cell: u32,
    /// Number of the peer that its source is, whether it matters or not; 0: none. [`Self::peer`] is the answer.
    pub source_peer: u32,
    /// Bytes to count.
    pub bytes: u32,
}

impl PartialEq for Decision {
    /// By what it says: whose a source is that does not matter is none of it.
    fn eq(&self, other: &Self) -> bool {
        (self.cell, self.peer(), self.bytes) == (other.cell, other.peer(), other.bytes)
    }
}

impl Eq for Decision {}

impl Decision {
    /// The one reason, or `None` for a cell that this build does not know (an image of another version).
    pub fn reason(&self) -> Option<Reason> {
        meaning(self.cell).map(|(_, reason, _)| reason)
    }

    /// What becomes of the frame; `None` as for [`Self::reason`].
    pub fn outcome(&self) -> Option<Outcome> {
        meaning(self.cell).map(|(.., outcome)| outcome)
    }

    /// Counter row of the port; 0 for packets without one.
    pub const fn row(&self) -> u32 {
        let row = self.cell / CELLS_PER_ROW;
        if row < ROW_TCP_UNMANAGED { ROW_PORTLESS } else { row }
    }

    /// Number of the peer that sent it, where it passes as one; else 0. Late, so that only who asks pays for it.
    #[inline(always)]
    pub const fn peer(&self) -> u32 {
        if self.cell % CELLS_PER_ROW == place(Reason::Peer, true) { self.source_peer } else { 0 }
    }

    /// Whether the policy denies it, in both modes.
    #[inline(always)]
    pub const fn is_denied(&self) -> bool {
        self.cell % CELLS_PER_ROW >= DENIED_FROM
    }

    /// 1 for a frame that is dropped, 0 for one that goes on: what audit mode denies goes on.
    #[inline(always)]
    pub const fn dropped(&self) -> u32 {
        (self.cell % CELLS_PER_ROW + CELLS_PER_ROW - DROPPED_FROM) / CELLS_PER_ROW
    }

    /// The policy's answer, the same in both modes.
    pub const fn verdict(&self) -> Verdict {
        if self.is_denied() { Verdict::Drop } else { Verdict::Pass }
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

/// What is done with a decision. A trait, for a closure that is called in several places is not inlined there.
pub trait Settle: Copy {
    /// What comes of it.
    type Settled;

    /// Whether a shortcut for the commonest shapes is wanted.
    #[inline(always)]
    fn takes_shortcuts(self) -> bool {
        true
    }

    /// Gets what a packet asks that the policy lets in, and the decision.
    fn passed(self, query: Query, decision: Decision) -> Self::Settled;

    /// The same for one that it denies.
    fn denied(self, query: Query, decision: Decision) -> Self::Settled;

    /// Sees first what comes of a packet that took no shortcut.
    #[inline(always)]
    fn see(self, _query: &Query, _decision: Decision) {}
}

#[derive(Clone, Copy)]
struct Both;

impl Settle for Both {
    type Settled = (Query, Decision);

    #[inline(always)]
    fn passed(self, query: Query, decision: Decision) -> (Query, Decision) {
        (query, decision)
    }

    #[inline(always)]
    fn denied(self, query: Query, decision: Decision) -> (Query, Decision) {
        (query, decision)
    }
}

/// What `image` says about `frame`, and what is done with it.
///
/// What follows the parse is there once for each common shape, of which its family and whether it has a VLAN tag are known, and once for all others: were it
/// shared, every common packet would pay for what the others keep.
#[inline(always)]
pub fn judge<F: Frame + ?Sized, S: Settle>(frame: &F, image: &PolicyImage, settle: S) -> S::Settled {
    if settle.takes_shortcuts()
        && let Some(settled) = packet::common_by_family(frame, ByPort { frame, image, settle })
    {
        return settled;
    }
    cold_path();
    let (query, decision) = judge_any(&frame.forgotten(image.zero), image);
    settle.see(&query, decision);
    if decision.is_denied() { settle.denied(query, decision) } else { settle.passed(query, decision) }
}

/// What comes next for a packet of a common shape, with its family known.
struct ByPort<'a, F: ?Sized, S> {
    frame: &'a F,
    image: &'a PolicyImage,
    settle: S,
}

impl<F: ?Sized, S: Copy> Clone for ByPort<'_, F, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F: ?Sized, S: Copy> Copy for ByPort<'_, F, S> {}

impl<F: Frame + ?Sized, S: Settle> packet::Next for ByPort<'_, F, S> {
    type Result = S::Settled;

    #[inline(always)]
    fn v4(self, packet: Packet, tag_bytes: usize) -> S::Settled {
        by_port(self, &packet, Address::v4(packet.source.lo as u32), tag_bytes)
    }

    #[inline(always)]
    fn v6(self, packet: Packet, tag_bytes: usize) -> S::Settled {
        by_port(self, &packet, Address::v6(packet.source.hi, packet.source.lo), tag_bytes)
    }
}

#[inline(always)]
fn by_port<F: Frame + ?Sized, S: Settle>(
    ByPort { frame, image, settle }: ByPort<'_, F, S>,
    packet: &Packet,
    source: Address,
    tag_bytes: usize,
) -> S::Settled {
    let word = image.port_word(packet.table, packet.port_wire);
    let decision = by_word(frame, image, word, source, packet.bytes);
    let query = Query::of(packet, source, tag_bytes);
    if decision.is_denied() {
        settle.denied(query, unless_genuine(frame, image, decision, source))
    } else {
        settle.passed(query, decision)
    }
}

/// As [`judge`], without the shortcut.
#[inline(always)]
fn judge_any<F: Frame + ?Sized>(frame: &F, image: &PolicyImage) -> (Query, Decision) {
    let packet = packet::walk(frame, image.zero);
    let mut reason =
        rebound::<F, { REASON_SLOTS as usize - 1 }>(frame, image.zero, packet.reason.number() as usize) as u32;
    if packet.kind == PacketKind::Settled {
        reason = own_copy::settled_reason(frame, reason);
    }
    let bytes = frame.opaque(u64::from(packet.bytes) ^ image.zero) as u32;
    let cell = |cell: u32| rebound::<F, { CELLS as usize - 1 }>(frame, image.zero, cell as usize) as u32;
    let own = Decision { cell: cell(portless(reason, image.denied_from.into())), source_peer: 0, bytes };
    let query = Query::forgotten(&packet, frame, image.zero);
    let on_row = |row| PortWord::new(row, image.row(row));
    let word = match packet.kind {
        PacketKind::Settled => return (query, own),
        // Judged by their source only where the policy asks for it.
        PacketKind::LaterFragment if image.row(ROW_LATER_FRAGMENTS).allow != 0 => on_row(ROW_LATER_FRAGMENTS),
        PacketKind::Portless | PacketKind::LaterFragment if image.blocked == 0 => return (query, own),
        PacketKind::Portless | PacketKind::LaterFragment => on_row(ROW_PORTLESS),
        PacketKind::Tunnel => on_row(ROW_IP_TUNNELS),
        PacketKind::Tcp | PacketKind::Udp => image.port_word(packet.table, packet.port_wire),
    };
    // So that the verifier follows what comes now once, not for each row and reason.
    let word = PortWord::from_bits(rebound::<F, 0xffff>(frame, image.zero, usize::from(word.bits())) as u16);
    let mut decision = by_word(frame, image, word, query.source, bytes);
    if decision.is_denied() {
        decision = unless_genuine(frame, image, decision, query.source);
    }
    // Without a port the source says nothing but whether it is blocked.
    if word.row() == ROW_PORTLESS && !decision.is_denied() {
        decision = own;
    }
    decision.cell = cell(decision.cell);
    (query, decision)
}

/// The decision on a port, by its word and the source. Who can not be genuine is a stranger here like any other ([`unless_genuine`]).
#[inline(always)]
fn by_word<F: Frame + ?Sized>(frame: &F, image: &PolicyImage, word: PortWord, source: Address, bytes: u32) -> Decision {
    let mut found = image.source(frame, source);
    if let Some(if_index) = frame.interface(found) {
        found = image.by_interface(found, if_index);
    }
    let groups = found as u32;
    let mut cell = word.cell_for(frame, groups);
    if groups & !GROUP_PEER != 0 {
        cold_path();
        let at = by_groups(image.row(word.row()), source, groups);
        // A place that the verifier knows would have it follow all that comes once more.
        cell =
            rebound::<F, { CELLS as usize - 1 }>(frame, image.zero, (word.row() * CELLS_PER_ROW + at) as usize) as u32;
    }
    Decision { cell, source_peer: (found >> 32) as u32, bytes }
}

/// A decision to deny, told by its own reason where the source can not be genuine: both deny, so it is asked only here. No martian is let in by the table: the
/// compiler has marked its address there.
#[inline(always)]
fn unless_genuine<F: Frame + ?Sized>(frame: &F, image: &PolicyImage, decision: Decision, source: Address) -> Decision {
    if !source.is_martian() {
        return decision;
    }
    cold_path();
    let spoofed = spoofed(decision.cell % CELLS_PER_ROW);
    let cell = decision.cell / CELLS_PER_ROW * CELLS_PER_ROW + spoofed;
    Decision { cell: rebound::<F, { CELLS as usize - 1 }>(frame, image.zero, cell as usize) as u32, ..decision }
}

/// Where the cell of a source is that can not be genuine, where others are denied at the place `denied`.
#[inline(always)]
const fn spoofed(denied: u32) -> u32 {
    place(Reason::SpoofedSource, denied >= DROPPED_FROM)
}

/// The place of the cell for a source that is in more groups than the peers': a rule's, the blocked ones, those that can not be genuine.
#[inline(always)]
fn by_groups(row: Row, source: Address, groups: u32) -> u32 {
    // Nobody can block what is no address: on a port that is open to anyone it passes like any other.
    let groups = if source.is_martian() { GROUP_SPOOFED } else { groups };
    let allowed = groups & row.allow;
    let otherwise = u32::from(row.otherwise) % CELLS_PER_ROW;
    if groups & GROUP_BLOCKED != 0 {
        u32::from(row.blocked) % CELLS_PER_ROW
    } else if groups & GROUP_SPOOFED != 0 {
        if row.is_open() { otherwise } else { spoofed(otherwise) }
    } else if allowed & GROUP_PEER != 0 {
        place(Reason::Peer, true)
    } else if allowed != 0 {
        place(Reason::AllowedSource, true)
    } else {
        otherwise
    }
}

/// Bits of the packed form: the cell, and above it the peer.
const PACKED_PEER_SHIFT: u32 = 15;
const PACKED_PEER_MASK: u32 = 0x7fff;

impl Decision {
    /// Cell and peer (its low 15 bits) in one number, for the programs that answer instead of acting.
    #[inline(always)]
    pub const fn pack(&self) -> u32 {
        self.cell | (self.peer() & PACKED_PEER_MASK) << PACKED_PEER_SHIFT
    }

    /// The decision that was packed; `bytes` is not part of it.
    pub const fn unpack(packed: u32) -> Self {
        Self { cell: packed & (CELLS - 1), source_peer: packed >> PACKED_PEER_SHIFT & PACKED_PEER_MASK, bytes: 0 }
    }
}
const _: () = assert!(CELLS == 1 << PACKED_PEER_SHIFT);
