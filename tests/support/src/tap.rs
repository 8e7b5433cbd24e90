//! A tap on an interface: every frame that its stack is given, behind native XDP. It changes nothing and answers nothing.

use std::io;
use std::os::fd::AsRawFd;

use socket2::{Domain, Protocol, Socket, Type};

use crate::error::{Error, Result};
use crate::netns::NetNs;
use crate::raw::link_address;

/// Room for what comes between two looks.
const BUFFER_BYTES: libc::c_int = 64 << 20;
const LARGEST_FRAME_BYTES: usize = 65_550;

/// A socket that is given a copy of every frame.
#[derive(Debug)]
pub struct Tap {
    socket: Socket,
    buffer: Vec<u8>,
}

impl Tap {
    /// Opens one on an interface of the namespace.
    pub fn open(netns: &NetNs, interface: &str) -> Result<Self> {
        let open = || -> io::Result<Socket> {
            let every = Protocol::from(libc::c_int::from((libc::ETH_P_ALL as u16).to_be()));
            let socket = Socket::new(Domain::from(libc::AF_PACKET), Type::RAW.nonblocking(), Some(every))?;
            socket.bind(&link_address(interface, libc::ETH_P_ALL as u16)?)?;
            enlarge(&socket)?;
            Ok(socket)
        };
        let socket = netns.run(open)?.map_err(Error::io(format!("tapping {interface}")))?;
        Ok(Self { socket, buffer: vec![0; LARGEST_FRAME_BYTES] })
    }

    /// Hands over every frame that was received since the last call. What the host sent itself is left out.
    pub fn drain(&mut self, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        loop {
            // SAFETY: all zero bytes are a value of this plain C structure.
            let mut from: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
            let mut from_bytes = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            // SAFETY: buffer and address are valid for writing, and their sizes are given.
            let length = unsafe {
                libc::recvfrom(
                    self.socket.as_raw_fd(),
                    self.buffer.as_mut_ptr().cast(),
                    self.buffer.len(),
                    libc::MSG_DONTWAIT,
                    (&raw mut from).cast(),
                    &raw mut from_bytes,
                )
            };
            match usize::try_from(length) {
                Ok(_) if from.sll_pkttype == libc::PACKET_OUTGOING => {}
                Ok(length) => each(self.buffer.get(..length).unwrap_or_default()),
                Err(_) => {
                    let error = io::Error::last_os_error();
                    return if error.kind() == io::ErrorKind::WouldBlock { Ok(()) } else { Err(error) };
                }
            }
        }
    }

    /// How many frames it had no room for since the last call. Where it is not 0, what [`Self::drain`] told is not all.
    pub fn lost_packets(&self) -> io::Result<u32> {
        // SAFETY: all zero bytes are a value of this plain C structure.
        let mut told: libc::tpacket_stats = unsafe { std::mem::zeroed() };
        let mut size = size_of::<libc::tpacket_stats>() as libc::socklen_t;
        // SAFETY: the option's value is valid for writing, and its size is given.
        let result = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut told).cast(),
                &raw mut size,
            )
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(told.tp_drops) }
    }
}

/// Beyond the system's limit for ordinary sockets.
fn enlarge(socket: &Socket) -> io::Result<()> {
    let bytes = BUFFER_BYTES;
    // SAFETY: the option is an int, which lives during the call, and its size is given.
    let result = unsafe {
        let size = size_of::<libc::c_int>() as libc::socklen_t;
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, (&raw const bytes).cast(), size)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
