//! What can be wrong with a capture file, and where.

use std::io;
use std::path::PathBuf;

use pcap_parser::Linktype;

use super::frame::MAX_FRAME_BYTES;

/// Why a capture file can not be read (any further), and at which byte and frame.
#[derive(Debug)]
pub struct CaptureError {
    /// The file, if it was opened by its path.
    pub path: Option<PathBuf>,
    /// Where the record (or block, or header) begins that is at fault, in bytes from the file's beginning.
    pub offset_bytes: u64,
    /// The number of the frame that could not be delivered; that many were delivered before it.
    pub frame: u64,
    /// What is wrong.
    pub problem: Problem,
}

impl std::fmt::Display for CaptureError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(path) = &self.path {
            write!(f, "{}: ", path.display())?;
        }
        match self.problem {
            Problem::Open(_) | Problem::Empty | Problem::Compressed(_) | Problem::NotACapture(_) => {
                write!(f, "{}", self.problem)
            }
            _ => write!(f, "at byte {}, frame {}: {}", self.offset_bytes, self.frame, self.problem),
        }
    }
}

impl std::error::Error for CaptureError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problem {
            Problem::Open(error) | Problem::Read(error) => Some(error),
            _ => None,
        }
    }
}

/// What is wrong with a capture file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The file can not be opened.
    #[error("can not be opened: {0}")]
    Open(io::Error),
    /// The file can not be read any further.
    #[error("can not be read: {0}")]
    Read(io::Error),
    /// The file has no bytes.
    #[error("the file is empty: a capture has at least a header")]
    Empty,
    /// The file is compressed with what is not read.
    #[error("the file is compressed with {0}: decompress it first, `{0} -dc FILE | nodewall replay -`")]
    Compressed(&'static str),
    /// The file begins as neither format does.
    #[error("not a capture: it begins with {:02x} {:02x} {:02x} {:02x}, expected the magic number of pcap or pcapng", .0[0], .0[1], .0[2], .0[3])]
    NotACapture([u8; 4]),
    /// A version or variant of the format that is not known.
    #[error("{0} is not supported: convert the file to pcapng first (editcap -F pcapng)")]
    Unsupported(String),
    /// The file ends within a record.
    #[error(
        "the file ends at byte {ends_at_bytes}, with at least {missing_bytes} bytes of this record still to come: it was cut"
    )]
    Truncated {
        /// The file's length.
        ends_at_bytes: u64,
        /// How many bytes more the record needs at least.
        missing_bytes: u64,
    },
    /// Frames whose IP packet is not found.
    #[error("interface {interface} has link type {link_type} ({}): Ethernet, what `tcpdump -i any` writes, plain IP packets and BSD loopback can be judged; capture on one of these", Linktype(i32::try_from(*.link_type).unwrap_or(-1)))]
    LinkType {
        /// The interface's number in the file.
        interface: u32,
        /// The link type, `LINKTYPE_*`.
        link_type: u32,
    },
    /// A frame longer than any capture tool writes.
    #[error("it claims {captured_bytes} captured bytes, at most {MAX_FRAME_BYTES} are possible: the file is damaged")]
    TooLong {
        /// The length that the file claims.
        captured_bytes: u32,
    },
    /// Lengths that contradict each other.
    #[error("{0}: the file is damaged")]
    Damaged(String),
    /// A frame of an interface that the section does not describe.
    #[error("it belongs to interface {interface} of its section, which describes {described}: the file is damaged")]
    UnknownInterface {
        /// The interface's number in its section.
        interface: u32,
        /// How many interfaces the section has described so far.
        described: usize,
    },
}
