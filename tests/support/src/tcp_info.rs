//! What the kernel knows about a TCP socket: how many segments it sent. The one place that asks for `TCP_INFO`.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};

/// The segments this socket has sent so far: SYN, data, pure acknowledgements and FIN, each retransmission again. Tests
/// compare it with a filter's counters, and it stays right when a slow machine makes the kernel send a second SYN.
pub(crate) fn sent_segments(socket: impl AsFd) -> io::Result<u32> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length_bytes = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length_bytes` bytes, which is the size of the buffer behind the pointer; the
    // descriptor is borrowed and so open.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length_bytes,
        )
    };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: every field is an integer, the buffer was zeroed, and the kernel wrote integers into it.
    Ok(unsafe { info.assume_init() }.tcpi_segs_out)
}
