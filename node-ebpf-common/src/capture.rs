//! A captured frame as the kernel hands it out: the flow's entry, then the frame's first bytes. Between the two stands, where the entry says so, what of the
//! frame a socket buffer does not have. It must not know why a frame is captured.

use crate::wire::{ETHERNET_BYTES, VLAN_TAG_BYTES};

/// In [`crate::flow::FirstFrame::boot_ns`] of a capture: a [`Beside`] follows the entry. The clock gets there after 292 years.
pub const BESIDE: u64 = 1 << 63;

/// What of a frame is not in its buffer: a VLAN tag, or the whole link-layer header where there never was one. One word, from the lowest bit: 16 of the tag's
/// type, 16 of its control information, 16 of the packet's `EtherType`, each the wire's bytes read little-endian; all of them 0 where there is no such thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beside(pub u64);

const CONTROL_SHIFT: u32 = 16;
const PROTOCOL_SHIFT: u32 = 32;

impl Beside {
    /// A tag: its type as on the wire, its control information as a number.
    #[inline(always)]
    #[must_use]
    pub const fn with_tag(self, kind_wire: u16, control: u16) -> Self {
        Self(self.0 | kind_wire as u64 | (control.to_be() as u64) << CONTROL_SHIFT)
    }

    /// A packet without a link-layer header.
    #[inline(always)]
    #[must_use]
    pub const fn with_protocol(self, protocol_wire: u16) -> Self {
        Self(self.0 | (protocol_wire as u64) << PROTOCOL_SHIFT)
    }

    /// The tag's four bytes.
    pub const fn tag(self) -> Option<[u8; VLAN_TAG_BYTES]> {
        let [a, b, c, d, ..] = self.0.to_le_bytes();
        if self.0 as u32 == 0 { None } else { Some([a, b, c, d]) }
    }

    /// The `EtherType` of a packet without a link-layer header.
    pub const fn protocol(self) -> Option<[u8; 2]> {
        let [_, _, _, _, a, b, ..] = self.0.to_le_bytes();
        if self.0 >> PROTOCOL_SHIFT == 0 { None } else { Some([a, b]) }
    }

    /// By how many bytes the frame is longer than its buffer.
    #[inline(always)]
    pub const fn bytes(self) -> u64 {
        let tag_bytes = if self.0 as u32 == 0 { 0 } else { VLAN_TAG_BYTES };
        let header_bytes = if self.0 >> PROTOCOL_SHIFT == 0 { 0 } else { ETHERNET_BYTES };
        (tag_bytes + header_bytes) as u64
    }
}
