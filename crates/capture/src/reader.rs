//! Frames of a capture file, one after the other, whichever format it has.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::{
    error::{CaptureError, Problem},
    frame::CapturedFrame,
    pcap, pcapng,
    source::{Fault, Source},
};

const GZIP: [u8; 2] = [0x1f, 0x8b];

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

impl Frames<Box<dyn Read>> {
    /// Opens a file of either format, also one that gzip has packed: bytes in errors are those of what it unpacks to. `-` is standard input.
    ///
    /// # Errors
    /// When it can not be opened, is no capture, is of a version or (classic pcap) a link type that is not supported, or
    /// ends within its header.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, CaptureError> {
        let path = path.as_ref();
        let is_stdin = path == Path::new("-");
        let name = if is_stdin { Path::new("standard input") } else { path };
        let named = |error: CaptureError| CaptureError { path: Some(name.to_owned()), ..error };
        let opened = if is_stdin { unpacked(io::stdin()) } else { File::open(path).and_then(unpacked) };
        let reader = opened.map_err(|error| named(Fault::at(0, Problem::Open(error)).before_frame(0)))?;
        let frames = Self::from_reader(reader).map_err(named)?;
        Ok(Self { path: Some(name.to_owned()), ..frames })
    }
}

/// What is in it, also where gzip has packed it.
fn unpacked(reader: impl Read + 'static) -> io::Result<Box<dyn Read>> {
    let mut reader = BufReader::new(reader);
    let mut begin = Vec::new();
    reader.by_ref().take(GZIP.len() as u64).read_to_end(&mut begin)?;
    let is_packed = begin == GZIP;
    let whole = Cursor::new(begin).chain(reader);
    Ok(if is_packed { Box::new(BufReader::new(MultiGzDecoder::new(whole))) } else { Box::new(whole) })
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
            Ok(Some(frame)) => {
                self.next_index += 1;
                Some(Ok(CapturedFrame { index, ..frame }))
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
