//! The XDP features that drivers announce: one dump of the generic netlink family `netdev` (Linux 6.3,
//! Documentation/netlink/specs/netdev.yaml). Every receive is without waiting: the kernel answers while it is asked.

use std::collections::BTreeMap;
use std::io;

use rtnetlink::packet_core::{DefaultNla, NLM_F_DUMP, NLM_F_REQUEST};
use rtnetlink::packet_core::{Emitable, NetlinkBuffer, NlasIterator};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};

/// `linux/netlink.h`
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const HEADER_BYTES: usize = 16;
/// `linux/genetlink.h`: the family that knows the others.
const CONTROLLER: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
const GENERIC_HEADER_BYTES: usize = 4;
/// `linux/netdev.h`
const DEV_GET: u8 = 1;
const DEV_IF_INDEX: u16 = 1;
const DEV_XDP_FEATURES: u16 = 3;
/// More messages than any dump has: an end to a kernel that does not end.
const MOST_RECEIVES: usize = 10_000;

/// What a driver announces that it can do (`enum netdev_xdp_act`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct XdpFeatures(pub u64);

impl XdpFeatures {
    /// Programs run in the driver (`basic`).
    pub const fn native(self) -> bool {
        self.0 & 1 != 0
    }

    /// Frames may lie in several buffers (`rx-sg`): no limit to the MTU for a multi-buffer program.
    pub const fn multi_buffer(self) -> bool {
        self.0 & 1 << 5 != 0
    }
}

/// The announced features by interface index, for the calling thread's network namespace.
pub(super) fn xdp_features() -> io::Result<BTreeMap<u32, XdpFeatures>> {
    let socket = Socket::new(NETLINK_GENERIC)?;
    let family = family(&socket)?;
    let mut features = BTreeMap::new();
    ask(&socket, family, NLM_F_REQUEST | NLM_F_DUMP, DEV_GET, &[], |payload| {
        let (mut index, mut bits) = (None, None);
        for (kind, value) in attributes(payload) {
            match kind {
                DEV_IF_INDEX => index = value.try_into().ok().map(u32::from_ne_bytes),
                DEV_XDP_FEATURES => bits = value.try_into().ok().map(u64::from_ne_bytes),
                _ => {}
            }
        }
        if let (Some(index), Some(bits)) = (index, bits) {
            features.insert(index, XdpFeatures(bits));
        }
    })?;
    Ok(features)
}

/// The number that the kernel gave the family.
fn family(socket: &Socket) -> io::Result<u16> {
    let mut id = None;
    let name = DefaultNla::new(FAMILY_NAME, b"netdev\0".to_vec());
    let asked = ask(socket, CONTROLLER, NLM_F_REQUEST, GET_FAMILY, &[name], |payload| {
        for (kind, value) in attributes(payload) {
            if kind == FAMILY_ID {
                id = value.try_into().ok().map(u16::from_ne_bytes);
            }
        }
    });
    let absent = "this kernel has no netlink family \"netdev\" (Linux 6.3 has), by which drivers announce XDP";
    match asked {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(io::Error::new(error.kind(), absent)),
        Err(error) => Err(error),
        Ok(()) => id.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, absent)),
    }
}

/// Sends one request and hands the payload of every answer, without its generic header, to `each`.
fn ask(
    socket: &Socket,
    family: u16,
    flags: u16,
    command: u8,
    attributes: &[DefaultNla],
    mut each: impl FnMut(&[u8]),
) -> io::Result<()> {
    let mut body = vec![command, 1, 0, 0];
    let mut encoded = vec![0; attributes.buffer_len()];
    attributes.emit(&mut encoded);
    body.extend(encoded);
    let mut request = Vec::with_capacity(HEADER_BYTES + body.len());
    request.extend(((HEADER_BYTES + body.len()) as u32).to_ne_bytes());
    request.extend(family.to_ne_bytes());
    request.extend(flags.to_ne_bytes());
    request.extend([0; 8]);
    request.extend(body);
    socket.send_to(&request, &SocketAddr::new(0, 0), 0)?;

    for _ in 0..MOST_RECEIVES {
        let mut datagram = Vec::with_capacity(64 << 10);
        socket.recv(&mut datagram, libc::MSG_DONTWAIT)?;
        let mut rest = datagram.as_slice();
        while !rest.is_empty() {
            let malformed = |_| io::Error::new(io::ErrorKind::InvalidData, "a netlink answer is cut off");
            let message = NetlinkBuffer::new_checked(rest).map_err(malformed)?;
            match message.message_type() {
                NLMSG_DONE => return Ok(()),
                NLMSG_ERROR => return outcome(message.payload()),
                _ => each(message.payload().get(GENERIC_HEADER_BYTES..).unwrap_or_default()),
            }
            let aligned = (message.length() as usize).next_multiple_of(4);
            rest = rest.get(aligned..).unwrap_or_default();
        }
        if flags & NLM_F_DUMP == 0 {
            return Ok(());
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "a netlink answer does not end"))
}

/// An error message's number; zero is an acknowledgement.
fn outcome(payload: &[u8]) -> io::Result<()> {
    let number = payload.first_chunk().map_or(-libc::EIO, |bytes| i32::from_ne_bytes(*bytes));
    if number == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-number)) }
}

fn attributes(payload: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(payload).map_while(Result::ok).filter_map(|attribute| {
        let (kind, length) = (attribute.kind(), attribute.value_length());
        let bytes = attribute.into_inner().get(4..)?.get(..length)?;
        Some((kind, bytes))
    })
}
