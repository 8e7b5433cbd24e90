//! Small capture files from the cases' frames: classic pcap by the project's writer, its other byte orders and units, and pcapng block by block
//! from the draft (draft-ietf-opsawg-pcapng).

use std::io;

use nodewall::capture::PcapWriter;

use crate::Seeds;

/// Frames of one file.
const FRAMES: usize = 3;

/// Every file with a name.
pub(crate) fn captures(frames: &Seeds) -> io::Result<Seeds> {
    let frames: Vec<&[u8]> = frames
        .iter()
        .map(|(_, frame)| frame.as_slice())
        .filter(|frame| (1..=80).contains(&frame.len()))
        .take(FRAMES)
        .collect();
    let mut pcap = PcapWriter::new(Vec::new())?;
    for (number, frame) in (1_u64..).zip(&frames) {
        pcap.write(number * 1_500_000_001, frame.len() as u32, frame)?;
    }
    let nanoseconds = pcap.finish()?;
    let mut microseconds = nanoseconds.clone();
    microseconds.splice(..4, 0xa1b2_c3d4_u32.to_le_bytes());
    let mut cut = nanoseconds.clone();
    cut.truncate(nanoseconds.len() - 7);
    let mut files = vec![
        ("pcap nanoseconds".to_owned(), nanoseconds),
        ("pcap microseconds".to_owned(), microseconds),
        ("pcap big-endian".to_owned(), big_endian_pcap(&frames)),
        ("pcap cut".to_owned(), cut),
    ];
    for big_endian in [false, true] {
        let order = Order { big_endian };
        files.push((format!("pcapng big-endian {big_endian}"), order.pcapng(&frames)));
        files.push((format!("pcapng big-endian {big_endian} not Ethernet"), order.not_ethernet(&frames)));
    }
    let two = [Order { big_endian: false }.pcapng(&frames), Order { big_endian: true }.pcapng(&frames)].concat();
    files.push(("pcapng two sections".to_owned(), two));
    Ok(files)
}

fn big_endian_pcap(frames: &[&[u8]]) -> Vec<u8> {
    let mut file = 0xa1b2_c3d4_u32.to_be_bytes().to_vec();
    file.extend([0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 1]);
    for frame in frames {
        let length = frame.len() as u32;
        file.extend([1_700_000_000, 999_999, length, length].map(u32::to_be_bytes).concat());
        file.extend(*frame);
    }
    file
}

/// The byte order of a section.
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
