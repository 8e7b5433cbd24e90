//! A tun device: packets without a link-layer header, given to a namespace's stack by the test instead of a tunnel. What is in them is the test's business.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd;

use crate::error::{Error, Result};
use crate::netns::NetNs;

/// `linux/if_tun.h`
const TUNSETIFF: libc::Ioctl = 0x4004_54ca;
const IFF_TUN: libc::c_short = 1;
const IFF_NO_PI: libc::c_short = 0x1000;
const IFF_VNET_HDR: libc::c_short = 0x4000;
/// `linux/virtio_net.h`: `struct virtio_net_hdr`, and some of its values.
const VNET_HEADER_BYTES: usize = 10;
const NEEDS_CHECKSUM: u8 = 1;
const TCP_OVER_IPV4: u8 = 1;

/// The device. It goes when this is dropped.
#[derive(Debug)]
pub struct Tun {
    file: File,
}

/// An aggregate of TCP over IPv4, as a hypervisor gives it to its guest: it does not say how many frames it was.
#[derive(Clone, Copy, Debug)]
pub struct Unsaid {
    /// Bytes in front of the payload.
    pub headers: u16,
    /// Offset of the TCP header.
    pub tcp_at: u16,
    /// Payload of each frame but the last.
    pub piece_bytes: u16,
}

impl Tun {
    /// Makes one in a namespace.
    pub fn create(netns: &NetNs, name: &str) -> Result<Self> {
        let make = || -> io::Result<File> {
            let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
            // SAFETY: all zero bytes are a value of this plain C structure.
            let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
            if name.len() >= request.ifr_name.len() {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
                *to = from.cast_signed();
            }
            request.ifr_ifru.ifru_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
            // SAFETY: the request lives during the call, and is of the size that the command has.
            let result = unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF, &raw mut request) };
            if result < 0 { Err(io::Error::last_os_error()) } else { Ok(file) }
        };
        let file = netns.run(make)?.map_err(Error::io(format!("making the tun device {name}")))?;
        Ok(Self { file })
    }

    /// Gives the stack one packet, from its IP header on.
    pub fn give(&self, packet: &[u8]) -> Result<()> {
        self.write(&[0; VNET_HEADER_BYTES], packet)
    }

    /// Gives it an aggregate.
    pub fn give_aggregate(&self, packet: &[u8], how: Unsaid) -> Result<()> {
        // Where the checksum goes in a TCP header.
        let words = [how.headers, how.piece_bytes, how.tcp_at, 16].map(u16::to_le_bytes);
        self.write(&[&[NEEDS_CHECKSUM, TCP_OVER_IPV4], words.as_flattened()].concat(), packet)
    }

    fn write(&self, header: &[u8], packet: &[u8]) -> Result<()> {
        let failed = Error::io("giving a packet to a tun device");
        (&self.file).write_all(&[header, packet].concat()).map_err(failed)
    }
}
