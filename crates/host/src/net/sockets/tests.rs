//! Tests of `sockets`: texts as the kernel writes them, and real sockets in a namespace of their own.
use std::net::{TcpListener, TcpStream, UdpSocket};

use nodewall_testbed::{in_own_namespace, ip};

use super::*;

const TCP: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:2352 00000000:0000 0A 00000000:00000000 00:00000000 00000000   998        0 4711 1 0000000000000000 100 0 0 10 0
   1: 0B00000A:2352 4200000A:D431 01 00000000:00000000 02:000A7D8C 00000000   998        0 4712 2 0000000000000000 20 4 30 10 -1
   2: 0B00000A:C001 0C00000A:1B58 01 00000000:00000000 00:00000000 00000000     0        0 4713 1 0000000000000000 20 4 30 10 -1
   3: 0B00000A:2352 4200000A:D432 06 00000000:00000000 03:00000EF0 00000000     0        0 0 3 0000000000000000
";
const TCP6: &str = "\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000000000000:1F56 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 20 1 0000000000000000 100 0 0 10 0
   1: 0000000000000000FFFF00000B00000A:1F56 0000000000000000FFFF00004200000A:9C40 01 00000000:00000000 00:00000000 00000000     0        0 21 1 0000000000000000 100 0 0 10 0
   2: B80D0120000000000000000011000000:1F56 B80D0120000000000000000012000000:9C41 01 00000000:00000000 00:00000000 00000000     0        0 22 1 0000000000000000 100 0 0 10 0
";
const UDP: &str = "\
   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  101: 0100007F:0143 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 31 2 0000000000000000 0
  102: 0B00000A:C002 0C00000A:0035 01 00000000:00000000 00:00000000 00000000     0        0 32 2 0000000000000000 0
";

#[cfg(target_endian = "little")]
#[test]
fn the_kernels_texts() {
    let mut sockets = Sockets::default();
    sockets.add(Protocol::Tcp, TCP).unwrap();
    sockets.add(Protocol::Tcp, TCP6).unwrap();
    sockets.add(Protocol::Udp, UDP).unwrap();
    let listening: Vec<_> = sockets.listening().map(|s| (s.protocol, s.local.to_string(), s.uid, s.inode)).collect();
    assert_eq!(
        listening,
        [
            (Protocol::Tcp, "0.0.0.0:9042".to_owned(), 998, 4711),
            (Protocol::Tcp, "[::]:8022".to_owned(), 0, 20),
            (Protocol::Udp, "127.0.0.1:323".to_owned(), 0, 31),
        ]
    );
    assert!(sockets.listening().nth(2).unwrap().is_loopback());
    let pairs = |connection: &Connection| (connection.local.to_string(), connection.remote.to_string());
    let inbound: Vec<_> = sockets.inbound().map(pairs).collect();
    assert_eq!(
        inbound,
        [
            ("10.0.0.11:9042".to_owned(), "10.0.0.66:54321".to_owned()),
            // On an IPv6 socket, and yet IPv4.
            ("10.0.0.11:8022".to_owned(), "10.0.0.66:40000".to_owned()),
            ("[2001:db8::11]:8022".to_owned(), "[2001:db8::12]:40001".to_owned()),
        ]
    );
    // The connection to a peer's 7000 is ours; the one in TIME_WAIT is nobody's.
    assert_eq!(sockets.connections().count(), 4);
}

#[test]
fn a_listener_on_another_address_does_not_make_a_connection_inbound() {
    let socket = |text: &str| text.parse().unwrap();
    let sockets = Sockets {
        listening: vec![Listening { protocol: Protocol::Tcp, local: socket("127.0.0.1:9042"), uid: 0, inode: 1 }],
        connections: vec![Connection { local: socket("10.0.0.1:9042"), remote: socket("10.0.0.2:7000") }],
    };
    assert_eq!(sockets.inbound().count(), 0);
}

#[test]
fn what_is_not_a_socket_is_an_error_that_shows_the_line() {
    for line in ["   0: 00000000:2352", "   0: 0000:2352 00000000:0000 0A 0:0 0:0 0 0 0 1", "   0: é0000000:1 0:0 0A"]
    {
        let refused = Sockets::default().add(Protocol::Tcp, &format!("header\n{line}\n")).unwrap_err();
        assert_eq!(refused, line.trim());
    }
}

#[test]
fn real_sockets_and_their_process() {
    in_own_namespace(|| {
        ip("link set lo up");
        assert_eq!(sockets().unwrap(), Sockets::default(), "a new namespace has no sockets");
        let four = TcpListener::bind("0.0.0.0:9042").unwrap();
        let six = TcpListener::bind("[::1]:7000").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:5353").unwrap();
        let client = TcpStream::connect("127.0.0.1:9042").unwrap();
        let served = four.accept().unwrap();
        let seen = sockets().unwrap();
        let locals: Vec<_> = seen.listening().map(|s| s.local).collect();
        assert_eq!(locals, [four.local_addr().unwrap(), six.local_addr().unwrap(), udp.local_addr().unwrap()]);
        // Both ends are here, and one of them is inbound.
        assert_eq!(seen.connections().count(), 2);
        let inbound: Vec<_> = seen.inbound().collect();
        assert_eq!(inbound.len(), 1);
        assert_eq!(
            (inbound[0].local, inbound[0].remote),
            (served.0.local_addr().unwrap(), client.local_addr().unwrap())
        );

        let inodes = seen.listening().map(|socket| socket.inode).collect();
        let owners = owners(&inodes);
        assert_eq!(owners.len(), 3);
        assert!(owners.values().all(|owner| owner.pid == std::process::id() && !owner.name.is_empty()), "{owners:?}");
    });
}
