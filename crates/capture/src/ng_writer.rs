//! Frames -> pcapng, little-endian, link type Ethernet, with what classic pcap has no room for: which interface, which verdict, what was lost in
//! between, and words. Knows the format and nothing of what is written in it.

use std::io::{self, Write};

use super::frame::{LINKTYPE_ETHERNET, MAX_FRAME_BYTES};
use nodewall_text::plain;

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const INTERFACE_STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;

/// Options of any block.
const COMMENT: u16 = 1;
/// Longest value of an option that is written: below what 16 bits hold, and a multiple of 4.
const MAX_OPTION_BYTES: usize = 65_532;

/// The verdict of an XDP program on a frame (`epb_verdict`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpVerdict {
    /// `XDP_DROP`.
    Drop = 1,
    /// `XDP_PASS`.
    Pass = 2,
}

/// What a section says of itself. Empty texts are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SectionInfo {
    /// The machine.
    pub hardware: String,
    /// The operating system.
    pub os: String,
    /// The program that wrote it.
    pub application: String,
    /// Comments, each an option of its own.
    pub comments: Vec<String>,
}

/// A frame to be written.
#[derive(Clone, Debug)]
pub struct NgFrame<'a> {
    /// Number of the interface, as [`PcapNgWriter::interface`] gave it.
    pub interface: u32,
    /// Nanoseconds since 1970.
    pub timestamp_ns: u64,
    /// The frame's length on the wire, bytes.
    pub original_len: u32,
    /// The captured bytes, from the Ethernet header on.
    pub data: &'a [u8],
    /// What became of it. `None`: not said.
    pub verdict: Option<XdpVerdict>,
    /// How many frames are missing between the one before it on this interface and this one; 0 is not written.
    pub lost_before: u64,
    /// A number that finds it again elsewhere.
    pub packet_id: Option<u64>,
    /// Words. Empty: none.
    pub comment: &'a str,
}

/// What there is to say of an interface at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NgStatistics {
    /// The first frame's time, ns since 1970.
    pub first_ns: Option<u64>,
    /// The last one's.
    pub last_ns: u64,
    /// Frames that are in the file.
    pub written: u64,
    /// Frames that should be and are not.
    pub lost: u64,
}

/// Writes one section. Many small writes: give it a buffered writer.
#[derive(Debug)]
pub struct PcapNgWriter<W> {
    writer: W,
    interfaces: Vec<String>,
}

impl<W: Write> PcapNgWriter<W> {
    /// Writes the section's header.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn new(writer: W, info: &SectionInfo) -> io::Result<Self> {
        let mut this = Self { writer, interfaces: Vec::new() };
        let mut body = Body::default();
        body.u32(BYTE_ORDER);
        // Version 1.0, length not told: the section ends with the file.
        body.u32(1);
        body.u64(u64::MAX);
        for comment in &info.comments {
            body.text(COMMENT, comment);
        }
        for (code, text) in [(2, &info.hardware), (3, &info.os), (4, &info.application)] {
            body.text(code, text);
        }
        this.block(SECTION_HEADER, body)?;
        Ok(this)
    }

    /// The number of the interface with this name; described in the file when it is new.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn interface(&mut self, name: &str) -> io::Result<u32> {
        if let Some(known) = self.interfaces.iter().position(|known| known == name) {
            return Ok(known as u32);
        }
        let mut body = Body::default();
        body.u32(LINKTYPE_ETHERNET);
        body.u32(MAX_FRAME_BYTES);
        body.text(2, name);
        // Times are in units of 10^-9 s.
        body.option(9, &[9]);
        self.block(INTERFACE_DESCRIPTION, body)?;
        self.interfaces.push(name.to_owned());
        Ok(self.interfaces.len() as u32 - 1)
    }

    /// Writes one frame.
    ///
    /// # Errors
    /// When the writer fails; or, with nothing written, when the frame is longer than [`MAX_FRAME_BYTES`] or of an interface that is not described.
    pub fn frame(&mut self, frame: &NgFrame<'_>) -> io::Result<()> {
        let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidInput, what);
        let captured =
            u32::try_from(frame.data.len()).ok().filter(|&length| length <= MAX_FRAME_BYTES).ok_or_else(|| {
                invalid(format!("a frame of {} bytes; a capture holds at most {MAX_FRAME_BYTES}", frame.data.len()))
            })?;
        if frame.interface as usize >= self.interfaces.len() {
            return Err(invalid(format!("a frame of interface {}, which is not described", frame.interface)));
        }
        let mut body = Body::default();
        body.u32(frame.interface);
        body.bytes(&time(frame.timestamp_ns));
        body.u32(captured);
        body.u32(frame.original_len.max(captured));
        body.bytes(frame.data);
        body.text(COMMENT, frame.comment);
        // Flags: inbound.
        body.option(2, &1_u32.to_le_bytes());
        if frame.lost_before > 0 {
            body.option(4, &frame.lost_before.to_le_bytes());
        }
        if let Some(id) = frame.packet_id {
            body.option(5, &id.to_le_bytes());
        }
        if let Some(verdict) = frame.verdict {
            // Kind 2: the return value of an XDP program, as linux/bpf.h numbers it.
            let mut value = vec![2];
            value.extend((verdict as u64).to_le_bytes());
            body.option(7, &value);
        }
        self.block(ENHANCED_PACKET, body)
    }

    /// Says at the end how much of an interface is in the file.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn statistics(&mut self, interface: u32, statistics: &NgStatistics, comment: &str) -> io::Result<()> {
        let mut body = Body::default();
        body.u32(interface);
        body.bytes(&time(statistics.last_ns));
        body.text(COMMENT, comment);
        if let Some(first_ns) = statistics.first_ns {
            body.option(2, &time(first_ns));
            body.option(3, &time(statistics.last_ns));
        }
        // Dropped by the operating system, as nodewall's own buffers are part of it to a reader; delivered to the user.
        body.option(7, &statistics.lost.to_le_bytes());
        body.option(8, &statistics.written.to_le_bytes());
        self.block(INTERFACE_STATISTICS, body)
    }

    /// Where it is written to.
    pub fn get_ref(&self) -> &W {
        &self.writer
    }

    /// Sends out what is held back.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }

    /// Flushes, and hands the writer back.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn finish(mut self) -> io::Result<W> {
        self.writer.flush()?;
        Ok(self.writer)
    }

    /// In one write, so that a reader of a pipe sees it whole.
    fn block(&mut self, kind: u32, mut body: Body) -> io::Result<()> {
        if body.has_options {
            body.bytes(&[0; 4]);
        }
        let length = (body.bytes.len() as u32 + 12).to_le_bytes();
        let mut block = Vec::with_capacity(body.bytes.len() + 12);
        block.extend(kind.to_le_bytes());
        block.extend(length);
        block.extend(body.bytes);
        block.extend(length);
        self.writer.write_all(&block)
    }
}

/// The upper half comes first, whatever the byte order.
fn time(time_ns: u64) -> [u8; 8] {
    time_ns.rotate_left(32).to_le_bytes()
}

/// What stands between a block's two lengths.
#[derive(Default)]
struct Body {
    bytes: Vec<u8>,
    has_options: bool,
}

impl Body {
    fn u32(&mut self, value: u32) {
        self.bytes.extend(value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.bytes.extend(value.to_le_bytes());
    }

    /// Padded to 4 bytes.
    fn bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn option(&mut self, code: u16, value: &[u8]) {
        self.has_options = true;
        self.bytes.extend(code.to_le_bytes());
        // Callers keep to MAX_OPTION_BYTES.
        self.bytes.extend((value.len() as u16).to_le_bytes());
        self.bytes(value);
    }

    /// Text that is safe for a terminal: no reader's screen obeys what others put in. Nothing if empty.
    fn text(&mut self, code: u16, text: &str) {
        if text.is_empty() {
            return;
        }
        let text = plain(text);
        let end = (0..=text.len().min(MAX_OPTION_BYTES)).rev().find(|&end| text.is_char_boundary(end));
        self.option(code, text.get(..end.unwrap_or(0)).unwrap_or_default().as_bytes());
    }
}
