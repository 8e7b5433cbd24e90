//! Route netlink of a host whose interfaces may have any names: the kernel takes every byte in one but `/`, `:` and blanks, and the library drops a link whose
//! name is no UTF-8, and with it whatever is asked about the host. Here such bytes become characters before it looks. Knows nothing of what is asked.

use std::{io, str};

use bytes::BytesMut;
use rtnetlink::packet_core::{NetlinkBuffer, NetlinkDeserializable, NetlinkMessage, NetlinkSerializable};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::proto::{self, NetlinkCodec, NetlinkMessageCodec};
use rtnetlink::sys::{TokioSocket, protocols::NETLINK_ROUTE};

use futures_util::Stream;
use rtnetlink::sys::SocketAddr;

/// "Substitute": what a character is written as that cannot be represented.
const SUBSTITUTE: char = '\u{1a}';
/// Before the attributes: netlink's header, then that of the kind of message.
const LINK_HEADERS_BYTES: usize = 16 + 16;
const ADDRESS_HEADERS_BYTES: usize = 16 + 8;

pub(super) type Connection = proto::Connection<RouteNetlinkMessage, TokioSocket, Names>;
pub(super) type Handle = proto::ConnectionHandle<RouteNetlinkMessage>;

/// A connection, what asks on it, and what comes unasked.
pub(super) fn connect()
-> io::Result<(Connection, Handle, impl Stream<Item = (NetlinkMessage<RouteNetlinkMessage>, SocketAddr)> + Send)> {
    proto::new_connection_with_codec(NETLINK_ROUTE)
}

/// A link's name as it is told: where bytes of it are no text, its number says which is meant.
pub(super) fn told(name: String, index: u32) -> String {
    if name.contains(SUBSTITUTE) { format!("{}#{index}", name.replace(SUBSTITUTE, "\u{fffd}")) } else { name }
}

/// Netlink, with names made readable.
#[derive(Debug)]
pub(super) struct Names;

impl NetlinkMessageCodec for Names {
    fn decode<T: NetlinkDeserializable + std::fmt::Debug>(src: &mut BytesMut) -> io::Result<Option<NetlinkMessage<T>>> {
        // One datagram holds many messages; each is looked at when its turn comes.
        let found = NetlinkBuffer::new_checked(&src).map(|first| (first.message_type(), first.length() as usize));
        let names = match found {
            Ok((libc::RTM_NEWLINK | libc::RTM_DELLINK, length)) => src.get_mut(LINK_HEADERS_BYTES..length),
            // An address has a label: its link's name.
            Ok((libc::RTM_NEWADDR | libc::RTM_DELADDR, length)) => src.get_mut(ADDRESS_HEADERS_BYTES..length),
            _ => None,
        };
        if let Some(attributes) = names {
            mend(attributes);
        }
        NetlinkCodec::decode(src)
    }

    fn encode<T: NetlinkSerializable + std::fmt::Debug>(
        message: NetlinkMessage<T>,
        to: &mut BytesMut,
    ) -> io::Result<()> {
        NetlinkCodec::encode(message, to)
    }
}

/// Replaces in the names of a link, or in an address's label (`IFA_LABEL` has the number of `IFLA_IFNAME`), what is no UTF-8, byte for byte.
fn mend(mut attributes: &mut [u8]) {
    while let [a, b, c, d, ..] = *attributes {
        let (length, kind) = (usize::from(u16::from_ne_bytes([a, b])), u16::from_ne_bytes([c, d]) & 0x3fff);
        let Some(value) = attributes.get_mut(4..length) else { return };
        match kind {
            libc::IFLA_PROP_LIST => mend(value),
            libc::IFLA_IFNAME | libc::IFLA_IFALIAS | libc::IFLA_ALT_IFNAME => {
                while let Err(error) = str::from_utf8(value) {
                    let Some(byte) = value.get_mut(error.valid_up_to()) else { return };
                    *byte = SUBSTITUTE as u8;
                }
            }
            _ => {}
        }
        attributes = attributes.get_mut(length.next_multiple_of(4)..).unwrap_or_default();
    }
}
