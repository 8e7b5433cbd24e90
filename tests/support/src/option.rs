//! Socket options that no crate in use has a name for.

use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd};

/// Switches on an option of one number.
pub(crate) fn set(socket: impl AsFd, level: libc::c_int, name: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the option is an int, which lives during the call, and its size is given.
    let result = unsafe {
        let size = size_of::<libc::c_int>() as libc::socklen_t;
        libc::setsockopt(socket.as_fd().as_raw_fd(), level, name, (&raw const on).cast(), size)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Has the socket keep what ICMP errors quote (`IP_RECVERR`), to be read with `MSG_ERRQUEUE`.
pub fn keep_errors(socket: &UdpSocket) -> io::Result<()> {
    if socket.local_addr()?.is_ipv4() {
        set(socket, libc::IPPROTO_IP, libc::IP_RECVERR)
    } else {
        set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
    }
}
