//! Who listens on this host, and which TCP connections it has: /proc/thread-self/net of the calling thread's network
//! namespace. Knows nothing of policies; names a socket's process only when asked ([`owners`]).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use super::NetError;

/// Follows the thread: a process may have threads in several namespaces, and /proc/net is the first thread's.
const NET: &str = "/proc/thread-self/net";
/// States of `include/net/tcp_states.h`; an unconnected UDP socket is in `TCP_CLOSE`.
const TCP_ESTABLISHED: u8 = 1;
const TCP_CLOSE: u8 = 7;
const TCP_LISTEN: u8 = 10;

/// The protocols that have ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Transport {
    /// `tcp` or `udp`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl std::fmt::Display for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// A TCP socket that listens, or a UDP socket that takes datagrams from anyone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Listening {
    /// TCP or UDP.
    pub transport: Transport,
    /// What it is bound to; `[::]` takes IPv4 as well, unless the program asked for IPv6 alone, which /proc does not show.
    pub local: SocketAddr,
    /// The user that owns it.
    pub uid: u32,
    /// Its inode, by which [`owners`] finds the process.
    pub inode: u64,
}

impl Listening {
    /// Nobody but this host can reach it.
    pub fn is_loopback(&self) -> bool {
        self.local.ip().is_loopback()
    }
}

/// An established TCP connection, seen from this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Connection {
    /// This end. After a redirect (`REDIRECT`, `DNAT`) the port is the redirected one, not that of the packets on the wire.
    pub local: SocketAddr,
    /// The other end. IPv4 stands as IPv4, also on an IPv6 socket.
    pub remote: SocketAddr,
}

/// The sockets of a network namespace, as they were while /proc was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sockets {
    listening: Vec<Listening>,
    connections: Vec<Connection>,
}

/// Reads the sockets of the calling thread's network namespace. Needs no privilege.
///
/// # Errors
/// When a file can not be read or has another format. A kernel without IPv6 has no IPv6 sockets, which is no error.
pub fn sockets() -> Result<Sockets, NetError> {
    read(&[("tcp", Transport::Tcp), ("tcp6", Transport::Tcp), ("udp", Transport::Udp), ("udp6", Transport::Udp)])
}

/// [`sockets`] without UDP: for who only wants to know who is connected.
///
/// # Errors
/// As [`sockets`].
pub fn tcp_sockets() -> Result<Sockets, NetError> {
    read(&[("tcp", Transport::Tcp), ("tcp6", Transport::Tcp)])
}

fn read(files: &[(&str, Transport)]) -> Result<Sockets, NetError> {
    let mut sockets = Sockets::default();
    for &(name, transport) in files {
        let path = Path::new(NET).join(name);
        match std::fs::read_to_string(&path) {
            Ok(text) => sockets.add(transport, &text).map_err(|found| NetError::Parse {
                path,
                expected: "a line for each socket",
                found,
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && name.ends_with('6') => {}
            Err(source) => return Err(NetError::Read { path, source }),
        }
    }
    sockets.listening.sort_unstable();
    sockets.connections.sort_unstable();
    Ok(sockets)
}

impl Sockets {
    /// What listens, on any address, sorted by protocol, then address.
    pub fn listening(&self) -> impl Iterator<Item = &Listening> {
        self.listening.iter()
    }

    /// All established TCP connections.
    pub fn connections(&self) -> impl Iterator<Item = &Connection> {
        self.connections.iter()
    }

    /// Those of [`Self::connections`] that others made to this host: something listens on their local port.
    pub fn inbound(&self) -> impl Iterator<Item = &Connection> {
        let served: BTreeSet<(u16, IpAddr)> = self
            .listening
            .iter()
            .filter(|socket| socket.transport == Transport::Tcp)
            .map(|socket| (socket.local.port(), socket.local.ip()))
            .collect();
        self.connections.iter().filter(move |connection| {
            let (port, ip) = (connection.local.port(), connection.local.ip());
            let any = [IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::UNSPECIFIED)];
            served.contains(&(port, ip)) || any.iter().any(|&any| served.contains(&(port, any)))
        })
    }

    /// Reads the text of one of the four files; the error is the line that could not be read.
    fn add(&mut self, transport: Transport, text: &str) -> Result<(), String> {
        for line in text.lines().skip(1).filter(|line| !line.trim().is_empty()) {
            let Some(row) = Row::parse(line) else { return Err(line.trim().to_owned()) };
            let listens = match transport {
                Transport::Tcp => row.state == TCP_LISTEN,
                Transport::Udp => row.state == TCP_CLOSE && row.remote.port() == 0,
            };
            if listens {
                self.listening.push(Listening { transport, local: row.local, uid: row.uid, inode: row.inode });
            } else if transport == Transport::Tcp && row.state == TCP_ESTABLISHED {
                self.connections.push(Connection { local: row.local, remote: row.remote });
            }
        }
        Ok(())
    }
}

/// A line of /proc/net/tcp and kin (`get_tcp4_sock` and kin in the kernel).
struct Row {
    local: SocketAddr,
    remote: SocketAddr,
    state: u8,
    uid: u32,
    inode: u64,
}

impl Row {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace().skip(1);
        let (local, remote) = (address(words.next()?)?, address(words.next()?)?);
        let state = u8::from_str_radix(words.next()?, 16).ok()?;
        // Between them: the two queues, the timer, retransmits.
        let uid = words.nth(3)?.parse().ok()?;
        let inode = words.nth(1)?.parse().ok()?;
        Some(Self { local, remote, state, uid, inode })
    }
}

/// `0100007F:1F90`: 32-bit words of the address in the machine's byte order, then the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    if !address.is_ascii() {
        return None;
    }
    let words: Option<Vec<u32>> = address
        .as_bytes()
        .chunks(8)
        .map(|word| u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok())
        .collect();
    let ip = match (address.len(), words?.as_slice()) {
        (8, [word]) => IpAddr::V4(Ipv4Addr::from(word.to_ne_bytes())),
        (32, words) => {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
            IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip.to_canonical(), port))
}

/// A process that holds a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Its process id, in the pid namespace of /proc.
    pub pid: u32,
    /// Its name (`/proc/PID/comm`), at most 15 bytes.
    pub name: String,
}

/// The processes that hold these sockets, by inode; the lowest pid where several share one. Without privilege only this
/// user's processes can be seen, and a socket of the kernel's own has none: such inodes are left out.
pub fn owners(inodes: &BTreeSet<u64>) -> BTreeMap<u64, Owner> {
    let mut found = BTreeMap::new();
    let mut pids: Vec<u32> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    for pid in pids {
        if found.len() == inodes.len() {
            break;
        }
        let process = Path::new("/proc").join(pid.to_string());
        // Gone meanwhile, or another user's: as if it were not there.
        for descriptor in std::fs::read_dir(process.join("fd")).into_iter().flatten().flatten() {
            let Ok(target) = std::fs::read_link(descriptor.path()) else { continue };
            let inode = target
                .to_str()
                .and_then(|target| target.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u64>().ok());
            if let Some(inode) = inode.filter(|inode| inodes.contains(inode)) {
                let name = std::fs::read_to_string(process.join("comm")).unwrap_or_default();
                found.entry(inode).or_insert_with(|| Owner { pid, name: name.trim_end().to_owned() });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests;
