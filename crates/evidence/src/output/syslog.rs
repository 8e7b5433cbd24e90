//! Lines to a syslog server: RFC 5424 over UDP (RFC 5426), TCP (RFC 6587) or TLS (RFC 5425), with the length before each message or a line feed behind it.
//!
//! Syslog has no answers, so what a connection that breaks had taken with it is not known: the last messages are sent again by the next one. A receiver
//! may see a record twice (by its `event.id` it can tell), and loses one only if it took more than [`RESENT_BYTES`] and then lost it. Of datagrams the last
//! one is sent again where its host says that nobody took it.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::sockopt::set_tcp_user_timeout,
};
use tokio_rustls::rustls::{ClientConnection, StreamOwned, pki_types::ServerName};

use super::message::{Message, Output, SendError};
use crate::{node::Node, when::Zone};
use nodewall_host::net::addresses_of_blocking;
use nodewall_https::{client_config, refusal};
use nodewall_policy::config::{Syslog, SyslogFraming, SyslogTransport};

/// For a connection, a handshake, or one write.
const DEADLINE: Duration = Duration::from_secs(10);
/// A connection whose other end confirms nothing for so long is broken.
const UNCONFIRMED_MS: u32 = 10_000;
/// How long the answer to a datagram that nobody takes is waited for, where the one before had such an answer.
const REFUSED_WITHIN: Duration = Duration::from_millis(200);
/// What was sent before that is confirmed.
const RESENT: Duration = Duration::from_secs(15);
/// Most that is kept for it.
pub(super) const RESENT_BYTES: usize = 8 << 20;
/// Facility daemon; severity notice, and warning where something is missing.
const NOTICE: u32 = 3 * 8 + 5;
const WARNING: u32 = 3 * 8 + 4;
/// Of a structured element of our own. nodewall has no enterprise number; this one is set aside for examples (RFC 5612).
const ENTERPRISE: u32 = 32_473;

pub(super) struct Sender {
    to: Syslog,
    node: Node,
    connection: Option<Connection>,
    /// Sent by a connection, and perhaps never read.
    recent: VecDeque<(Instant, Vec<u8>)>,
    recent_bytes: usize,
    /// How many of them the present connection still has to send again.
    again: usize,
    /// Nobody took the datagram before.
    is_refused: bool,
}

enum Connection {
    Udp(UdpSocket),
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Sender {
    pub(super) fn new(to: Syslog, node: Node) -> Self {
        Self { to, node, connection: None, recent: VecDeque::new(), recent_bytes: 0, again: 0, is_refused: false }
    }

    fn connect(&mut self) -> io::Result<()> {
        let (host, port) = (self.to.host.as_str(), self.to.port);
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("no connection with {host}:{port}: {error}"));
        let addresses = addresses_of_blocking(host, port).map_err(named)?;
        // Each is told: one that answered wrongly says more than the next one that is not there.
        let mut failed = Vec::new();
        for address in addresses {
            match connection(&self.to, address) {
                Ok(connection) => {
                    self.connection = Some(connection);
                    // Of datagrams the last one was refused; those before it were not.
                    self.again = if self.is_datagram() { usize::from(self.is_refused) } else { self.recent.len() };
                    return Ok(());
                }
                Err(error) => failed.push(format!("{address}: {error}")),
            }
        }
        Err(named(io::Error::other(failed.join("; "))))
    }

    /// Writes what the connection before may have lost, then what is new.
    fn write(&mut self, message: Option<&[u8]>) -> io::Result<()> {
        self.notice_end();
        if self.connection.is_none() {
            self.connect()?;
        }
        let Some(connection) = &mut self.connection else { return Ok(()) };
        while self.again > 0 {
            if let Some((_, old)) = self.recent.get(self.recent.len().saturating_sub(self.again)) {
                connection.write(old)?;
            }
            self.again -= 1;
        }
        message.map_or(Ok(()), |message| connection.write(message))
    }

    fn notice_end(&mut self) {
        if self.connection.as_mut().is_some_and(Connection::is_closed) {
            self.is_refused = self.is_datagram();
            self.connection = None;
        }
    }

    fn is_datagram(&self) -> bool {
        self.to.transport == SyslogTransport::Udp
    }

    /// Whether the datagram was taken, as far as can be known: where the one before was refused, an answer is waited for.
    fn is_taken(&mut self) -> io::Result<()> {
        let Some(Connection::Udp(socket)) = self.connection.as_ref().filter(|_| self.is_refused) else { return Ok(()) };
        let wait = Timespec { tv_sec: 0, tv_nsec: REFUSED_WITHIN.subsec_nanos().into() };
        poll(&mut [PollFd::new(socket, PollFlags::empty())], Some(&wait))?;
        if let Some(error) = socket.take_error()? {
            let problem = format!("nobody takes datagrams at {}:{}: {error}", self.to.host, self.to.port);
            return Err(io::Error::new(error.kind(), problem));
        }
        self.is_refused = false;
        Ok(())
    }

    fn remember(&mut self, message: Vec<u8>) {
        let now = Instant::now();
        if self.is_datagram() {
            self.recent.clear();
            self.recent_bytes = 0;
        }
        self.recent_bytes += message.len();
        self.recent.push_back((now, message));
        self.forget(now);
    }

    fn forget(&mut self, now: Instant) {
        while let Some((sent, message)) = self.recent.front()
            && (now.duration_since(*sent) > RESENT || self.recent_bytes > RESENT_BYTES)
        {
            self.recent_bytes -= message.len();
            self.recent.pop_front();
        }
        self.again = self.again.min(self.recent.len());
    }
}

impl Output for Sender {
    fn send(&mut self, message: &Message) -> Result<(), SendError> {
        let mut framed = text(&self.node, message);
        let is_datagram = self.is_datagram();
        match self.to.framing {
            _ if is_datagram => {}
            SyslogFraming::OctetCounting => drop(framed.splice(..0, format!("{} ", framed.len()).into_bytes())),
            // JSON of one line has no line feed.
            SyslogFraming::Newline => framed.push(b'\n'),
        }
        match self.write(Some(&framed)).and_then(|()| self.is_taken()) {
            Ok(()) => {
                self.remember(framed);
                Ok(())
            }
            Err(error) if is_datagram && error.raw_os_error() == Some(libc::EMSGSIZE) => {
                let problem = format!("a message of {} bytes is more than a datagram holds", framed.len());
                Err(SendError::Never(io::Error::new(error.kind(), problem)))
            }
            Err(error) => {
                self.connection = None;
                Err(error.into())
            }
        }
    }

    fn idle(&mut self) -> io::Result<()> {
        if self.is_datagram() {
            self.notice_end();
        }
        if !self.is_refused {
            self.forget(Instant::now());
            // A connection that broke with the last messages in it is noticed below; without any there is nothing to send again.
            if self.is_datagram() || self.recent.is_empty() {
                return Ok(());
            }
        }
        let outcome = self.write(None).and_then(|()| self.is_taken());
        if outcome.is_err() {
            self.connection = None;
        }
        outcome
    }

    fn wants_chain_head(&self) -> bool {
        self.to.chain_head
    }
}

fn connection(to: &Syslog, address: SocketAddr) -> io::Result<Connection> {
    if to.transport == SyslogTransport::Udp {
        let any: SocketAddr = if address.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
        let socket = UdpSocket::bind(any)?;
        socket.connect(address)?;
        return Ok(Connection::Udp(socket));
    }
    let stream = TcpStream::connect_timeout(&address, DEADLINE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    set_tcp_user_timeout(&stream, UNCONFIRMED_MS)?;
    if to.transport == SyslogTransport::Tcp {
        return Ok(Connection::Tcp(stream));
    }
    let ca = to.ca.as_deref();
    let config = client_config(ca).map_err(io::Error::other)?;
    let name = ServerName::try_from(to.host.clone()).map_err(io::Error::other)?;
    let connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    let mut tls = StreamOwned::new(connection, stream);
    while tls.conn.is_handshaking() {
        tls.conn.complete_io(&mut tls.sock).map_err(|error| io::Error::other(refusal(&to.host, ca, &error)))?;
    }
    Ok(Connection::Tls(Box::new(tls)))
}

impl Connection {
    fn write(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.send(message).map(drop),
            Self::Tcp(stream) => stream.write_all(message),
            Self::Tls(tls) => tls.write_all(message).and_then(|()| tls.flush()),
        }
    }

    /// Whether the other end has closed it, as far as that is known by now. It says nothing else that matters.
    fn is_closed(&mut self) -> bool {
        match self {
            // Nobody is there: the answer to the datagram before.
            Self::Udp(socket) => matches!(socket.take_error(), Ok(Some(_)) | Err(_)),
            Self::Tcp(stream) => is_at_end(stream, |stream| stream.read(&mut [0; 256])),
            Self::Tls(tls) => {
                let StreamOwned { conn, sock } = &mut **tls;
                is_at_end(sock, |sock| conn.read_tls(sock))
                    || conn.process_new_packets().map_or(true, |state| state.peer_has_closed())
            }
        }
    }
}

fn is_at_end(stream: &mut TcpStream, mut read: impl FnMut(&mut TcpStream) -> io::Result<usize>) -> bool {
    if stream.set_nonblocking(true).is_err() {
        return true;
    }
    let closed = loop {
        match read(stream) {
            Ok(0) => break true,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break true,
        }
    };
    closed || stream.set_nonblocking(false).is_err()
}

fn text(node: &Node, message: &Message) -> Vec<u8> {
    let process = std::process::id();
    let host = host_name(&node.name);
    match message {
        Message::Record { unix_ns, is_loss, line } => {
            let priority = if *is_loss { WARNING } else { NOTICE };
            format!("<{priority}>1 {} {host} nodewall {process} evidence - {line}", time(*unix_ns))
        }
        Message::ChainHead { unix_ns, seq, head } => {
            let id = &node.id;
            let data = format!("[chain@{ENTERPRISE} head=\"{head}\" seq=\"{seq}\" node=\"{id}\"]");
            let words = format!("nodewall chain head={head} seq={seq} node={id}");
            format!("<{NOTICE}>1 {} {host} nodewall {process} chain {data} {words}", time(*unix_ns))
        }
    }
    .into_bytes()
}

/// With the six digits of a second that the protocol takes.
fn time(unix_ns: u64) -> String {
    let whole = Zone::UTC.show(unix_ns);
    whole
        .strip_suffix('Z')
        .and_then(|text| text.get(..text.len().saturating_sub(3)))
        .map_or_else(|| "-".to_owned(), |text| format!("{text}Z"))
}

/// Printable ASCII without spaces, at most 255 of it; `-`: not known.
fn host_name(name: &str) -> String {
    let name: String = name.chars().map(|c| if c.is_ascii_graphic() { c } else { '_' }).take(255).collect();
    if name.is_empty() { "-".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_as_the_protocol_has_them() {
        let node = Node { name: "node 1\u{e4}".into(), id: "ab".into() };
        let as_text = |message| String::from_utf8_lossy(&text(&node, &message)).into_owned();
        let process = std::process::id();
        let unix_ns = 1_772_323_200_123_456_789;
        let record = Message::Record { unix_ns, is_loss: true, line: "{}".into() };
        let expected = format!("<28>1 2026-03-01T00:00:00.123456Z node_1_ nodewall {process} evidence - {{}}");
        assert_eq!(as_text(record), expected);
        let head = Message::ChainHead { unix_ns, seq: 7, head: "00ff".into() };
        let expected = format!(
            "<29>1 2026-03-01T00:00:00.123456Z node_1_ nodewall {process} chain [chain@32473 head=\"00ff\" seq=\"7\" \
             node=\"ab\"] nodewall chain head=00ff seq=7 node=ab"
        );
        assert_eq!(as_text(head), expected);
        assert_eq!(host_name(""), "-");
        assert_eq!(host_name(&"x".repeat(300)).len(), 255);
    }
}
