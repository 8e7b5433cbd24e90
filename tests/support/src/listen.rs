//! Echo servers inside a namespace: many TCP and UDP ports, both families, one thread. They answer with the local port and
//! what came, and they remember from whom it came, so that a test can say what reached a socket and what did not.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use crate::Protocol;
use crate::error::{Error, Result};
use crate::netns::NetNs;

/// Connections that may wait to be accepted on one port.
const BACKLOG: i32 = 512;
/// How long an address may still be held by a process that is about to execute a program.
const HELD_BY_A_CHILD: Duration = Duration::from_secs(5);
/// The largest UDP payload.
const LARGEST_DATAGRAM_BYTES: usize = 65_535;

/// What arrived at the socket of one port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrived {
    /// TCP connections accepted, or UDP datagrams received.
    pub count: u64,
    /// Payload bytes received.
    pub bytes: u64,
    /// How many of `count` came from which source. IPv4 sources stand as IPv4.
    pub sources: BTreeMap<IpAddr, u64>,
}

#[derive(Debug, Default)]
struct Record(Mutex<BTreeMap<(Protocol, u16), Arrived>>);

impl Record {
    fn note(&self, key: (Protocol, u16), change: impl FnOnce(&mut Arrived)) {
        change(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default());
    }

    fn arrival(&self, key: (Protocol, u16), from: SocketAddr) {
        self.note(key, |arrived| {
            arrived.count += 1;
            *arrived.sources.entry(from.ip().to_canonical()).or_default() += 1;
        });
    }

    fn bytes(&self, key: (Protocol, u16), bytes: usize) {
        self.note(key, |arrived| arrived.bytes += bytes as u64);
    }
}

/// Echo servers on some ports of a namespace. They stop, and their sockets close, on drop.
#[derive(Debug)]
pub struct Listener {
    record: Arc<Record>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Serves TCP on these ports.
    pub fn tcp(netns: &NetNs, ports: &[u16]) -> Result<Self> {
        Self::start(netns, ports, &[])
    }

    /// Serves UDP on these ports.
    pub fn udp(netns: &NetNs, ports: &[u16]) -> Result<Self> {
        Self::start(netns, &[], ports)
    }

    /// Serves TCP and UDP on these ports.
    pub fn both(netns: &NetNs, ports: &[u16]) -> Result<Self> {
        Self::start(netns, ports, ports)
    }

    /// Serves TCP on some ports and UDP on some, IPv4 and IPv6 each. When it returns, every socket is bound and listens.
    pub fn start(netns: &NetNs, tcp: &[u16], udp: &[u16]) -> Result<Self> {
        let (tcp, udp) = (tcp.to_vec(), udp.to_vec());
        let record = Arc::new(Record::default());
        let (stop, stopped) = oneshot::channel::<()>();
        let (report, started) = mpsc::channel();
        let seen = Arc::clone(&record);
        let thread = netns.spawn("listener", move |entered| {
            let ready = entered.and_then(|()| serve(&tcp, &udp, &seen));
            match ready {
                Ok(runtime) => {
                    let _ = report.send(Ok(()));
                    let _ = runtime.block_on(stopped);
                }
                Err(error) => {
                    let _ = report.send(Err(error));
                }
            }
        })?;
        let listener = Self { record, stop: Some(stop), thread: Some(thread) };
        let ended = || Error::BadLab("the listener's thread ended before it was ready".into());
        started.recv().map_err(|_| ended())??;
        Ok(listener)
    }

    /// What has arrived at a port so far; nothing at all for a port that is not served.
    pub fn arrived(&self, protocol: Protocol, port: u16) -> Arrived {
        let record = self.record.0.lock().unwrap_or_else(PoisonError::into_inner);
        record.get(&(protocol, port)).cloned().unwrap_or_default()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Binds every socket and starts its task. The tasks run while the runtime is blocked on something.
fn serve(tcp: &[u16], udp: &[u16], record: &Arc<Record>) -> Result<Runtime> {
    let runtime = Builder::new_current_thread().enable_io().build().map_err(Error::io("starting a runtime"))?;
    let _inside = runtime.enter();
    for &port in tcp {
        let listener = bind(Type::STREAM, port)
            .and_then(|socket| socket.listen(BACKLOG).map(|()| socket))
            .and_then(|socket| TcpListener::from_std(socket.into()))
            .map_err(Error::io(format!("listening on TCP port {port}")))?;
        runtime.spawn(accept(listener, (Protocol::Tcp, port), Arc::clone(record)));
    }
    for &port in udp {
        let socket = bind(Type::DGRAM, port)
            .and_then(|socket| UdpSocket::from_std(socket.into()))
            .map_err(Error::io(format!("binding UDP port {port}")))?;
        runtime.spawn(answer_datagrams(socket, (Protocol::Udp, port), Arc::clone(record)));
    }
    Ok(runtime)
}

/// One socket for both families.
fn bind(kind: Type, port: u16) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::IPV6, kind.nonblocking(), None)?;
    socket.set_only_v6(false)?;
    if kind == Type::STREAM {
        // A listener of an earlier test in this namespace may have left connections in TIME_WAIT.
        socket.set_reuse_address(true)?;
    }
    let address = SockAddr::from(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)));
    // A child that another thread forked holds a closed listener's sockets until it executes its program.
    let give_up = Instant::now() + HELD_BY_A_CHILD;
    loop {
        match socket.bind(&address) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < give_up => {
                std::thread::sleep(Duration::from_millis(5));
            }
            bound => return bound.map(|()| socket),
        }
    }
}

async fn accept(listener: TcpListener, key: (Protocol, u16), record: Arc<Record>) {
    loop {
        // An error is the fate of one connection (aborted before it was accepted), not of the listener.
        if let Ok((stream, from)) = listener.accept().await {
            record.arrival(key, from);
            tokio::spawn(echo(stream, key, Arc::clone(&record)));
        }
    }
}

/// Sends `<port> ` once, together with the first bytes, and then whatever comes. Ends with the connection.
async fn echo(mut stream: TcpStream, key: (Protocol, u16), record: Arc<Record>) {
    let mut buffer = vec![0; 16 * 1024];
    let mut prefix = format!("{} ", key.1).into_bytes();
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        record.bytes(key, length);
        prefix.extend(buffer.get(..length).unwrap_or_default());
        if stream.write_all(&prefix).await.is_err() {
            return;
        }
        prefix.clear();
    }
}

async fn answer_datagrams(socket: UdpSocket, key: (Protocol, u16), record: Arc<Record>) {
    let mut buffer = vec![0; LARGEST_DATAGRAM_BYTES];
    loop {
        // An error is an ICMP message about an earlier answer.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        record.arrival(key, from);
        record.bytes(key, length);
        let mut answer = format!("{} ", key.1).into_bytes();
        answer.extend(buffer.get(..length).unwrap_or_default());
        let _ = socket.send_to(&answer, from).await;
    }
}
