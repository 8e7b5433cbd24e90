//! What a packet asks of the policy, in the form that a flow's key has it. Owns the layout of that part of the key.

use crate::{address::Address, frame::Frame, packet::Packet};

/// Where the kind of packet stands in [`Query::word`] and in [`crate::flow::FlowKey::word`].
pub(crate) const KIND_SHIFT: u32 = 24;
/// Where the family stands there.
pub(crate) const V6_SHIFT: u32 = 28;

/// What a packet asks of the policy: its source, and in one word its destination port, its kind and its family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// First eight bytes of the source, as in [`Address`]: who sent it, if the packet tells the truth.
    pub hi: u64,
    /// The rest of it.
    pub lo: u64,
    /// All else in one word, which is kept on the stack once: the port, the kind of packet, the family, each where [`crate::flow::FlowKey`] has it.
    pub word: u64,
}

impl Query {
    /// What `packet` asks, from `source`, which is its own.
    #[inline(always)]
    pub(crate) const fn of(packet: &Packet, source: Address) -> Self {
        let word = packet.port_wire | (packet.kind as u32) << KIND_SHIFT | source.is_v6 << V6_SHIFT;
        Self { hi: source.hi, lo: source.lo, word: word as u64 }
    }

    /// What `packet` asks, hidden from the verifier, which would follow what comes next once for each path that leads here.
    #[inline(always)]
    pub(crate) fn forgotten<F: Frame + ?Sized>(packet: &Packet, frame: &F, zero: u64) -> Self {
        let unknown = |value: u64| frame.opaque(value ^ zero);
        let known = Self::of(packet, packet.source);
        Self { hi: unknown(known.hi), lo: unknown(known.lo), word: unknown(known.word) }
    }

    /// The source.
    #[inline(always)]
    pub const fn source(&self) -> Address {
        Address { hi: self.hi, lo: self.lo, is_v6: (self.word >> V6_SHIFT) as u32 & 1 }
    }

    /// Number of the [`crate::packet::PacketKind`].
    #[inline(always)]
    pub const fn kind(&self) -> u32 {
        (self.word >> KIND_SHIFT) as u32 & 0xf
    }

    /// The destination port's two wire bytes, loaded little-endian; 0 where there is none.
    #[inline(always)]
    pub const fn port_wire(&self) -> u32 {
        self.word as u32 & 0xffff
    }
}
