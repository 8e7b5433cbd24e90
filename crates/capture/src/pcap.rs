//! The classic format (draft-ietf-opsawg-pcap): one header, then records, all in the writer's byte order.

use std::io::Read;

use bytes::Bytes;
use pcap_parser::pcap::{LegacyPcapBlock, parse_pcap_frame, parse_pcap_frame_be, parse_pcap_header};

use super::error::Problem;
use super::frame::{CapturedFrame, MAX_FRAME_BYTES};
use super::link::Link;
use super::source::{Fault, Source};

const RECORD_HEADER_BYTES: usize = 16;

/// The upper bits of the field hold the length of a frame check sequence, if one was captured.
const LINKTYPE_MASK: u32 = 0x03ff_ffff;

/// Kuznetsov's variant with longer record headers: as a little-endian and as a big-endian machine writes it.
const MODIFIED: [u32; 2] = [0xa1b2_cd34, 0x34cd_b2a1];

const NS_PER_SECOND: u64 = 1_000_000_000;
const NS_PER_MICROSECOND: u64 = 1_000;

pub(super) fn is_magic(magic: [u8; 4]) -> bool {
    let magic = u32::from_le_bytes(magic);
    matches!(magic, 0xa1b2_c3d4 | 0xa1b2_3c4d | 0xd4c3_b2a1 | 0x4d3c_b2a1) || MODIFIED.contains(&magic)
}

pub(super) struct Reader {
    big_endian: bool,
    ns_per_fraction: u64,
    lengths: Lengths,
    link: Link,
}

/// Which of a record's two lengths is the captured one: what libpcap's `sf-pcap.c` goes by (`lengths_swapped`).
#[derive(Clone, Copy)]
enum Lengths {
    /// Before version 2.3.
    WholeFirst,
    /// Version 2.3: some programs wrote the one, some the other.
    ShorterIsCaptured,
    CapturedFirst,
}

impl Reader {
    /// Reads the rest of the header.
    pub(super) fn open<R: Read>(source: &mut Source<R>, magic: [u8; 4]) -> Result<Self, Fault> {
        if MODIFIED.contains(&u32::from_le_bytes(magic)) {
            return Err(source.fault(Problem::Unsupported("the modified pcap format (magic a1b2cd34)".to_owned())));
        }
        let mut bytes = magic.to_vec();
        source.append(&mut bytes, 20)?;
        let Ok((_, header)) = parse_pcap_header(&bytes) else {
            return Err(source.fault(Problem::NotACapture(magic)));
        };
        let (major, minor) = (header.version_major, header.version_minor);
        let lengths = match (major, minor) {
            (2, ..3) => Lengths::WholeFirst,
            (2, 3) => Lengths::ShorterIsCaptured,
            (2, 4) => Lengths::CapturedFirst,
            _ => {
                return Err(
                    source.fault(Problem::Unsupported(format!("pcap version {major}.{minor} (2.0 to 2.4 are)")))
                );
            }
        };
        let link_type = header.network.0.cast_unsigned() & LINKTYPE_MASK;
        let Some(link) = Link::of(link_type) else {
            return Err(source.fault(Problem::LinkType { interface: 0, link_type }));
        };
        let ns_per_fraction = if header.is_nanosecond_precision() { 1 } else { NS_PER_MICROSECOND };
        Ok(Self { big_endian: header.is_bigendian(), ns_per_fraction, lengths, link })
    }

    pub(super) fn next<R: Read>(&mut self, source: &mut Source<R>) -> Result<Option<CapturedFrame>, Fault> {
        source.begin_record();
        let Some(header) = source.array_or_end::<RECORD_HEADER_BYTES>()? else { return Ok(None) };
        let header = self.in_order(header);
        let [.., a, b, c, d, _, _, _, _] = header;
        let captured_bytes = self.u32([a, b, c, d]);
        if captured_bytes > MAX_FRAME_BYTES {
            return Err(source.fault(Problem::TooLong { captured_bytes }));
        }
        let mut bytes = header.to_vec();
        source.append(&mut bytes, captured_bytes as usize)?;
        let parsed = if self.big_endian { parse_pcap_frame_be(&bytes) } else { parse_pcap_frame(&bytes) };
        let Ok((_, LegacyPcapBlock { ts_sec, ts_usec, origlen, .. })) = parsed else {
            return Err(source.fault(Problem::Damaged("the record can not be parsed".to_owned())));
        };
        // At most 4.3e18 + 4.3e12: no overflow.
        let timestamp_ns = u64::from(ts_sec) * NS_PER_SECOND + u64::from(ts_usec) * self.ns_per_fraction;
        let (data, original_len) = self.link.to_ethernet(Bytes::from(bytes).slice(RECORD_HEADER_BYTES..), origlen);
        Ok(Some(CapturedFrame { index: 0, timestamp_ns, data, original_len, interface: 0 }))
    }

    fn u32(&self, bytes: [u8; 4]) -> u32 {
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    /// The header with the captured length first.
    fn in_order(&self, mut header: [u8; RECORD_HEADER_BYTES]) -> [u8; RECORD_HEADER_BYTES] {
        let [.., a, b, c, d, e, f, g, h] = header;
        let are_swapped = match self.lengths {
            Lengths::CapturedFirst => false,
            Lengths::WholeFirst => true,
            Lengths::ShorterIsCaptured => self.u32([a, b, c, d]) > self.u32([e, f, g, h]),
        };
        if let Some(lengths) = header.last_chunk_mut::<8>().filter(|_| are_swapped) {
            lengths.rotate_left(4);
        }
        header
    }
}
