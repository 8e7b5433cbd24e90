//! Tests of `conversations`: the kernel's own words on real sockets, in a namespace of their own.
use std::net::{TcpListener, TcpStream, UdpSocket};

use nodewall_testbed::{in_own_namespace, ip};

use super::*;

const LOOPBACK: [u8; 4] = [127, 0, 0, 1];

fn with(port: u16, protocol: Protocol) -> Conversation {
    Conversation { source: LOOPBACK.into(), port, protocol }
}

#[test]
fn a_connection_that_ended_between_two_looks_is_told_and_a_knock_is_not() {
    in_own_namespace(|| {
        ip("link set lo up");
        let ended = EndedConnections::watch().unwrap();
        let server = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = server.local_addr().unwrap().port();
        // Nobody takes it: the kernel answers with a reset, and no socket of this end ever was.
        let silent = server.local_addr().unwrap().port() ^ 1;
        TcpStream::connect(("127.0.0.1", silent)).unwrap_err();
        assert!(!ended.take().contains(&with(silent, Protocol::Tcp)));
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let served = server.accept().unwrap();
        assert!(!ended.take().contains(&with(port, Protocol::Tcp)), "it goes on");
        drop(client);
        drop(served);
        // The kernel frees a socket after a grace period of its own.
        while !ended.take().contains(&with(port, Protocol::Tcp)) {
            std::thread::yield_now();
        }
    });
}

#[test]
fn a_datagram_is_a_conversation_once_it_was_answered() {
    in_own_namespace(|| {
        ip("link set lo up");
        if !Path::new("/proc/thread-self/net/nf_conntrack").exists() {
            eprintln!("NOT TESTED: this kernel has no /proc/net/nf_conntrack");
            return;
        }
        // Connections are tracked as soon as a rule asks for their state.
        let rules = "add table inet t\nadd chain inet t in { type filter hook input priority 0; }\nadd rule inet t in ct state new accept\n";
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rules");
        std::fs::write(&file, rules).unwrap();
        assert!(std::process::Command::new("nft").arg("-f").arg(&file).status().unwrap().success());

        let server = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        let client = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        let (target, back) = (server.local_addr().unwrap(), client.local_addr().unwrap());
        client.send_to(b"?", target).unwrap();
        let knocked = with(target.port(), Protocol::Udp);
        assert!(!tracked().unwrap().contains(&knocked));
        server.send_to(b"!", back).unwrap();
        assert!(tracked().unwrap().contains(&knocked), "{:?}", tracked());

        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let (port, _client) =
            (listener.local_addr().unwrap().port(), TcpStream::connect(listener.local_addr().unwrap()));
        assert!(tracked().unwrap().contains(&with(port, Protocol::Tcp)), "{:?}", tracked());
    });
}
