//! What devices are told by generic netlink, for which guests have no tool.

use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};

const CONTROLLER: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
const NESTED: u16 = 1 << 15;
const REQUEST_ACK: u16 = 5;
/// Of a netlink and a generic netlink message.
const HEADERS_BYTES: usize = 20;

pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = ((4 + value.len()) as u16).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// An attribute that consists of others.
pub(super) fn nested(kind: u16, attributes: &[Vec<u8>]) -> Vec<u8> {
    attribute(NESTED | kind, &attributes.concat())
}

/// Sends a command to the family of this name, and returns the error number that it answers with; 0: none.
pub(super) fn command(family: &str, command: u8, attributes: &[Vec<u8>]) -> i32 {
    let answer = ask(number(family), command, &attributes.concat());
    -i32::from_ne_bytes(answer[16..20].try_into().unwrap())
}

/// The index of one of the calling thread's interfaces, as an attribute.
pub(super) fn interface(kind: u16, name: &std::ffi::CStr) -> Vec<u8> {
    // SAFETY: the name ends with a zero and lives during the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    assert_ne!(index, 0, "no interface {name:?}");
    attribute(kind, &index.to_ne_bytes())
}

/// Asks, and returns the first answer.
fn ask(family: u16, command: u8, attributes: &[u8]) -> Vec<u8> {
    let mut request = ((HEADERS_BYTES + attributes.len()) as u32).to_ne_bytes().to_vec();
    request.extend(family.to_ne_bytes());
    request.extend(REQUEST_ACK.to_ne_bytes());
    request.extend([0; 8]);
    request.extend([command, 1, 0, 0]);
    request.extend(attributes);
    let socket = Socket::new(NETLINK_GENERIC).unwrap();
    socket.send_to(&request, &SocketAddr::new(0, 0), 0).unwrap();
    let mut answer = Vec::with_capacity(8192);
    socket.recv(&mut answer, 0).unwrap();
    answer
}

/// The number of a family. To ask by name makes a kernel load the module that it has not.
fn number(family: &str) -> u16 {
    let answer = ask(CONTROLLER, GET_FAMILY, &attribute(FAMILY_NAME, &[family.as_bytes(), &[0]].concat()));
    let mut rest = &answer[HEADERS_BYTES..];
    loop {
        let word = |at: usize| u16::from_ne_bytes([rest[at], rest[at + 1]]);
        if word(2) == FAMILY_ID {
            return word(4);
        }
        rest = &rest[usize::from(word(0)).next_multiple_of(4)..];
    }
}
