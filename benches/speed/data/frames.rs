//! The measured frames: shapes and what is asked of the policy, one hot flow or a mix of 65,536 sources and ports. Builds them; says nothing about
//! what must come of them, that is the host's verdict function.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result, anyhow};
use etherparse::PacketBuilder;
use node_ebpf_common::{PolicyImage, counter::ROW_FIRST, counter::ROW_TCP_UNMANAGED, packet::TABLE_TCP};
use serde::Serialize;
use zerocopy::FromZeros;

use super::sources::{OUTSIDER_V4, OUTSIDER_V6, Sources, v6};
use crate::random::Random;

/// A port for peers only, one for everyone, one that the policy does not name.
const CLUSTER_PORT: u16 = 9042;
const SOURCE_PORT: u16 = 40_000;
const PUBLIC_PORT: u16 = 443;
const UNMANAGED_PORT: u16 = 33_333;
/// Shorter frames are padded to the shortest that Ethernet has (without its checksum: 60), rounded up as others measure.
const SHORTEST_BYTES: usize = 64;
/// Entries of a mix.
pub const MIX_ENTRIES: usize = 65_536;
/// Words before a mix's entries.
pub const MIX_HEAD_WORDS: usize = 8;
/// A mix as the kernel's map has it.
pub type MixWords = [u64; MIX_HEAD_WORDS + MIX_ENTRIES];

/// How a frame is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Shape {
    /// IPv4 in Ethernet.
    V4,
    /// IPv6 in Ethernet.
    V6,
    /// IPv4 behind one VLAN tag.
    TaggedV4,
}

/// Who sends it to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Asks {
    /// A peer, a cluster port.
    Peer,
    /// Somebody else, a cluster port.
    Outsider,
    /// Somebody else, a public port.
    Public,
    /// Somebody else, a port that the policy does not name.
    Unmanaged,
    /// 65,536 sources and ports: half peers, half not; half cluster ports, a quarter public, a quarter any other.
    Mixed,
    /// 65,536 sources, none a peer, to one cluster port.
    Flood,
}

impl Asks {
    /// Each of a hot flow.
    pub const HOT: [Self; 4] = [Self::Peer, Self::Outsider, Self::Public, Self::Unmanaged];
}

/// One kind of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Traffic {
    /// How its frames are built.
    pub shape: Shape,
    /// Who asks for what.
    pub asks: Asks,
}

impl Traffic {
    pub const fn new(shape: Shape, asks: Asks) -> Self {
        Self { shape, asks }
    }

    /// Whether it is more than one flow.
    pub const fn is_mixed(self) -> bool {
        matches!(self.asks, Asks::Mixed | Asks::Flood)
    }

    /// For people.
    pub fn name(self) -> String {
        let shape = match self.shape {
            Shape::V4 => "IPv4",
            Shape::V6 => "IPv6",
            Shape::TaggedV4 => "VLAN",
        };
        let asks = match self.asks {
            Asks::Peer => "peer -> 9042",
            Asks::Outsider => "outsider -> 9042",
            Asks::Public => "outsider -> 443",
            Asks::Unmanaged => "unmanaged port",
            Asks::Mixed => "mixed",
            Asks::Flood => "flood of 9042",
        };
        format!("{shape} {asks}")
    }

    /// The frame of a hot flow, or the one that a mix is written into.
    pub fn frame(self, sources: &Sources) -> Result<Vec<u8>> {
        let from_peer = self.asks == Asks::Peer;
        let port = match self.asks {
            Asks::Public => PUBLIC_PORT,
            Asks::Unmanaged => UNMANAGED_PORT,
            _ => CLUSTER_PORT,
        };
        let link = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1]);
        let v4 = if from_peer { first(&sources.peers_v4)? } else { OUTSIDER_V4 }.octets();
        let network = match self.shape {
            Shape::V4 => link.ipv4(v4, [10, 255, 255, 1], 64),
            Shape::TaggedV4 => link.single_vlan(7.try_into()?).ipv4(v4, [10, 255, 255, 1], 64),
            Shape::V6 => {
                let source: Ipv6Addr = if from_peer { first(&sources.peers_v6)? } else { OUTSIDER_V6 };
                link.ipv6(source.octets(), v6(0x00ff_ff01).octets(), 64)
            }
        };
        let segment = network.tcp(SOURCE_PORT, port, 1, 65_535).syn();
        let payload = vec![0; SHORTEST_BYTES.saturating_sub(segment.size(0))];
        let mut frame = Vec::with_capacity(segment.size(payload.len()));
        segment.write(&mut frame, &payload)?;
        Ok(frame)
    }

    /// The mix of this traffic; each entry is the last four bytes of a source (low half) and the four of both ports, as they lie on the wire.
    pub fn mix(self, sources: &Sources, seed: u64) -> Result<Vec<u64>> {
        let mut random = Random::new(seed ^ self.shape as u64);
        let ports = Ports::of(&sources.compiled.image);
        (0..MIX_ENTRIES)
            .map(|_| self.entry(sources, &ports, &mut random).context("a mix without ports or peers"))
            .collect()
    }

    fn entry(self, sources: &Sources, ports: &Ports, random: &mut Random) -> Option<u64> {
        let is_peer = self.asks == Asks::Mixed && random.below(2) == 0;
        let address = match self.shape {
            Shape::V4 | Shape::TaggedV4 if is_peer => random.of(&sources.peers_v4)?,
            // 11.0.0.0/8
            Shape::V4 | Shape::TaggedV4 => Ipv4Addr::from_bits(11 << 24 | random.next() as u32 >> 8),
            Shape::V6 if is_peer => Ipv4Addr::from_bits(random.of(&sources.peers_v6)?.to_bits() as u32),
            // The half of the network where no peer is.
            Shape::V6 => Ipv4Addr::from_bits(1 << 31 | random.next() as u32),
        };
        let port = match random.below(4) {
            _ if self.asks == Asks::Flood => CLUSTER_PORT,
            0 | 1 => random.of(&ports.cluster)?,
            2 => random.of(&ports.public)?,
            _ => random.of(&ports.unmanaged)?,
        };
        let [[s0, s1], [d0, d1]] = [SOURCE_PORT, port].map(u16::to_be_bytes);
        let [a0, a1, a2, a3] = address.octets();
        Some(u64::from_le_bytes([a0, a1, a2, a3, s0, s1, d0, d1]))
    }

    /// A mix as the kernel wants it: from the first entry, for frames of this shape.
    pub fn mix_words(self, mix: &[u64]) -> Result<Box<MixWords>> {
        let mut words = MixWords::new_box_zeroed().map_err(|_| anyhow!("no memory for a mix"))?;
        let head = [0, self.shape as u64].into_iter().chain([0; MIX_HEAD_WORDS - 2]);
        for (word, value) in words.iter_mut().zip(head.chain(mix.iter().copied())) {
            *word = value;
        }
        Ok(words)
    }

    /// `frame` with an entry of a mix in it: on the host what the kernel's prologue does.
    pub fn with(self, frame: &[u8], entry: u64) -> Vec<u8> {
        let mut frame = frame.to_vec();
        let (address, ports) = match self.shape {
            Shape::V4 => (14 + 12, 14 + 20),
            Shape::V6 => (14 + 8 + 12, 14 + 40),
            Shape::TaggedV4 => (18 + 12, 18 + 20),
        };
        let bytes = entry.to_le_bytes();
        for (at, value) in (address..address + 4).chain(ports..ports + 4).zip(bytes) {
            if let Some(byte) = frame.get_mut(at) {
                *byte = value;
            }
        }
        frame
    }
}

fn first<T: Copy>(values: &[T]) -> Result<T> {
    values.first().copied().context("a policy without peers")
}

/// TCP ports by what the policy says of them.
struct Ports {
    cluster: Vec<u16>,
    public: Vec<u16>,
    unmanaged: Vec<u16>,
}

impl Ports {
    fn of(image: &PolicyImage) -> Self {
        let mut ports = Self { cluster: Vec::new(), public: Vec::new(), unmanaged: Vec::new() };
        for port in 1..=u16::MAX {
            let number = image.row_of(TABLE_TCP, u32::from(port.swap_bytes()));
            if number == ROW_TCP_UNMANAGED {
                ports.unmanaged.push(port);
            } else if number >= ROW_FIRST && image.row(number).allow != 0 {
                ports.cluster.push(port);
            } else if number >= ROW_FIRST {
                ports.public.push(port);
            }
        }
        ports
    }
}
