//! Who talks with this host: connections that have ended, as the kernel tells it, and what its connection tracking knows besides. A frame alone proves no
//! sender and no answer; what is told here went both ways.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_SOCK_DIAG};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use serde::{Deserialize, Serialize};

use super::error::NetError;
use nodewall_policy::config::Protocol;

/// Somebody and the port of this host that he talks with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Conversation {
    /// The other end. IPv4 stands as IPv4.
    pub source: IpAddr,
    /// This host's port. After a redirect, of a connection the port that it was sent to.
    pub port: u16,
    /// TCP: a connection that was established. UDP: datagrams both ways.
    pub protocol: Protocol,
}

/// `SKNLGRP_INET_TCP_DESTROY` and `SKNLGRP_INET6_TCP_DESTROY` of `linux/sock_diag.h`, as bits.
const DESTROYED: u32 = 1 << 0 | 1 << 2;
/// What may wait between two looks: some thousand ends.
const BUFFER_BYTES: usize = 4 << 20;
const NETLINK_HEADER_BYTES: usize = 16;

/// The kernel's word on each TCP connection of this network namespace that ends (`NETLINK_SOCK_DIAG`): also of those that no look at the sockets meets.
/// Whoever only knocked has no socket, and is not told.
#[derive(Debug)]
pub struct EndedConnections(Socket);

impl EndedConnections {
    /// Subscribes. Needs `CAP_NET_ADMIN` for a buffer that holds a second's worth.
    ///
    /// # Errors
    /// When the kernel has no `inet_diag`.
    pub fn watch() -> Result<Self, NetError> {
        let open = || {
            let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
            socket.set_non_blocking(true)?;
            // What does not fit is lost, which costs a name in a list.
            let _ = set_socket_recv_buffer_size_force(&socket, BUFFER_BYTES);
            socket.bind(&SocketAddr::new(0, DESTROYED))?;
            Ok(Self(socket))
        };
        open().map_err(|source| NetError::Socket { action: "asking to be told of connections that end", source })
    }

    /// Those that ended since the last call: the other end and this host's port.
    pub fn take(&self) -> BTreeSet<Conversation> {
        let mut ended = BTreeSet::new();
        loop {
            let mut message = Vec::with_capacity(2 << 10);
            match self.0.recv(&mut message, 0) {
                Ok(_) => ended.extend(destroyed(&message)),
                // The buffer ran over: what is left of it comes all the same.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                Err(_) => return ended,
            }
        }
    }
}

/// `inet_diag_msg`: family, state, timer, retransmits, both ports and both addresses as on the wire, this host's first.
fn destroyed(message: &[u8]) -> Option<Conversation> {
    let body = message.get(NETLINK_HEADER_BYTES..)?;
    let port = u16::from_be_bytes(body.get(4..6)?.try_into().ok()?);
    let source: IpAddr = match i32::from(*body.first()?) {
        libc::AF_INET => Ipv4Addr::from(<[u8; 4]>::try_from(body.get(24..28)?).ok()?).into(),
        libc::AF_INET6 => Ipv6Addr::from(<[u8; 16]>::try_from(body.get(24..40)?).ok()?).into(),
        _ => return None,
    };
    // One that only listened has no other end.
    let talked = !source.is_unspecified();
    talked.then(|| Conversation { source: source.to_canonical(), port, protocol: Protocol::Tcp })
}

/// What the host's connection tracking knows, where there is any: TCP that was established, UDP that was answered, also what goes on to containers. The port is
/// that of the first packet, before any redirect.
///
/// # Errors
/// When the table is there and cannot be read.
pub fn tracked() -> Result<BTreeSet<Conversation>, NetError> {
    let path = Path::new("/proc/thread-self/net/nf_conntrack");
    let failed = |source| NetError::Read { path: path.to_path_buf(), source };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut found = BTreeSet::new();
    for line in BufReader::new(file).lines() {
        found.extend(answered(&line.map_err(failed)?));
    }
    Ok(found)
}

/// A line of the table: the first packet's addresses and ports, then the answer's.
fn answered(line: &str) -> Option<Conversation> {
    let protocol = match line.split_whitespace().nth(2)? {
        "tcp" if line.contains("[ASSURED]") => Protocol::Tcp,
        "udp" if !line.contains("[UNREPLIED]") => Protocol::Udp,
        _ => return None,
    };
    let first = |key: &str| line.split_whitespace().find_map(|word| word.strip_prefix(key));
    let source: IpAddr = first("src=")?.parse().ok()?;
    Some(Conversation { source: source.to_canonical(), port: first("dport=")?.parse().ok()?, protocol })
}

#[cfg(test)]
mod tests;
