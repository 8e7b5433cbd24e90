//! Capture files -> frames: classic pcap and pcapng in, one `bytes::Bytes` per frame out; and a writer of pcapng for the way back. Opens no interface, and
//! knows nothing of what a frame's bytes mean.
//!
//! A capture may come from anywhere, so every length in it may lie. Framing (how many bytes belong to the next record) is done here against limits, and
//! knows the byte at which each record begins; what is inside a record that is wholly in memory is parsed by `pcap-parser`.

mod error;
mod frame;
mod link;
mod ng_writer;
mod pcap;
mod pcapng;
mod reader;
mod source;

pub use error::{CaptureError, Problem};
pub use frame::{CapturedFrame, MAX_FRAME_BYTES};
pub use ng_writer::{NgFrame, NgStatistics, PcapNgWriter, SectionInfo, XdpVerdict};
pub use reader::Frames;

#[cfg(test)]
mod tests;
