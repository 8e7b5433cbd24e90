//! Capture files -> frames: classic pcap and pcapng in, one `bytes::Bytes` per frame out; and the small writers for the way
//! back. Opens no interface, and knows nothing of what a frame's bytes mean.
//!
//! A capture may come from anywhere, so every length in it may lie. Framing (how many bytes belong to the next record) is
//! done here against limits; what is inside a record that is wholly in memory is parsed by `pcap-parser`.

mod error;
mod ng_writer;
mod pcap;
mod pcapng;
mod source;
mod writer;

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;

pub use error::{CaptureError, Problem};
pub use ng_writer::{NgFrame, NgStatistics, PcapNgWriter, SectionInfo, XdpVerdict};
pub use writer::{PcapWriter, write_pcap};

use source::{Fault, Source};

/// The longest frame that is read or written, in bytes: the snapshot length of tcpdump and Wireshark. Longer claims are lies.
pub const MAX_FRAME_BYTES: u32 = 256 << 10;

/// `LINKTYPE_ETHERNET`: the one link type whose frames can be judged.
const LINKTYPE_ETHERNET: u32 = 1;

/// A frame of a capture file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapturedFrame {
    /// The frame's number in the file, from 0.
    pub index: u64,
    /// Nanoseconds since 1970-01-01 UTC; 0 where the file has no time (simple packet blocks), saturated where it is before
    /// 1970 or past what 64 bits hold.
    pub timestamp_ns: u64,
    /// The captured bytes, from the Ethernet header on.
    pub data: Bytes,
    /// The frame's length on the wire, in bytes, as the file has it; more than `data` when it was cut.
    pub original_len: u32,
    /// The interface's number in the file, from 0, counted through all sections; 0 in classic pcap.
    pub interface: u32,
}

/// What a format reads off a file for each frame; [`Frames`] adds the number.
struct Record {
    timestamp_ns: u64,
    data: Bytes,
    original_len: u32,
    interface: u32,
}

enum Format {
    Pcap(pcap::Reader),
    PcapNg(pcapng::Reader),
}

/// The frames of a capture file, in the file's order. After an error there are no more.
pub struct Frames<R> {
    source: Source<R>,
    format: Format,
    path: Option<PathBuf>,
    next_index: u64,
    ended: bool,
}

impl Frames<BufReader<File>> {
    /// Opens a file of either format.
    ///
    /// # Errors
    /// When it can not be opened, is no capture, is of a version or (classic pcap) a link type that is not supported, or
    /// ends within its header.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, CaptureError> {
        let path = path.as_ref();
        let named = |error: CaptureError| CaptureError { path: Some(path.to_owned()), ..error };
        let file = File::open(path).map_err(|error| named(Fault::at(0, Problem::Open(error)).before_frame(0)))?;
        let frames = Self::from_reader(BufReader::new(file)).map_err(named)?;
        Ok(Self { path: Some(path.to_owned()), ..frames })
    }
}

impl<R: Read> Frames<R> {
    /// Reads from anything, in many small pieces: give it a [`BufReader`] where reads are dear.
    ///
    /// # Errors
    /// As [`Frames::open`].
    pub fn from_reader(reader: R) -> Result<Self, CaptureError> {
        let mut source = Source::new(reader);
        let format = detect(&mut source).map_err(|fault| fault.before_frame(0))?;
        Ok(Self { source, format, path: None, next_index: 0, ended: false })
    }
}

fn detect<R: Read>(source: &mut Source<R>) -> Result<Format, Fault> {
    let Some(magic) = source.array_or_end::<4>()? else {
        return Err(Fault::at(0, Problem::Empty));
    };
    match magic {
        pcapng::SECTION_HEADER => Ok(Format::PcapNg(pcapng::Reader::open(source)?)),
        [0x1f, 0x8b, ..] => Err(Fault::at(0, Problem::Compressed("gzip"))),
        [0x28, 0xb5, 0x2f, 0xfd] => Err(Fault::at(0, Problem::Compressed("zstd"))),
        magic if pcap::is_magic(magic) => Ok(Format::Pcap(pcap::Reader::open(source, magic)?)),
        found => Err(Fault::at(0, Problem::NotACapture(found))),
    }
}

impl<R: Read> Iterator for Frames<R> {
    type Item = Result<CapturedFrame, CaptureError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let record = match &mut self.format {
            Format::Pcap(reader) => reader.next(&mut self.source),
            Format::PcapNg(reader) => reader.next(&mut self.source),
        };
        let index = self.next_index;
        match record {
            Ok(Some(Record { timestamp_ns, data, original_len, interface })) => {
                self.next_index += 1;
                Some(Ok(CapturedFrame { index, timestamp_ns, data, original_len, interface }))
            }
            Ok(None) => {
                self.ended = true;
                None
            }
            Err(fault) => {
                self.ended = true;
                Some(Err(CaptureError { path: self.path.clone(), ..fault.before_frame(index) }))
            }
        }
    }
}

impl<R: Read> std::iter::FusedIterator for Frames<R> {}

impl<R> std::fmt::Debug for Frames<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frames").field("path", &self.path).field("next_index", &self.next_index).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
