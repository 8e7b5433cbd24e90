//! Frames as they are, put on a wire from inside a namespace: what no ordinary socket would send. What is in them is up to
//! the test.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::error::{Error, Result};
use crate::netns::NetNs;

impl NetNs {
    /// Sends each of these Ethernet frames once, unchanged, from an interface of this namespace.
    pub fn send_frames<F: AsRef<[u8]>>(&self, interface: &str, frames: &[F]) -> Result<()> {
        let sender = self.raw_sender(interface)?;
        let failed = Error::io(format!("sending a raw frame on {interface}"));
        frames.iter().try_for_each(|frame| sender.send(frame.as_ref())).map_err(failed)
    }

    /// A sender of raw frames on an interface of this namespace, for whoever sends many.
    pub fn raw_sender(&self, interface: &str) -> Result<RawSender> {
        self.run(|| {
            let failed = |what: &str| Error::io(format!("{what} a raw frame on {interface}"));
            let address = link_address(interface, 0).map_err(failed("addressing"))?;
            // Without a protocol it only sends: nothing is received, so nothing has to be read.
            let socket = Socket::new(Domain::from(libc::AF_PACKET), Type::RAW, None);
            Ok(RawSender { socket: socket.map_err(failed("opening a socket for"))?, address })
        })?
    }
}

/// Puts frames on one interface, from whichever thread.
#[derive(Debug)]
pub struct RawSender {
    socket: Socket,
    address: SockAddr,
}

impl RawSender {
    /// Sends one Ethernet frame, unchanged. The kernel refuses what is longer than the interface's MTU (`EMSGSIZE`) or shorter than
    /// an Ethernet header (`EINVAL`).
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.socket.send_to(frame, &self.address).map(drop)
    }

    /// The address of the interface, as system calls take it, and its size in bytes.
    pub(crate) fn address(&self) -> (*const libc::sockaddr_storage, libc::socklen_t) {
        (self.address.as_ptr().cast(), self.address.len())
    }
}

impl AsRawFd for RawSender {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// The address of an interface of the calling thread's namespace, with the protocol that a socket bound to it receives (0: none).
pub(crate) fn link_address(interface: &str, ethertype: u16) -> io::Result<SockAddr> {
    let index = index_of(interface)?;
    let init = |storage: *mut socket2::SockAddrStorage, length: *mut libc::socklen_t| {
        let address = storage.cast::<libc::sockaddr_ll>();
        // SAFETY: the storage is zeroed, aligned and large enough for every kind of address, and `length` is valid for writing.
        unsafe {
            (*address).sll_family = libc::AF_PACKET as libc::sa_family_t;
            (*address).sll_protocol = ethertype.to_be();
            (*address).sll_ifindex = index.cast_signed();
            *length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        }
        Ok(())
    };
    // SAFETY: `init` writes a whole address of the family that it names, with its length.
    unsafe { SockAddr::try_init(init) }.map(|((), address)| address)
}

/// The number of an interface of the calling thread's namespace.
pub(crate) fn index_of(interface: &str) -> io::Result<u32> {
    let name = CString::new(interface)?;
    // SAFETY: the name ends with a zero byte and lives during the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if index == 0 { Err(io::Error::last_os_error()) } else { Ok(index) }
}
