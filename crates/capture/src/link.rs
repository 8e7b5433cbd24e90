//! Link types -> Ethernet: what was captured with another link-layer header, or without one, gets an Ethernet header in its place, so that all that follows
//! knows one kind of frame. What each type looks like is told at <https://www.tcpdump.org/linktypes.html>. It must not know what is in the packet.

use bytes::Bytes;

use super::frame::{LINKTYPE_ETHERNET, MAX_FRAME_BYTES};

const ETHERNET_BYTES: usize = 14;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
/// No length and no protocol: a packet of which nothing is known but that it is no IP packet.
const NEITHER: u16 = 0;

/// What a frame begins with, as far as it can be made an Ethernet frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Ethernet,
    /// The packet itself: IPv4 or IPv6, its first bits say which.
    Raw,
    /// BSD loopback: an address family, in the byte order of whoever captured (`NULL`) or big-endian (`LOOP`).
    Family,
    /// What Linux' `any` gives (`LINUX_SLL`).
    Cooked,
    /// The same since libpcap 1.10 (`LINUX_SLL2`).
    Cooked2,
}

impl Link {
    pub(super) fn of(link_type: u32) -> Option<Self> {
        match link_type {
            LINKTYPE_ETHERNET => Some(Self::Ethernet),
            0 | 108 => Some(Self::Family),
            // 12 and 14: what `DLT_RAW` is on one system or another, and what old tools wrote.
            12 | 14 | 101 | 228 | 229 => Some(Self::Raw),
            113 => Some(Self::Cooked),
            276 => Some(Self::Cooked2),
            _ => None,
        }
    }

    /// How long its header is.
    fn header_bytes(self) -> usize {
        match self {
            Self::Ethernet => ETHERNET_BYTES,
            Self::Raw => 0,
            Self::Family => 4,
            Self::Cooked => 16,
            Self::Cooked2 => 20,
        }
    }

    /// The frame with an Ethernet header, and its length on the wire. Where not even its own header was captured, nothing of it is left.
    pub(super) fn to_ethernet(self, data: Bytes, original_len: u32) -> (Bytes, u32) {
        if self == Self::Ethernet {
            return (data, original_len);
        }
        let header_bytes = self.header_bytes();
        let packet_len = original_len.saturating_sub(header_bytes as u32);
        let original_len = packet_len.saturating_add(ETHERNET_BYTES as u32);
        let (Some(packet), Some((sender, protocol))) = (data.get(header_bytes..), self.read(&data)) else {
            return (Bytes::new(), original_len);
        };
        let mut frame = Vec::with_capacity(ETHERNET_BYTES + packet.len());
        frame.extend([0; 6]);
        frame.extend(sender);
        frame.extend(protocol.to_be_bytes());
        frame.extend(packet);
        frame.truncate(MAX_FRAME_BYTES as usize);
        (frame.into(), original_len)
    }

    /// The link-layer sender, zeros where it is not told, and the `EtherType`; `None`: the data ends before that.
    fn read(self, data: &[u8]) -> Option<([u8; 6], u16)> {
        match self {
            Self::Ethernet => None,
            Self::Raw => {
                let protocol = match data.first()? >> 4 {
                    4 => IPV4,
                    6 => IPV6,
                    _ => NEITHER,
                };
                Some(([0; 6], protocol))
            }
            Self::Family => {
                let protocol = match data.first_chunk::<4>()? {
                    [2, 0, 0, 0] | [0, 0, 0, 2] => IPV4,
                    // Of the several BSDs.
                    [24 | 28 | 30, 0, 0, 0] | [0, 0, 0, 24 | 28 | 30] => IPV6,
                    _ => NEITHER,
                };
                Some(([0; 6], protocol))
            }
            Self::Cooked => {
                let header = data.first_chunk::<16>()?;
                let [_, _, a, b, l, m, sender @ .., _, _, p, q] = *header;
                Some(cooked([a, b], u16::from_be_bytes([l, m]), sender, [p, q]))
            }
            Self::Cooked2 => {
                let header = data.first_chunk::<20>()?;
                let [p, q, _, _, _, _, _, _, a, b, _, l, sender @ .., _, _] = *header;
                Some(cooked([a, b], l.into(), sender, [p, q]))
            }
        }
    }
}

/// Whether the field is an `EtherType` depends on the kind of device.
fn cooked(device: [u8; 2], sender_bytes: u16, sender: [u8; 6], protocol: [u8; 2]) -> ([u8; 6], u16) {
    let protocol = match u16::from_be_bytes(device) {
        // Frame Relay, 802.11 with its radiotap header, netlink.
        770 | 803 | 824 => NEITHER,
        _ => u16::from_be_bytes(protocol),
    };
    (if sender_bytes == 6 { sender } else { [0; 6] }, protocol)
}
