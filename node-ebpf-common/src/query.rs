//! What a packet asks of the policy, and what the first packet of a denied flow is remembered by.

use crate::{
    address::Address,
    frame::Frame,
    packet::{Packet, PacketKind},
};

/// What a packet asks of the policy. Flat, for the reason that [`Packet`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// Who sent it, if the packet tells the truth.
    pub source: Address,
    /// The destination port's two wire bytes, loaded little-endian; of what has no port and is no tunnel the number of its [`PacketKind`].
    pub port_wire: u32,
    /// Number of the [`PacketKind`].
    pub kind: u32,
    /// Whom it is for; [`Address::NONE`] where that is to be read again, of the common shapes.
    pub destination: Address,
    /// The source port's two wire bytes, likewise.
    pub source_port_wire: u32,
}

impl Query {
    /// What `packet`, of a common shape, asks, from `source`, which is its own.
    #[inline(always)]
    pub(crate) const fn of(packet: &Packet, source: Address) -> Self {
        Self {
            source,
            port_wire: packet.port_wire,
            kind: packet.kind as u32,
            destination: Address::NONE,
            source_port_wire: 0,
        }
    }

    /// What any `packet` asks, hidden from the verifier, which would follow what comes next once for each path that leads here.
    #[inline(always)]
    pub(crate) fn forgotten<F: Frame + ?Sized>(packet: &Packet, frame: &F, zero: u64) -> Self {
        let unknown = |value: u64| frame.opaque(value ^ zero);
        let address = |address: Address| Address {
            hi: unknown(address.hi),
            lo: unknown(address.lo),
            is_v6: unknown(u64::from(address.is_v6)) as u32 & 1,
        };
        let port_wire = match packet.kind {
            PacketKind::Tcp | PacketKind::Udp | PacketKind::Tunnel => packet.port_wire,
            kind => kind as u32,
        };
        Self {
            source: address(packet.source),
            port_wire: unknown(u64::from(port_wire)) as u32 & 0xffff,
            kind: unknown(u64::from(packet.kind as u32)) as u32,
            destination: address(packet.destination),
            source_port_wire: unknown(u64::from(packet.source_port_wire)) as u32 & 0xffff,
        }
    }
}
