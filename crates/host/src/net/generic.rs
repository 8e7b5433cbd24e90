//! Questions by generic netlink (`linux/genetlink.h`): which families there are, and one dump of one of them. Every receive is without waiting: the
//! kernel answers while it is asked. It must not know what the answers mean.

use std::io;

use rtnetlink::packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NlasIterator};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};

/// `linux/netlink.h`
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const HEADER_BYTES: usize = 16;
/// The family that knows the others.
const CONTROLLER: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
const GENERIC_HEADER_BYTES: usize = 4;
/// More messages than any dump has: an end to a kernel that does not end.
const MOST_RECEIVES: usize = 10_000;

/// Hands the attributes of all that `command` lists to `each`, one object at a time. `None`: this kernel has no such family, or has not loaded it.
pub(super) fn dump(family: &str, command: u8, each: impl FnMut(&[u8])) -> io::Result<Option<()>> {
    let socket = Socket::new(NETLINK_GENERIC)?;
    let Some(id) = number_of(&socket, family)? else { return Ok(None) };
    ask(&socket, id, command, each).map(Some)
}

/// The number that the kernel gave the family. All are listed: to ask for one by its name would make the kernel load a module for it.
fn number_of(socket: &Socket, family: &str) -> io::Result<Option<u16>> {
    let mut found = None;
    ask(socket, CONTROLLER, GET_FAMILY, |payload| {
        let (mut id, mut named) = (None, false);
        for (kind, value) in attributes(payload) {
            match kind {
                FAMILY_ID => id = value.try_into().ok().map(u16::from_ne_bytes),
                FAMILY_NAME => named = value.strip_suffix(&[0]) == Some(family.as_bytes()),
                _ => {}
            }
        }
        found = found.or(id.filter(|_| named));
    })?;
    Ok(found)
}

/// Asks for everything, and hands the payload of every answer, without its generic header, to `each`.
fn ask(socket: &Socket, family: u16, command: u8, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let body = [command, 1, 0, 0];
    let mut request = Vec::with_capacity(HEADER_BYTES + body.len());
    request.extend(((HEADER_BYTES + body.len()) as u32).to_ne_bytes());
    request.extend(family.to_ne_bytes());
    request.extend((NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    request.extend([0; 8]);
    request.extend(body);
    socket.send_to(&request, &SocketAddr::new(0, 0), 0)?;

    for _ in 0..MOST_RECEIVES {
        let mut datagram = Vec::with_capacity(64 << 10);
        socket.recv(&mut datagram, libc::MSG_DONTWAIT)?;
        if answers(&datagram, &mut each)? {
            return Ok(());
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "a netlink answer does not end"))
}

/// Reads one datagram; whether it was the last.
fn answers(datagram: &[u8], each: &mut impl FnMut(&[u8])) -> io::Result<bool> {
    let mut rest = datagram;
    while !rest.is_empty() {
        let malformed = |_| io::Error::new(io::ErrorKind::InvalidData, "a netlink answer is cut off");
        let message = NetlinkBuffer::new_checked(rest).map_err(malformed)?;
        match message.message_type() {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => return outcome(message.payload()).map(|()| true),
            _ => each(message.payload().get(GENERIC_HEADER_BYTES..).unwrap_or_default()),
        }
        let aligned = (message.length() as usize).next_multiple_of(4);
        rest = rest.get(aligned..).unwrap_or_default();
    }
    Ok(false)
}

/// An error message's number; zero is an acknowledgement.
fn outcome(payload: &[u8]) -> io::Result<()> {
    let number = payload.first_chunk().map_or(-libc::EIO, |bytes| i32::from_ne_bytes(*bytes));
    if number == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-number)) }
}

/// The attributes of an object: kind and value.
pub(super) fn attributes(payload: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(payload).map_while(Result::ok).filter_map(|attribute| {
        let (kind, length) = (attribute.kind(), attribute.value_length());
        let bytes = attribute.into_inner().get(4..)?.get(..length)?;
        Some((kind, bytes))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_found_by_name_and_a_missing_one_is_no_error() {
        let socket = Socket::new(NETLINK_GENERIC).unwrap();
        assert_eq!(number_of(&socket, "nlctrl").unwrap(), Some(CONTROLLER));
        for absent in ["nodewall-has-none", "nlctr", ""] {
            assert_eq!(number_of(&socket, absent).unwrap(), None, "{absent}");
        }
        let mut listed = 0;
        assert_eq!(dump("nodewall-has-none", 1, |_| listed += 1).unwrap(), None);
        dump("nlctrl", GET_FAMILY, |payload| {
            listed += usize::from(attributes(payload).any(|(kind, _)| kind == FAMILY_ID));
        })
        .unwrap();
        assert!(listed > 1, "the controller is a family, and not the only one");
    }

    /// A message with this type and payload.
    fn message(kind: u16, payload: &[u8]) -> Vec<u8> {
        let length = (HEADER_BYTES + payload.len()) as u32;
        [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10], payload].concat()
    }

    #[test]
    fn a_datagram_is_read_to_its_end() {
        let read = |datagram: &[u8]| {
            let mut found = Vec::new();
            let last = answers(datagram, &mut |payload| found.push(payload.to_vec()));
            (last.map_err(|error| error.raw_os_error()), found)
        };
        let two = [message(0x1a, b"headdata"), message(0x1a, b"headmore")].concat();
        assert_eq!(read(&two), (Ok(false), vec![b"data".to_vec(), b"more".to_vec()]));
        let done = [two, message(NLMSG_DONE, &[0; 4]), message(0x1a, b"headlate")].concat();
        assert_eq!(read(&done).0, Ok(true));
        assert_eq!(read(&done).1.len(), 2, "behind the end is nothing");
        assert_eq!(read(&message(NLMSG_ERROR, &(-libc::EPERM).to_ne_bytes())), (Err(Some(libc::EPERM)), vec![]));
        assert_eq!(read(&message(0x1a, b"headdata")[..20]).0, Err(None), "cut off");
    }
}
