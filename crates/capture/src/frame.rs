//! A frame of a capture file, and what limits there are.

use bytes::Bytes;

/// The longest frame that is read or written, in bytes: the snapshot length of tcpdump and Wireshark. Longer claims are lies.
pub const MAX_FRAME_BYTES: u32 = 256 << 10;

/// `LINKTYPE_ETHERNET`: what every frame is made to be.
pub(super) const LINKTYPE_ETHERNET: u32 = 1;

/// A frame of a capture file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapturedFrame {
    /// The frame's number in the file, from 0.
    pub index: u64,
    /// Nanoseconds since 1970-01-01 UTC; 0 where the file has no time (simple packet blocks), saturated where it is before
    /// 1970 or past what 64 bits hold.
    pub timestamp_ns: u64,
    /// The captured bytes, from the Ethernet header on. Where the file has another one, or none, it is made: with zeros where nothing is told.
    pub data: Bytes,
    /// The frame's length on the wire, in bytes, as the file has it, with this Ethernet header; more than `data` when it was cut.
    pub original_len: u32,
    /// The interface's number in the file, from 0, counted through all sections; 0 in classic pcap.
    pub interface: u32,
}
