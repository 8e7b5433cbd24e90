//! What a port says of who may send to it: its row's rule, and its own word. A word and a source make a counter cell.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{
    counter::{CELLS_PER_ROW, DENIED_FROM, DROPPED_FROM, ROWS, place},
    frame::Frame,
    reason::Reason,
};

/// Group bit of the cluster's peers.
pub const GROUP_PEER: u32 = 1;
/// What a row's port lets in: one load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Row {
    /// Group bits of the sources that may; 0 where the source does not matter.
    pub allow: u32,
    /// The place of the cell ([`place`]) when no group of the source is allowed.
    pub otherwise: u16,
    /// The place of the cell of what a blocked source sends. It is denied on ports that are open to all as well, so `otherwise` does not tell the mode;
    /// and it is the policy's mode, also where the row only audits.
    pub blocked: u16,
}

impl Row {
    /// A row that lets in sources of the groups `allow`, and judges all others by `otherwise`; `enforce`: what it denies is dropped.
    pub const fn new(allow: u32, otherwise: Reason, enforce: bool) -> Self {
        Self {
            allow,
            otherwise: place(otherwise, enforce) as u16,
            blocked: place(Reason::BlockedSource, enforce) as u16,
        }
    }

    /// The same for a class that only audits, whatever the policy does. A block outranks it as it outranks every rule: what a blocked source sends is dropped
    /// wherever the policy enforces.
    #[must_use]
    pub const fn audited(self) -> Self {
        match (self.otherwise as u32).checked_sub(DROPPED_FROM) {
            Some(denied) => Self { otherwise: (DENIED_FROM + denied) as u16, ..self },
            None => self,
        }
    }

    /// Whether it lets in anyone who is not blocked.
    pub const fn is_open(&self) -> bool {
        (self.otherwise as u32) < DENIED_FROM
    }

    /// Whether what it denies goes on all the same.
    pub const fn only_audits(&self) -> bool {
        !self.is_open() && (self.otherwise as u32) < DROPPED_FROM
    }
}

/// What a port's own word says: its counter row, the place of the cell there when nothing of the source speaks for it, and whether peers may. What rules let in
/// besides is on the row. Row and place side by side are the cell, so that a decision is this word with another place, and no table is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortWord(u32);

impl PortWord {
    /// Bit 0: peers may. It is [`GROUP_PEER`], so that one `and` with a source's groups says whether it is a peer that may.
    const PEERS_MAY: u32 = GROUP_PEER;
    const PLACE_SHIFT: u32 = 1;
    const PLACE_MASK: u32 = (CELLS_PER_ROW - 1) << Self::PLACE_SHIFT;
    const ROW_SHIFT: u32 = 5;

    /// The word of a row with this rule.
    #[inline(always)]
    pub const fn new(row: u32, rule: Row) -> Self {
        Self(row << Self::ROW_SHIFT | (rule.otherwise as u32) << Self::PLACE_SHIFT | rule.allow & Self::PEERS_MAY)
    }

    /// As the image holds it.
    #[inline(always)]
    pub const fn bits(self) -> u16 {
        self.0 as u16
    }

    /// What the image holds.
    #[inline(always)]
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits as u32)
    }

    /// The counter row.
    #[inline(always)]
    pub const fn row(self) -> u32 {
        self.0 >> Self::ROW_SHIFT
    }

    /// The counter cell, as long as nothing of the source speaks for it.
    #[inline(always)]
    pub const fn cell(self) -> u32 {
        self.0 >> Self::PLACE_SHIFT
    }

    /// The same for a source of these groups, where they are only the peers'. Without a branch: on mixed traffic each is mispredicted.
    #[inline(always)]
    pub fn cell_for<F: Frame + ?Sized>(self, frame: &F, groups: u32) -> u32 {
        const PEER: u32 = place(Reason::Peer, true) << PortWord::PLACE_SHIFT;
        let admitted = frame.opaque(u64::from((self.0 & groups & Self::PEERS_MAY).wrapping_neg())) as u32;
        (self.0 ^ ((self.0 ^ PEER) & Self::PLACE_MASK & admitted)) >> Self::PLACE_SHIFT
    }
}

const _: () = assert!(
    ROWS << PortWord::ROW_SHIFT == 1 << 16 && CELLS_PER_ROW == 1 << (PortWord::ROW_SHIFT - PortWord::PLACE_SHIFT)
);
