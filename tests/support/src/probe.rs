//! Probes: real connections and datagrams from inside a namespace, and what became of each. A probe never decides whether
//! its outcome is right; that is for the test.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::runtime::Builder;
use tokio::time::{self, Instant};

use crate::Protocol;
use crate::error::{Error, Result};
use crate::netns::NetNs;
use crate::tcp_info::sent_segments;

/// What a probe met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The whole round trip: what was sent came back from the port that `by_port` names. It is another than the one that
    /// was asked where the node redirects.
    Answered {
        /// The local port of the socket that answered.
        by_port: u16,
    },
    /// Somebody said no: a TCP reset, or ICMP port unreachable.
    Refused,
    /// Nothing came back: no SYN-ACK, no datagram.
    TimedOut,
    /// The network said no: no route, or ICMP host, network or prohibited. The system's words.
    Unreachable(String),
    /// Anything else, such as a connection that opened and then did not echo.
    Failed(String),
}

impl Outcome {
    /// Whether the round trip worked, whichever port answered.
    pub fn is_answered(&self) -> bool {
        matches!(self, Self::Answered { .. })
    }

    fn from_error(error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::ConnectionRefused => Self::Refused,
            // EACCES and EPERM are a route's or an ICMP's "prohibited".
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::PermissionDenied => {
                Self::Unreachable(error.to_string())
            }
            ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// One probe to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// A connection or a datagram.
    pub protocol: Protocol,
    /// Whom to ask.
    pub target: SocketAddr,
    /// The address to ask from; the kernel chooses when there is none.
    pub source: Option<SocketAddr>,
    /// How many more datagrams to send while no answer comes, evenly over the timeout. TCP does its own after one second.
    pub udp_resends: u32,
    /// The least number of payload bytes to send and to get back; a few more than 20 unless set.
    pub payload_bytes: usize,
}

impl Probe {
    /// A TCP connection, an exchange over it, and its orderly end.
    pub fn tcp(target: SocketAddr) -> Self {
        Self { protocol: Protocol::Tcp, target, source: None, udp_resends: 0, payload_bytes: 0 }
    }

    /// One UDP datagram and its answer.
    pub fn udp(target: SocketAddr) -> Self {
        Self { protocol: Protocol::Udp, ..Self::tcp(target) }
    }

    /// One of the two.
    pub fn new(protocol: Protocol, target: SocketAddr) -> Self {
        Self { protocol, ..Self::tcp(target) }
    }

    /// The same from this address of the host, on any port.
    #[must_use]
    pub fn from_address(self, source: IpAddr) -> Self {
        self.from_socket(SocketAddr::new(source, 0))
    }

    /// The same from this address and port of the host.
    #[must_use]
    pub fn from_socket(self, source: SocketAddr) -> Self {
        Self { source: Some(source), ..self }
    }

    /// The same with this many datagrams more while no answer comes.
    #[must_use]
    pub fn resends(self, datagrams: u32) -> Self {
        Self { udp_resends: datagrams, ..self }
    }

    /// The same with at least this many bytes of payload.
    #[must_use]
    pub fn payload(self, bytes: usize) -> Self {
        Self { payload_bytes: bytes, ..self }
    }
}

/// What became of one probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probed {
    /// What it met.
    pub outcome: Outcome,
    /// The packets it sent. UDP: datagrams (one that was fragmented counts once). TCP: segments, retransmissions included;
    /// for an answered probe all of them up to the last acknowledgement, for one that timed out its SYNs.
    pub sent_packets: u32,
}

/// Makes all probes at once from inside a namespace, each with the whole timeout, and returns when the last is done, in
/// the order given. So any number of dropped ones costs one timeout.
///
/// A TCP SYN is sent again after one second: with a shorter timeout a dropped probe sends exactly one.
pub fn probe_many(netns: &NetNs, probes: &[Probe], timeout: Duration) -> Result<Vec<Probed>> {
    let done = netns.run(|| {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(Error::io("starting a runtime"))?;
        runtime.block_on(async {
            let running: Vec<_> = probes.iter().map(|probe| tokio::spawn(one(*probe, timeout))).collect();
            let mut done = Vec::with_capacity(running.len());
            for probe in running {
                done.push(probe.await.map_err(|end| Error::io("making a probe")(io::Error::other(end)))?);
            }
            Ok::<_, Error>(done)
        })
    })??;
    let tcp = probes.iter().zip(&done).filter(|(probe, _)| probe.protocol == Protocol::Tcp);
    netns.add_probed_segments(tcp.map(|(_, probed)| u64::from(probed.sent_packets)).sum());
    Ok(done)
}

/// One TCP probe.
pub fn probe_tcp(netns: &NetNs, target: SocketAddr, timeout: Duration) -> Result<Outcome> {
    probe_one(netns, Probe::tcp(target), timeout)
}

/// One UDP probe, without resends.
pub fn probe_udp(netns: &NetNs, target: SocketAddr, timeout: Duration) -> Result<Outcome> {
    probe_one(netns, Probe::udp(target), timeout)
}

fn probe_one(netns: &NetNs, probe: Probe, timeout: Duration) -> Result<Outcome> {
    let mut done = probe_many(netns, &[probe], timeout)?;
    done.pop().map(|probed| probed.outcome).ok_or_else(|| Error::BadLab("a probe came back with no outcome".into()))
}

async fn one(probe: Probe, timeout: Duration) -> Probed {
    let payload = payload(probe.payload_bytes);
    match probe.protocol {
        Protocol::Tcp => tcp(probe, &payload, Instant::now() + timeout).await,
        Protocol::Udp => udp(probe, &payload, timeout).await,
    }
}

/// A token that no other probe of this machine sends, repeated until it is long enough.
fn payload(least_bytes: usize) -> Vec<u8> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let token = format!("nodewall probe {} {}\n", process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
    let repeats = least_bytes.div_ceil(token.len()).max(1);
    token.repeat(repeats).into_bytes()
}

/// Reads the `<port> ` with which our listeners begin, and compares the rest with what was sent.
fn verify(answer: &[u8], sent: &[u8]) -> Outcome {
    let parts = answer.iter().position(|byte| *byte == b' ').and_then(|space| answer.split_at_checked(space));
    let by_port = parts.and_then(|(port, rest)| Some((str::from_utf8(port).ok()?.parse().ok()?, rest.get(1..)?)));
    match by_port {
        Some((by_port, echoed)) if echoed == sent => Outcome::Answered { by_port },
        _ => Outcome::Failed(format!("an answer that is not ours: {}", String::from_utf8_lossy(answer).escape_debug())),
    }
}

fn open(probe: Probe, kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(probe.target), kind.nonblocking(), None)?;
    if let Some(source) = probe.source {
        socket.bind(&SockAddr::from(source))?;
    }
    match socket.connect(&SockAddr::from(probe.target)) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(socket),
    }
}

async fn tcp(probe: Probe, payload: &[u8], deadline: Instant) -> Probed {
    let mut stream = match open(probe, Type::STREAM).and_then(|socket| TcpStream::from_std(socket.into())) {
        Ok(stream) => stream,
        Err(error) => {
            return Probed { outcome: Outcome::from_error(&error), sent_packets: 0 };
        }
    };
    let outcome = match time::timeout_at(deadline, connected(&stream)).await {
        Err(_) => Outcome::TimedOut,
        Ok(Err(error)) => Outcome::from_error(&error),
        Ok(Ok(())) => match time::timeout_at(deadline, exchange(&mut stream, payload)).await {
            Err(_) => Outcome::Failed("the connection opened, but its echo did not come in time".into()),
            Ok(Err(error)) => Outcome::Failed(format!("the connection opened, then: {error}")),
            Ok(Ok(answer)) => verify(&answer, payload),
        },
    };
    // Asked after the whole exchange: the last acknowledgement is counted.
    match sent_segments(&stream) {
        Ok(sent_packets) => Probed { outcome, sent_packets },
        Err(error) => Probed { outcome: Outcome::Failed(format!("TCP_INFO: {error}")), sent_packets: 0 },
    }
}

async fn connected(stream: &TcpStream) -> io::Result<()> {
    stream.writable().await?;
    stream.take_error()?.map_or(Ok(()), Err)
}

/// Sends all while reading all, ends its own side, and reads to the other's end, so that no segment is on its way after.
async fn exchange(stream: &mut TcpStream, payload: &[u8]) -> io::Result<Vec<u8>> {
    let (mut reader, mut writer) = stream.split();
    let send = async {
        writer.write_all(payload).await?;
        Ok(())
    };
    let mut answer = Vec::new();
    let receive = async {
        let mut buffer = vec![0; 16 * 1024];
        // `<port> ` has two to six bytes: the space tells where the echo begins.
        while answer.iter().position(|byte| *byte == b' ').is_none_or(|space| answer.len() <= space + payload.len()) {
            match reader.read(&mut buffer).await? {
                0 => return Err(io::Error::from(ErrorKind::UnexpectedEof)),
                length => answer.extend(buffer.get(..length).unwrap_or_default()),
            }
        }
        Ok(())
    };
    let ((), ()) = tokio::try_join!(send, receive)?;
    writer.shutdown().await?;
    reader.read_to_end(&mut answer).await?;
    Ok(answer)
}

async fn udp(probe: Probe, payload: &[u8], timeout: Duration) -> Probed {
    let mut sent_packets = 0;
    let outcome = match open(probe, Type::DGRAM).and_then(|socket| UdpSocket::from_std(socket.into())) {
        Ok(socket) => datagrams(&socket, probe.udp_resends, payload, timeout, &mut sent_packets).await,
        Err(error) => Err(error),
    };
    Probed { outcome: outcome.unwrap_or_else(|error| Outcome::from_error(&error)), sent_packets }
}

async fn datagrams(
    socket: &UdpSocket,
    resends: u32,
    payload: &[u8],
    timeout: Duration,
    sent_packets: &mut u32,
) -> io::Result<Outcome> {
    let mut answer = vec![0; 65_535];
    for _ in 0..=resends {
        socket.send(payload).await?;
        *sent_packets += 1;
        if let Ok(received) = time::timeout(timeout / (resends + 1), socket.recv(&mut answer)).await {
            return Ok(verify(answer.get(..received?).unwrap_or_default(), payload));
        }
    }
    Ok(Outcome::TimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_bytes_that_were_sent_count_as_an_answer() {
        assert_eq!(verify(b"8022 token", b"token"), Outcome::Answered { by_port: 8022 });
        for wrong in [&b"8022 taken"[..], b"8022 token!", b"8022token", b"token", b"x token", b"70000 token", b""] {
            assert!(matches!(verify(wrong, b"token"), Outcome::Failed(_)), "{wrong:?}");
        }
    }

    #[test]
    fn a_payload_is_its_own_and_long_enough() {
        assert_ne!(payload(0), payload(0));
        assert!(payload(5000).len() >= 5000);
    }
}
