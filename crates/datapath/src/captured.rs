//! A captured frame, from the bytes that the kernel hands out. It must not know where they come from.

use node_ebpf_common::{
    capture::{BESIDE, Beside},
    flow::FlowEntry,
    wire::{ETHERNET_BYTES, ETHERTYPE_OFFSET, VLAN_TAG_BYTES},
};
use zerocopy::FromBytes;

/// A captured frame as the kernel gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// The flow at its first frame, and when that was.
    pub entry: FlowEntry,
    /// CPU that judged it.
    pub cpu: u32,
    /// The frame's first bytes.
    pub frame: Vec<u8>,
}

impl Captured {
    /// From a record, which ends with padding.
    pub(super) fn read(cpu: u32, record: &[u8], snap_bytes: usize) -> Option<Self> {
        let (entry, rest) = record.split_at_checked(size_of::<FlowEntry>())?;
        let mut entry = FlowEntry::read_from_bytes(entry).ok()?;
        let mut frame = if entry.first.boot_ns & BESIDE == 0 {
            rest.to_vec()
        } else {
            entry.first.boot_ns &= !BESIDE;
            let (beside, buffer) = rest.split_first_chunk()?;
            whole(Beside(u64::from_le_bytes(*beside)), buffer)
        };
        frame.truncate((entry.first.frame_bytes() as usize).min(snap_bytes));
        Some(Self { entry, cpu, frame })
    }
}

/// The frame whose buffer this is. A packet gets an Ethernet header with addresses of zeros, so that whoever reads captures can read it.
fn whole(beside: Beside, buffer: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(ETHERNET_BYTES + VLAN_TAG_BYTES + buffer.len());
    let (addresses, rest) = if beside.protocol().is_some() {
        (&[0; ETHERTYPE_OFFSET][..], buffer)
    } else {
        buffer.split_at_checked(ETHERTYPE_OFFSET).unwrap_or((buffer, &[]))
    };
    frame.extend(addresses);
    frame.extend(beside.tag().iter().flatten());
    frame.extend(beside.protocol().iter().flatten());
    frame.extend(rest);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use node_ebpf_common::flow::FirstFrame;
    use zerocopy::IntoBytes;

    const ADDRESSES: [u8; 12] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];

    /// What a record of this frame reads as, of which `snap_bytes` are kept.
    fn read(beside: Option<Beside>, buffer: &[u8], snap_bytes: usize) -> Captured {
        let bytes = buffer.len() as u64 + beside.map_or(0, Beside::bytes);
        let marked = if beside.is_some() { BESIDE } else { 0 };
        let first = FirstFrame { link: FirstFrame::link(7, bytes), boot_ns: 5 | marked, ..FirstFrame::default() };
        let entry = FlowEntry { first, ..FlowEntry::default() };
        let beside = beside.map(|beside| beside.0.to_le_bytes());
        let record = [entry.as_bytes(), beside.as_ref().map_or(&[], |word| word), buffer, &[0xee; 7]].concat();
        Captured::read(1, &record, snap_bytes).unwrap()
    }

    #[test]
    fn a_frame_is_as_it_was_on_the_wire() {
        let packet = [&[0x45][..], &[7; 30]].concat();
        let tag = Beside::default().with_tag(0x88a8_u16.to_be(), 0x2007);
        let frame = [&ADDRESSES[..], &[8, 0], &packet].concat();
        let tagged = [&ADDRESSES[..], &[0x88, 0xa8, 0x20, 0x07, 8, 0], &packet].concat();
        let behind_header = [&[0; 12][..], &[8, 0], &packet].concat();
        let tagged_behind_header = [&[0; 12][..], &[0x88, 0xa8, 0x20, 0x07, 8, 0], &packet].concat();
        for (beside, buffer, expected) in [
            (None, &frame, &frame),
            (Some(Beside::default()), &frame, &frame),
            (Some(tag), &frame, &tagged),
            (Some(Beside::default().with_protocol(0x0800_u16.to_be())), &packet, &behind_header),
            (Some(tag.with_protocol(0x0800_u16.to_be())), &packet, &tagged_behind_header),
        ] {
            let captured = read(beside, buffer, 300);
            assert_eq!(captured.frame, *expected, "{beside:x?}");
            assert_eq!(captured.entry.first.boot_ns, 5, "the mark is no part of the time");
            assert_eq!(read(beside, buffer, 20).frame, expected[..20], "{beside:x?}");
        }
    }
}
