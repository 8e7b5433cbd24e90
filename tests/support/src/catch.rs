//! Sockets that catch whatever the kernel hands out on some ports, without a thread and without an answer. A datagram counts, and so does a
//! lone SYN with data: the namespace accepts it without a handshake (TCP Fast Open without a cookie), so that one frame is enough to see
//! that it was delivered.

use std::fs;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use crate::Protocol;
use crate::error::{Error, Result};
use crate::netns::NetNs;
use crate::option;

/// Connections that may wait on one port.
const BACKLOG: i32 = 4096;
/// The largest UDP payload.
const LARGEST_DATAGRAM_BYTES: usize = 65_535;
/// linux/udp.h: take IPv6 datagrams without a checksum.
const UDP_NO_CHECK6_RX: libc::c_int = 102;
/// linux/ip-sysctl: servers take data in a SYN (2), without a cookie (0x200), on every listener (0x400).
const FAST_OPEN: &str = "1538";

/// What came out of a socket.
#[derive(Clone, Debug)]
pub struct Caught<'a> {
    /// Which protocol's socket.
    pub protocol: Protocol,
    /// The socket's port.
    pub port: u16,
    /// The sender, as the socket saw it.
    pub from: SocketAddr,
    /// The payload.
    pub bytes: &'a [u8],
}

#[derive(Debug)]
enum CatchingSocket {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

/// Sockets of both protocols and both families on some ports.
#[derive(Debug)]
pub struct Catcher {
    sockets: Vec<(u16, CatchingSocket)>,
    buffer: Vec<u8>,
}

impl Catcher {
    /// Opens them in `netns`, whose TCP then accepts data in a SYN. Every other port gets one socket for both families; the rest get a socket for each.
    pub fn open(netns: &NetNs, ports: &[u16]) -> Result<Self> {
        netns.sysctl(&[("ipv4.tcp_fastopen", FAST_OPEN), ("core.somaxconn", "4096")])?;
        let sockets = netns.run(|| {
            let mut sockets = Vec::new();
            for (n, &port) in ports.iter().enumerate() {
                let dual = n % 2 == 0;
                let mut addresses: Vec<IpAddr> = vec![Ipv6Addr::UNSPECIFIED.into()];
                if !dual {
                    addresses.push(Ipv4Addr::UNSPECIFIED.into());
                }
                for address in addresses {
                    let failed = |e| Error::io(format!("binding {address} port {port}"))(e);
                    sockets.push((port, tcp((address, port).into(), !dual).map_err(failed)?));
                    sockets.push((port, udp((address, port).into(), !dual).map_err(failed)?));
                }
            }
            Ok(sockets)
        })??;
        Ok(Self { sockets, buffer: vec![0; LARGEST_DATAGRAM_BYTES] })
    }

    /// Hands over everything that has arrived so far, and ends each connection.
    pub fn drain(&mut self, mut each: impl FnMut(Caught<'_>)) -> io::Result<()> {
        for (port, socket) in &self.sockets {
            match socket {
                CatchingSocket::Udp(socket) => {
                    while let Some((length, from)) = unless_idle(socket.recv_from(&mut self.buffer))? {
                        let bytes = self.buffer.get(..length).unwrap_or_default();
                        each(Caught { protocol: Protocol::Udp, port: *port, from, bytes });
                    }
                }
                CatchingSocket::Tcp(listener) => {
                    while let Some((stream, from)) = unless_idle(listener.accept())? {
                        let length = read(stream, &mut self.buffer)?;
                        let bytes = self.buffer.get(..length).unwrap_or_default();
                        each(Caught { protocol: Protocol::Tcp, port: *port, from, bytes });
                    }
                }
            }
        }
        Ok(())
    }
}

impl NetNs {
    /// TCP connections of this namespace that are neither listening nor finished opening: a SYN reached a listener, and nothing more came.
    /// Each is the local port and the other end's.
    pub fn half_open(&self) -> Result<Vec<(u16, u16)>> {
        let tables = self.run(|| {
            ["tcp", "tcp6"].map(|table| {
                let file = format!("/proc/thread-self/net/{table}");
                fs::read_to_string(&file).map_err(Error::io(format!("reading {file}")))
            })
        })?;
        let mut found = Vec::new();
        for table in tables {
            found.extend(table?.lines().skip(1).filter_map(half_open));
        }
        Ok(found)
    }
}

/// The ports in a line of /proc/net/tcp whose state is `SYN_RECV` (`include/net/tcp_states.h`).
fn half_open(line: &str) -> Option<(u16, u16)> {
    let mut words = line.split_whitespace().skip(1);
    let port = |word: &str| u16::from_str_radix(word.rsplit(':').next()?, 16).ok();
    let (local, remote) = (port(words.next()?)?, port(words.next()?)?);
    (words.next()? == "03").then_some((local, remote))
}

/// What was read, or nothing when there is nothing (any more). ICMP messages about earlier answers are no news.
fn unless_idle<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// What came with the SYN. The connection is reset, so that nothing of it stays.
fn read(mut stream: TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    stream.set_nonblocking(true)?;
    let length = unless_idle(stream.read(buffer))?.unwrap_or(0);
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    Ok(length)
}

fn bound(kind: Type, address: SocketAddr, only_v6: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind.nonblocking(), None)?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    if kind == Type::STREAM {
        socket.set_reuse_address(true)?;
    }
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

fn tcp(address: SocketAddr, only_v6: bool) -> io::Result<CatchingSocket> {
    let socket = bound(Type::STREAM, address, only_v6)?;
    socket.listen(BACKLOG)?;
    Ok(CatchingSocket::Tcp(socket.into()))
}

fn udp(address: SocketAddr, only_v6: bool) -> io::Result<CatchingSocket> {
    let socket = bound(Type::DGRAM, address, only_v6)?;
    if address.is_ipv6() {
        option::set(&socket, libc::IPPROTO_UDP, UDP_NO_CHECK6_RX)?;
    }
    Ok(CatchingSocket::Udp(socket.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_open_connections_are_told_from_others() {
        let line = "   0: 0100007F:2352 0200007F:9C40 03 00000000:00000000 01:00000062 00000000     0        0 0 1";
        assert_eq!(half_open(line), Some((9042, 40_000)));
        assert_eq!(half_open(&line.replace(" 03 ", " 0A ")), None);
        assert_eq!(half_open("   0: 0100007F:2352"), None);
    }
}
