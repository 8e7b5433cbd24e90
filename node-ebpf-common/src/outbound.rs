//! What an outbound frame is counted as. It judges nothing: what a node sends is never dropped.
//!
//! Every outbound frame moves exactly one cell of a row: by its destination port where the policy names it (this node asks), else by its source
//! port (this node answers), else as traffic that the policy does not name. Frames to Mission Control move one more cell, on a row that no port
//! ever has, so that the sum over all other rows stays the number of frames.

use core::hint::cold_path;

use crate::{
    address::Address,
    counter::{ROW_FIRST, ROW_IP_TUNNELS, ROW_LATER_FRAGMENTS, ROW_MISSION_CONTROL, ROW_PORTLESS, ROWS},
    frame::Frame,
    packet::{self, Packet, PacketKind},
    policy::PolicyImage,
    verifier::rebound,
};

/// Which of its two cells on a row an outbound frame moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
pub enum Sent {
    /// To the row's port; also what has no named port at all.
    ToPort = 0,
    /// From the row's port: an answer.
    FromPort = 1,
}

impl Sent {
    /// Both, in the order of their numbers.
    pub const ALL: [Self; CELLS_PER_ROW as usize] = [Self::ToPort, Self::FromPort];
}

/// Cells that a row has.
pub const CELLS_PER_ROW: u32 = 2;
/// All cells.
pub const CELLS: u32 = ROWS * CELLS_PER_ROW;
/// The cell of what goes to Mission Control, which is counted on a row as well.
pub const CELL_MISSION_CONTROL: u32 = cell(ROW_MISSION_CONTROL, Sent::ToPort);

/// The cell of a row.
#[inline(always)]
pub const fn cell(row: u32, sent: Sent) -> u32 {
    row * CELLS_PER_ROW + sent as u32
}

/// How an outbound frame is accounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outbound {
    /// Counter row.
    pub row: u32,
    /// Number of the [`Sent`].
    pub sent: u32,
    /// 1: it goes to Mission Control.
    pub mission_control: u32,
    /// Number of the peer that it goes to on a row of a named port; 0: none, or nobody asks.
    pub peer: u32,
}

impl Outbound {
    #[inline(always)]
    const fn on(row: u32) -> Self {
        Self { row, sent: Sent::ToPort as u32, mission_control: 0, peer: 0 }
    }

    /// Its cell on its row.
    #[inline(always)]
    pub const fn cell(&self) -> u32 {
        self.row * CELLS_PER_ROW + self.sent
    }
}

/// How `frame`, which this node sends, is accounted under `image`.
#[inline(always)]
pub fn account<F: Frame + ?Sized>(frame: &F, image: &PolicyImage) -> Outbound {
    let (mut outbound, destination) = on_its_row(frame, image);
    if image.per_peer != 0 && outbound.row >= ROW_FIRST {
        outbound.peer = image.peer_at(frame, destination);
    }
    outbound
}

#[inline(always)]
fn on_its_row<F: Frame + ?Sized>(frame: &F, image: &PolicyImage) -> (Outbound, Address) {
    if let Some(packet) = packet::common(frame) {
        return (by_port(frame, image, &packet), packet.destination);
    }
    cold_path();
    let packet = packet::walk(&frame.forgotten(image.zero), image.zero);
    let outbound = match packet.kind {
        PacketKind::Tcp | PacketKind::Udp => by_port(frame, image, &packet),
        PacketKind::Tunnel => Outbound::on(ROW_IP_TUNNELS),
        PacketKind::LaterFragment => Outbound::on(ROW_LATER_FRAGMENTS),
        PacketKind::Portless | PacketKind::Settled => Outbound::on(ROW_PORTLESS),
    };
    // So that the verifier follows what comes now once, not for each shape.
    let row = rebound::<F, { ROWS as usize - 1 }>(frame, image.zero, outbound.row as usize) as u32;
    let sent = rebound::<F, 1>(frame, image.zero, outbound.sent as usize) as u32;
    let mission_control = rebound::<F, 1>(frame, image.zero, outbound.mission_control as usize) as u32;
    (Outbound { row, sent, mission_control, peer: 0 }, packet.destination)
}

#[inline(always)]
fn by_port<F: Frame + ?Sized>(frame: &F, image: &PolicyImage, packet: &Packet) -> Outbound {
    let to = image.row_of(packet.kind as u32, packet.port_wire);
    let from = image.row_of(packet.kind as u32, packet.source_port_wire);
    let answers = to < ROW_FIRST && from >= ROW_FIRST;
    let (row, sent) = if answers { (from, Sent::FromPort) } else { (to, Sent::ToPort) };
    let mut outbound = Outbound { row, sent: sent as u32, mission_control: 0, peer: 0 };
    if packet.kind as u32 == PacketKind::Tcp as u32 && packet.port_wire == image.mission_port_wire {
        cold_path();
        outbound.mission_control = image.is_mission_control(frame, packet.destination);
    }
    outbound
}

const _: () = assert!(ROW_MISSION_CONTROL != ROW_PORTLESS && ROW_MISSION_CONTROL < ROW_FIRST);
