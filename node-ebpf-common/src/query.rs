//! What a packet asks of the policy, and what the first packet of a denied flow is remembered by.

use crate::{
    address::Address,
    frame::Frame,
    packet::{Packet, PacketKind},
    wire::{BeforeTcp, Ipv4, Ipv6, Start, Untagged},
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
    /// Of a common shape: the bytes of its tags. What [`Self::destination`] and the fields behind it are is read again then, by [`Self::sent`].
    pub tag_bytes: usize,
    /// Whether it is of a common shape.
    pub is_common: bool,
    /// Whom it is for.
    pub destination: Address,
    /// The source port's two wire bytes, likewise.
    pub source_port_wire: u32,
}

/// What is told of the first packet of a flow besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Whom it is for.
    pub destination: Address,
    /// The source port's two wire bytes, loaded little-endian; 0 where there is none.
    pub source_port_wire: u32,
    /// TCP's flags; 0 where they are not known.
    pub tcp_flags: u8,
}

impl Query {
    /// What `packet`, of a common shape behind `tag_bytes` of tags, asks, from `source`, which is its own.
    #[inline(always)]
    pub(crate) const fn of(packet: &Packet, source: Address, tag_bytes: usize) -> Self {
        Self {
            source,
            port_wire: packet.port_wire,
            kind: packet.kind as u32,
            tag_bytes,
            is_common: true,
            destination: Address::NONE,
            source_port_wire: 0,
        }
    }

    /// What is told of its flow's first packet, which is in `frame`. Of common shapes it is read again: kept, it would cost every packet some words.
    #[inline(always)]
    pub fn sent<F: Frame + ?Sized>(&self, frame: &F) -> Sent {
        if !self.is_common {
            return Sent { destination: self.destination, source_port_wire: self.source_port_wire, tcp_flags: 0 };
        }
        let (destination, ports, flags) = if self.source.is_v6 == 0 {
            let start = frame.start::<Start<Untagged, Ipv4>>(self.tag_bytes);
            let destination = start.map_or(0, |start| u32::from_le(start.ip.destination));
            let tcp = frame.start::<BeforeTcp<Ipv4>>(self.tag_bytes);
            (Address::v4(destination), start.map(|start| start.ports), tcp.map(|start| start.tcp.flags))
        } else {
            let start = frame.start::<Start<Untagged, Ipv6>>(self.tag_bytes);
            let halves = |ip: Ipv6| Address::v6(u64::from_le(ip.destination_hi), u64::from_le(ip.destination_lo));
            let tcp = frame.start::<BeforeTcp<Ipv6>>(self.tag_bytes);
            let destination = start.map_or(Address::v6(0, 0), |start| halves(start.ip));
            (destination, start.map(|start| start.ports), tcp.map(|start| start.tcp.flags))
        };
        let is_tcp = self.kind == PacketKind::Tcp as u32;
        Sent {
            destination,
            source_port_wire: ports.map_or(0, |ports| u32::from(u16::from_le(ports.source_be))),
            tcp_flags: if is_tcp { flags.unwrap_or(0) } else { 0 },
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
            tag_bytes: 0,
            is_common: false,
            destination: address(packet.destination),
            source_port_wire: unknown(u64::from(packet.source_port_wire)) as u32 & 0xffff,
        }
    }
}
