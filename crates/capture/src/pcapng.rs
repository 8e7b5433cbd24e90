//! pcapng (draft-ietf-opsawg-pcapng): sections of blocks, each section in its writer's byte order with interfaces of its own.

use std::io::Read;

use bytes::{Buf, Bytes};
use pcap_parser::pcapng::{Block, InterfaceDescriptionBlock, OptionCode, parse_block_be, parse_block_le};
use pcap_parser::traits::PcapNGPacketBlock;

use super::error::Problem;
use super::frame::{CapturedFrame, MAX_FRAME_BYTES};
use super::link::Link;
use super::source::{Fault, Source};

/// The type of a section header block: the same in both byte orders.
pub(super) const SECTION_HEADER: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

const INTERFACE_DESCRIPTION: u32 = 1;
/// Obsolete, but old files have it.
const PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
/// Type, length and the length once more.
const SMALLEST_BLOCK_BYTES: u32 = 12;
/// A frame of the greatest length with as many options as it can have; blocks that are passed over may be longer.
const MAX_BLOCK_BYTES: u32 = 1 << 20;
/// Before a packet block's data: type, length, interface, drops, time (2), captured length, original length.
const PACKET_DATA_OFFSET_BYTES: usize = 28;

const NS_PER_SECOND: i128 = 1_000_000_000;

struct Interface {
    link_type: u32,
    snapshot_bytes: u32,
    /// A time's unit: 10^-n s, or with the highest bit set 2^-n s.
    resolution: u8,
    offset_seconds: i64,
}

pub(super) struct Reader {
    big_endian: bool,
    /// Of this section.
    interfaces: Vec<Interface>,
    /// How many the sections before had.
    interfaces_before: usize,
}

impl Reader {
    /// Reads the first section header, whose type has been read.
    pub(super) fn open<R: Read>(source: &mut Source<R>) -> Result<Self, Fault> {
        let mut reader = Self { big_endian: false, interfaces: Vec::new(), interfaces_before: 0 };
        reader.section(source)?;
        Ok(reader)
    }

    pub(super) fn next<R: Read>(&mut self, source: &mut Source<R>) -> Result<Option<CapturedFrame>, Fault> {
        // Each turn reads at least one block's header, so this ends with the file.
        loop {
            source.begin_record();
            let Some(kind) = source.array_or_end::<4>()? else { return Ok(None) };
            if kind == SECTION_HEADER {
                self.section(source)?;
                continue;
            }
            let length = source.array::<4>()?;
            let length_bytes = self.u32(length);
            check_length(source, length_bytes)?;
            let number = self.u32(kind);
            if !matches!(number, INTERFACE_DESCRIPTION | PACKET | SIMPLE_PACKET | ENHANCED_PACKET) {
                source.skip((length_bytes - SMALLEST_BLOCK_BYTES) as usize)?;
                let again = source.array::<4>()?;
                self.check_again(source, length_bytes, again)?;
                continue;
            }
            let mut bytes = Vec::new();
            bytes.extend(kind);
            bytes.extend(length);
            let bytes = self.rest_of_block(source, bytes, length_bytes)?;
            if let Some(record) = self.block(source, &bytes)? {
                return Ok(Some(record));
            }
        }
    }

    /// Reads a section header block, whose type has been read, and starts a new section.
    fn section<R: Read>(&mut self, source: &mut Source<R>) -> Result<(), Fault> {
        let (length, magic) = (source.array::<4>()?, source.array::<4>()?);
        self.big_endian = match (u32::from_le_bytes(magic), u32::from_be_bytes(magic)) {
            (BYTE_ORDER_MAGIC, _) => false,
            (_, BYTE_ORDER_MAGIC) => true,
            _ => return Err(damaged(source, format!("a section's byte order is marked with {magic:02x?}"))),
        };
        let length_bytes = self.u32(length);
        check_length(source, length_bytes)?;
        if length_bytes < 28 {
            return Err(damaged(source, format!("a section header of {length_bytes} bytes (28 is the least)")));
        }
        let mut bytes = SECTION_HEADER.to_vec();
        bytes.extend(length);
        bytes.extend(magic);
        let bytes = self.rest_of_block(source, bytes, length_bytes)?;
        let Some(Block::SectionHeader(header)) = self.parse(&bytes) else {
            return Err(damaged(source, "a section header can not be parsed".to_owned()));
        };
        if header.major_version != 1 {
            let version = format!("pcapng version {}.{} (1.0 is)", header.major_version, header.minor_version);
            return Err(source.fault(Problem::Unsupported(version)));
        }
        self.interfaces_before += self.interfaces.len();
        self.interfaces.clear();
        Ok(())
    }

    fn u32(&self, bytes: [u8; 4]) -> u32 {
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    /// Reads a block to its end, so that the parser never waits for more: what it then misses is not there.
    fn rest_of_block<R: Read>(
        &self,
        source: &mut Source<R>,
        mut bytes: Vec<u8>,
        length_bytes: u32,
    ) -> Result<Bytes, Fault> {
        if length_bytes > MAX_BLOCK_BYTES {
            return Err(damaged(source, format!("a block of {length_bytes} bytes (at most {MAX_BLOCK_BYTES})")));
        }
        let missing = (length_bytes as usize).saturating_sub(bytes.len());
        source.append(&mut bytes, missing)?;
        let again = bytes.last_chunk::<4>().copied().unwrap_or_default();
        self.check_again(source, length_bytes, again)?;
        Ok(Bytes::from(bytes))
    }

    fn check_again<R: Read>(&self, source: &Source<R>, length_bytes: u32, again: [u8; 4]) -> Result<(), Fault> {
        match self.u32(again) {
            same if same == length_bytes => Ok(()),
            other => Err(damaged(source, format!("a block begins with length {length_bytes} and ends with {other}"))),
        }
    }

    fn parse<'a>(&self, bytes: &'a [u8]) -> Option<Block<'a>> {
        let parsed = if self.big_endian { parse_block_be(bytes) } else { parse_block_le(bytes) };
        parsed.ok().map(|(_, block)| block)
    }

    fn block<R: Read>(&mut self, source: &Source<R>, bytes: &Bytes) -> Result<Option<CapturedFrame>, Fault> {
        let Some(block) = self.parse(bytes) else {
            return Err(damaged(source, "a block's contents are longer than the block".to_owned()));
        };
        match block {
            Block::InterfaceDescription(description) => {
                let interface = self.interface(&description);
                self.interfaces.push(interface);
                Ok(None)
            }
            Block::EnhancedPacket(packet) => {
                let ticks = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
                let data = bytes.slice_ref(packet.packet_data());
                self.record(source, packet.if_id, Some(ticks), packet.caplen, packet.origlen, data).map(Some)
            }
            Block::SimplePacket(packet) => {
                // It has neither an interface (the first is meant), nor a time, nor a captured length.
                let limit = self.interfaces.first().map_or(0, |interface| interface.snapshot_bytes);
                let captured = if limit == 0 { packet.origlen } else { packet.origlen.min(limit) };
                let Some(data) = packet.data.get(..captured as usize) else {
                    let held = packet.data.len();
                    return Err(damaged(
                        source,
                        format!("a simple packet of {captured} bytes in a block that holds {held}"),
                    ));
                };
                self.record(source, 0, None, captured, packet.origlen, bytes.slice_ref(data)).map(Some)
            }
            // The obsolete packet block, which the parser does not know.
            Block::Unknown(_) => self.obsolete_packet(source, bytes).map(Some),
            _ => Ok(None),
        }
    }

    fn obsolete_packet<R: Read>(&self, source: &Source<R>, bytes: &Bytes) -> Result<CapturedFrame, Fault> {
        let short = || damaged(source, "a packet block's contents are longer than the block".to_owned());
        let end = bytes.len().saturating_sub(4);
        if end < PACKET_DATA_OFFSET_BYTES {
            return Err(short());
        }
        let mut fields = bytes.slice(8..PACKET_DATA_OFFSET_BYTES);
        let interface = if self.big_endian { fields.get_u16() } else { fields.get_u16_le() };
        fields.advance(2);
        let mut next = || if self.big_endian { fields.get_u32() } else { fields.get_u32_le() };
        let (high, low, captured, original_len) = (next(), next(), next(), next());
        let contents = bytes.slice(PACKET_DATA_OFFSET_BYTES..end);
        if captured as usize > contents.len() {
            return Err(short());
        }
        let data = contents.slice(..captured as usize);
        let ticks = u64::from(high) << 32 | u64::from(low);
        self.record(source, u32::from(interface), Some(ticks), captured, original_len, data)
    }

    fn record<R: Read>(
        &self,
        source: &Source<R>,
        number: u32,
        ticks: Option<u64>,
        captured_bytes: u32,
        original_len: u32,
        data: Bytes,
    ) -> Result<CapturedFrame, Fault> {
        let described = self.interfaces.len();
        let Some(interface) = self.interfaces.get(number as usize) else {
            return Err(source.fault(Problem::UnknownInterface { interface: number, described }));
        };
        let in_file = u32::try_from(self.interfaces_before + number as usize).unwrap_or(u32::MAX);
        let Some(link) = Link::of(interface.link_type) else {
            return Err(source.fault(Problem::LinkType { interface: in_file, link_type: interface.link_type }));
        };
        if captured_bytes > MAX_FRAME_BYTES {
            return Err(source.fault(Problem::TooLong { captured_bytes }));
        }
        let timestamp_ns = ticks.map_or(0, |ticks| interface.timestamp_ns(ticks));
        let (data, original_len) = link.to_ethernet(data, original_len);
        Ok(CapturedFrame { index: 0, timestamp_ns, data, original_len, interface: in_file })
    }

    fn interface(&self, description: &InterfaceDescriptionBlock<'_>) -> Interface {
        let mut interface = Interface {
            link_type: description.linktype.0.cast_unsigned(),
            snapshot_bytes: description.snaplen,
            resolution: 6,
            offset_seconds: 0,
        };
        // Read here, because the parser takes the offset for little-endian in any section and knows no powers of two.
        let options = description.options.iter().take_while(|option| option.code != OptionCode::EndOfOpt);
        for option in options {
            let value = option.value.get(..usize::from(option.len)).unwrap_or_default();
            match (option.code, value) {
                (OptionCode::IfTsresol, &[resolution]) => interface.resolution = resolution,
                (OptionCode::IfTsoffset, value) => {
                    let Ok(bytes) = <[u8; 8]>::try_from(value) else { continue };
                    interface.offset_seconds =
                        if self.big_endian { i64::from_be_bytes(bytes) } else { i64::from_le_bytes(bytes) };
                }
                _ => {}
            }
        }
        interface
    }
}

impl Interface {
    fn timestamp_ns(&self, ticks: u64) -> u64 {
        let exponent = u32::from(self.resolution & 0x7f);
        // 2^64 * 10^9 is below 2^94, so no product overflows.
        let billionths = i128::from(ticks) * NS_PER_SECOND;
        let since_offset = if self.resolution & 0x80 == 0 {
            // More than 10^38 parts of a second: 2^64 of them are less than a nanosecond.
            10_i128.checked_pow(exponent).map_or(0, |parts| billionths / parts)
        } else {
            billionths >> exponent
        };
        let since_1970 = since_offset + i128::from(self.offset_seconds) * NS_PER_SECOND;
        u64::try_from(since_1970.max(0)).unwrap_or(u64::MAX)
    }
}

fn check_length<R: Read>(source: &Source<R>, length_bytes: u32) -> Result<(), Fault> {
    if length_bytes < SMALLEST_BLOCK_BYTES || !length_bytes.is_multiple_of(4) {
        return Err(damaged(source, format!("a block of {length_bytes} bytes (at least 12, and a multiple of 4)")));
    }
    Ok(())
}

fn damaged<R: Read>(source: &Source<R>, what: String) -> Fault {
    source.fault(Problem::Damaged(what))
}
