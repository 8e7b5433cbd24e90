//! Frames -> a classic pcap file with nanosecond times, little-endian, link type Ethernet.

use std::io::{self, Write};

use super::{CapturedFrame, LINKTYPE_ETHERNET, MAX_FRAME_BYTES};

const MAGIC_NANOSECONDS: u32 = 0xa1b2_3c4d;
const NS_PER_SECOND: u64 = 1_000_000_000;

/// Writes frames to a pcap file. Many small writes: give it a buffered writer.
#[derive(Debug)]
pub struct PcapWriter<W> {
    writer: W,
}

impl<W: Write> PcapWriter<W> {
    /// Writes the file's header.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn new(mut writer: W) -> io::Result<Self> {
        let mut header = Vec::with_capacity(24);
        header.extend(MAGIC_NANOSECONDS.to_le_bytes());
        // Version 2.4.
        header.extend([2, 0, 4, 0]);
        // Time zone and accuracy: always 0.
        header.extend([0; 8]);
        header.extend(MAX_FRAME_BYTES.to_le_bytes());
        header.extend(LINKTYPE_ETHERNET.to_le_bytes());
        writer.write_all(&header)?;
        Ok(Self { writer })
    }

    /// Writes one frame: its time in nanoseconds since 1970, its length on the wire, its captured bytes.
    ///
    /// # Errors
    /// When the writer fails; or, with nothing written, when the frame is longer than [`MAX_FRAME_BYTES`] or its time is
    /// past 2106, which this format can not hold.
    pub fn write(&mut self, timestamp_ns: u64, original_len: u32, data: &[u8]) -> io::Result<()> {
        let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidInput, what);
        let captured = u32::try_from(data.len()).ok().filter(|&length| length <= MAX_FRAME_BYTES).ok_or_else(|| {
            invalid(format!("a frame of {} bytes; a capture holds at most {MAX_FRAME_BYTES}", data.len()))
        })?;
        let seconds = u32::try_from(timestamp_ns / NS_PER_SECOND)
            .map_err(|_| invalid(format!("time {timestamp_ns} ns is past 2106, which pcap can not hold")))?;
        let fraction = (timestamp_ns % NS_PER_SECOND) as u32;
        let mut record = Vec::with_capacity(16 + data.len());
        for field in [seconds, fraction, captured, original_len] {
            record.extend(field.to_le_bytes());
        }
        record.extend(data);
        self.writer.write_all(&record)
    }

    /// Flushes, and hands the writer back.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn finish(mut self) -> io::Result<W> {
        self.writer.flush()?;
        Ok(self.writer)
    }
}

/// Writes a whole pcap file and hands the writer back, flushed. Frame and interface numbers are not kept.
///
/// # Errors
/// As [`PcapWriter::write`].
pub fn write_pcap<'a, W: Write>(writer: W, frames: impl IntoIterator<Item = &'a CapturedFrame>) -> io::Result<W> {
    let mut pcap = PcapWriter::new(writer)?;
    for frame in frames {
        pcap.write(frame.timestamp_ns, frame.original_len, &frame.data)?;
    }
    pcap.finish()
}
