//! Small capture files from the cases' frames: classic pcap in its byte orders and units, and pcapng block by block from the draft
//! (draft-ietf-opsawg-pcapng).

use crate::Seeds;

/// Frames of one file.
const FRAMES: usize = 3;

/// Every file with a name.
pub(crate) fn captures(frames: &Seeds) -> Seeds {
    let frames: Vec<&[u8]> = frames
        .iter()
        .map(|(_, frame)| frame.as_slice())
        .filter(|frame| (1..=80).contains(&frame.len()))
        .take(FRAMES)
        .collect();
    let [little, big] = [false, true].map(|big_endian| Order { big_endian });
    let nanoseconds = little.pcap(0xa1b2_3c4d, &frames);
    let mut cut = nanoseconds.clone();
    cut.truncate(nanoseconds.len() - 7);
    let mut files = vec![
        ("pcap nanoseconds".to_owned(), nanoseconds),
        ("pcap microseconds".to_owned(), little.pcap(0xa1b2_c3d4, &frames)),
        ("pcap big-endian".to_owned(), big.pcap(0xa1b2_c3d4, &frames)),
        ("pcap cut".to_owned(), cut),
    ];
    for order in [little, big] {
        let big_endian = order.big_endian;
        files.push((format!("pcapng big-endian {big_endian}"), order.pcapng(&frames)));
        files.push((format!("pcapng big-endian {big_endian} not Ethernet"), order.not_ethernet(&frames)));
    }
    let two = [little.pcapng(&frames), big.pcapng(&frames)].concat();
    files.push(("pcapng two sections".to_owned(), two));
    files
}

/// The byte order of a file or section.
#[derive(Clone, Copy)]
struct Order {
    big_endian: bool,
}

impl Order {
    fn u32(self, value: u32) -> [u8; 4] {
        if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn u16(self, value: u16) -> [u8; 2] {
        if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn words(self, values: &[u32]) -> Vec<u8> {
        values.iter().flat_map(|value| self.u32(*value)).collect()
    }

    /// A classic file; its magic number tells the unit of time.
    fn pcap(self, magic: u32, frames: &[&[u8]]) -> Vec<u8> {
        let mut file = [&self.u32(magic)[..], &self.u16(2), &self.u16(4), &self.words(&[0, 0, 0x4_0000, 1])].concat();
        for frame in frames {
            let length = frame.len() as u32;
            file.extend(self.words(&[1_700_000_000, 999_999, length, length]));
            file.extend(*frame);
        }
        file
    }

    /// A block: type, length, body padded to 4 bytes, length.
    fn block(self, kind: u32, body: &[u8]) -> Vec<u8> {
        let padded = body.len().next_multiple_of(4);
        let length = self.u32(padded as u32 + 12);
        let mut block = [&self.u32(kind)[..], &length, body].concat();
        block.resize(8 + padded, 0);
        block.extend(length);
        block
    }

    fn section(self) -> Vec<u8> {
        let body = [&self.u32(0x1a2b_3c4d)[..], &self.u16(1), &self.u16(0), &[0xff; 8]].concat();
        self.block(0x0a0d_0d0a, &body)
    }

    /// An interface with options: time unit (9), time offset (14), end.
    fn interface(self, link_type: u16, snapshot_bytes: u32, resolution: u8) -> Vec<u8> {
        let mut body = [&self.u16(link_type)[..], &[0, 0], &self.u32(snapshot_bytes)].concat();
        body.extend([&self.u16(9)[..], &self.u16(1), &[resolution, 0, 0, 0]].concat());
        body.extend([&self.u16(14)[..], &self.u16(8), &[0; 8], &[0; 4]].concat());
        self.block(1, &body)
    }

    /// The second interface counts time in 2^-20 s (0x94) and cuts at 64 bytes.
    fn pcapng(self, frames: &[&[u8]]) -> Vec<u8> {
        let mut file = [self.section(), self.interface(1, 0x4_0000, 9), self.interface(1, 64, 0x94)].concat();
        // A name resolution block, which is passed over.
        file.extend(self.block(4, &[0; 8]));
        for (number, frame) in frames.iter().enumerate() {
            let length = frame.len() as u32;
            let enhanced = [&self.words(&[number as u32 % 2, 0x0006_0a24, 0x1234_5678, length, length])[..], frame];
            file.extend(self.block(6, &enhanced.concat()));
            file.extend(self.block(3, &[&self.u32(length)[..], frame].concat()));
            let obsolete = [&self.u16(1)[..], &self.u16(0xffff), &self.words(&[0, 77, length, length]), frame];
            file.extend(self.block(2, &obsolete.concat()));
        }
        file
    }

    fn not_ethernet(self, frames: &[&[u8]]) -> Vec<u8> {
        let mut file = [self.section(), self.interface(113, 0, 6)].concat();
        for frame in frames {
            let length = frame.len() as u32;
            file.extend(self.block(6, &[&self.words(&[0, 0, 0, length, length])[..], frame].concat()));
        }
        file
    }
}
