//! How far a client's program has taken what it was sent, by the kernel's word. The one place of the executable that asks for `TCP_INFO`.

use std::{
    mem::{MaybeUninit, offset_of},
    os::fd::{AsFd, AsRawFd as _},
};

/// How far a client got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// Bytes that reached its side. That they did says nothing: its kernel holds a hundred thousand and more for a program that never reads.
    pub(super) arrived: u64,
    /// The end of what its side has room for, in bytes since the connection began.
    pub(super) room_end: u64,
}

impl Taken {
    /// Whether the program read any of what arrived since `before`. The room of one that does not moves on, too, as what it holds need not be as large as was
    /// reckoned with; but not by half of what arrived, while that of one that reads moves on by all of it.
    pub(super) fn is_beyond(self, before: Self) -> bool {
        2 * self.room_end.saturating_sub(before.room_end) > self.arrived.saturating_sub(before.arrived)
    }
}

/// What the kernel knows of the other side of `socket`; `None`: nothing (before Linux 5.4).
pub(super) fn taken(socket: impl AsFd) -> Option<Taken> {
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
    if answer != 0 || (length_bytes as usize) < offset_of!(libc::tcp_info, tcpi_snd_wnd) + size_of::<u32>() {
        return None;
    }
    // SAFETY: every field is an integer, the buffer was zeroed, and the kernel wrote integers into it.
    let info = unsafe { info.assume_init() };
    let arrived = info.tcpi_bytes_acked;
    Some(Taken { arrived, room_end: arrived + u64::from(info.tcpi_snd_wnd) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{Read as _, Write as _},
        net::{TcpListener, TcpStream},
    };

    const TICK_BYTES: usize = 6_000;

    #[test]
    fn who_reads_is_told_from_who_does_not_long_before_its_socket_is_full() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut served, _) = listener.accept().unwrap();
        served.set_nodelay(true).unwrap();
        let mut tick = |before: Taken| {
            served.write_all(&[b'x'; TICK_BYTES]).unwrap();
            // All of it arrived: what is judged is the reading.
            loop {
                let now = taken(&served).unwrap();
                if now.arrived >= before.arrived + TICK_BYTES as u64 {
                    return now;
                }
                std::thread::yield_now();
            }
        };
        let begin = tick(Taken { arrived: 0, room_end: 0 });
        let mut deaf = begin;
        for _ in 0..4 {
            deaf = tick(deaf);
            assert!(!deaf.is_beyond(begin), "{begin:?} {deaf:?}");
        }
        client.read_exact(&mut vec![0; 5 * TICK_BYTES]).unwrap();
        let read = tick(deaf);
        assert!(read.is_beyond(deaf) && read.is_beyond(begin), "{deaf:?} {read:?}");
        assert!(!read.is_beyond(read), "nothing came, nothing was read");
    }
}
