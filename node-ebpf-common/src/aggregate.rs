//! An aggregate: frames of one stream that receive offload has made one of, or that the sender's stack never cut up. How many frames it was on the wire,
//! and how many bytes. It decides nothing.

use crate::{
    frame::Frame,
    verifier::rebound,
    wire::{
        Bytes2, ETHERNET_BYTES, ETHERTYPE_OFFSET, IPV6_BYTES, Ipv4, Ipv6, VLAN_TAG_BYTES, VlanTag, ethertype_le,
        protocol,
    },
};

/// A UDP header (RFC 768).
const UDP_BYTES: usize = 8;
/// Offset of a TCP header's own length (RFC 9293): 4-byte units in the high four bits.
const TCP_LENGTH_OFFSET: usize = 12;
/// Above the offset behind any headers that are read here.
const MAX_HEADERS: usize = 0xff;

/// The bytes of headers in front of an aggregate's payload, which each of its frames had: up to and with the transport header. Of what receive offload joins
/// this reads all but IPv6 extension headers, more than one tag in the frame, and what a tunnel carries: [`Pieces`] makes good for those. 0: nothing is known.
///
/// Not by the packet's own walk: that would be verified a second time.
#[inline(always)]
pub fn headers<F: Frame + ?Sized>(frame: &F, zero: u64) -> usize {
    let frame = &frame.forgotten(zero);
    let (mut ethertype, mut at) = match frame.protocol() {
        Some(protocol) => (protocol, 0),
        None => (frame.read::<Bytes2>(ETHERTYPE_OFFSET).map_or(0, Bytes2::value_le), ETHERNET_BYTES),
    };
    if (ethertype == ethertype_le::VLAN || ethertype == ethertype_le::SERVICE_VLAN)
        && let Some(tag) = frame.read::<VlanTag>(at)
    {
        ethertype = tag.ethertype;
        at += VLAN_TAG_BYTES;
    }
    let (number, ip_bytes) = match ethertype {
        ethertype_le::IPV4 => match frame.read::<Ipv4>(at) {
            Some(ip) => (ip.protocol, ((ip.version_ihl & 15) as usize) << 2),
            None => return 0,
        },
        ethertype_le::IPV6 => match frame.read::<Ipv6>(at) {
            Some(ip) => (ip.next_header, IPV6_BYTES),
            None => return 0,
        },
        _ => return 0,
    };
    let at = rebound::<_, MAX_HEADERS>(frame, zero, at + ip_bytes);
    let transport_bytes = match number {
        protocol::TCP => {
            let length = frame.read::<Bytes2>(at + TCP_LENGTH_OFFSET);
            length.map_or(0, |bytes| (bytes.value_le() as usize >> 4 & 15) << 2)
        }
        protocol::UDP => UDP_BYTES,
        _ => 0,
    };
    rebound::<_, MAX_HEADERS>(frame, zero, at + transport_bytes)
}

/// The frames that an aggregate was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pieces {
    /// How many.
    pub frames: u64,
    /// What each had in front of its payload, bytes.
    pub header_bytes: u64,
}

impl Pieces {
    /// Of an aggregate of `total_bytes`, whose frames carried `piece_bytes` each, but for the last. `told`: how many there are, as the kernel says; 0: it does
    /// not, for the aggregate came from a hypervisor. `header_bytes`: by [`headers`].
    #[inline(always)]
    pub const fn new(told: u64, piece_bytes: u64, total_bytes: u64, header_bytes: u64) -> Self {
        let payload_bytes = total_bytes.saturating_sub(header_bytes);
        let counted = if piece_bytes == 0 { 1 } else { payload_bytes.div_ceil(piece_bytes) };
        let frames = if told != 0 { told } else { counted };
        let frames = if frames == 0 { 1 } else { frames };
        // There may be more headers than those that were read, in a tunnel for one: at least what no payload has room for.
        let beyond = total_bytes.saturating_sub(frames * piece_bytes);
        Self { frames, header_bytes: if beyond > header_bytes { beyond } else { header_bytes } }
    }

    /// What the frames' bytes were beyond those of the aggregate.
    #[inline(always)]
    pub const fn more_bytes(self) -> u64 {
        (self.frames - 1) * self.header_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of these headers and this payload, with the lengths of the whole.
    fn ipv4(tags: &[u8], tcp_words: u8, payload: usize) -> Vec<u8> {
        let total = (20 + usize::from(tcp_words) * 4 + payload) as u16;
        let mut frame = vec![0; 12];
        frame.extend(tags);
        frame.extend([8, 0, 0x45, 0]);
        frame.extend(total.to_be_bytes());
        frame.extend([0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        frame.extend([0x9c, 0x40, 0x23, 0x52, 0, 0, 0, 0, 0, 0, 0, 0, tcp_words << 4, 0x10, 0, 0, 0, 0, 0, 0]);
        frame.extend(vec![0; usize::from(tcp_words) * 4 - 20 + payload]);
        frame
    }

    #[test]
    fn headers_end_where_the_payload_begins() {
        for (frame, expected) in [
            (ipv4(&[], 5, 3000), 14 + 20 + 20),
            (ipv4(&[], 8, 3000), 14 + 20 + 32),
            (ipv4(&[0x81, 0, 0, 7], 8, 3000), 14 + 4 + 20 + 32),
        ] {
            assert_eq!(headers(frame.as_slice(), 0), expected);
        }
        let mut udp = ipv4(&[], 5, 3000);
        udp[23] = 17;
        assert_eq!(headers(udp.as_slice(), 0), 14 + 20 + 8);
        // A tunnel: those in front of what it carries. Nothing that can be read: none.
        let mut gre = ipv4(&[], 5, 3000);
        gre[23] = 47;
        assert_eq!(headers(gre.as_slice(), 0), 14 + 20);
        assert_eq!(headers([0_u8; 9].as_slice(), 0), 0);
    }

    #[test]
    fn frames_and_bytes_are_those_of_the_wire() {
        // Three frames of 1,448 bytes and one of 100.
        let (headers, payload) = (66, 3 * 1448 + 100);
        let told = Pieces::new(4, 1448, headers + payload, headers);
        assert_eq!((told.frames, told.more_bytes()), (4, 3 * headers));
        assert_eq!(Pieces::new(0, 1448, headers + payload, headers), told, "where the kernel does not say");
        // Full pieces in a tunnel, of whose headers 42 bytes were read.
        let (headers, payload) = (116, 4 * 1398);
        assert_eq!(Pieces::new(4, 1398, headers + payload, 42).header_bytes, headers);
        // Whatever it says of itself, it is a frame.
        assert_eq!(Pieces::new(0, 0, 60, 54), Pieces { frames: 1, header_bytes: 60 });
        assert_eq!(Pieces::new(0, 1448, 60, 60).frames, 1);
    }
}
