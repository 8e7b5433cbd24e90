//! Asking, knocking, and the statements that most rows share: for peers only, for everyone. Every one of them compares the
//! counters with the packets that were really sent.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use nodewall_testbed::{Family, Host, Listener, NetNs, Outcome, Probe, Probed, Protocol, probe_many};

use super::{
    counters::{Cell, Cells, Counters},
    node::{Node, PATIENCE},
};

/// For what must be dropped: always waited out, once for all that is asked at once. Short: an answer that comes later than this still shows in
/// the counters and at the socket.
pub const SILENCE: Duration = Duration::from_millis(250);
/// More than one aggregate of the kernel's stack, so that cutting up matters.
pub const BULK_BYTES: usize = 3_000_000;

/// Every one of these ports by both protocols over both families.
pub fn probes(to: &Host, ports: &[u16]) -> Vec<Probe> {
    let mut probes = Vec::new();
    for &port in ports {
        for family in Family::ALL {
            probes.extend(Protocol::ALL.map(|protocol| Probe::new(protocol, to.socket(family, port))));
        }
    }
    probes
}

/// Sends [`BULK_BYTES`] from one host to the other.
pub fn bulk(from: &Host, to: &Host, family: Family, port: u16) {
    let target = to.socket(family, port);
    let listener = to.netns().run(|| TcpListener::bind(target).unwrap()).unwrap();
    thread::scope(|scope| {
        let receiving = scope.spawn(|| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).unwrap();
            all.len()
        });
        let mut stream = from.netns().run(|| TcpStream::connect(target).unwrap()).unwrap();
        stream.write_all(&vec![7; BULK_BYTES]).unwrap();
        drop(stream);
        assert_eq!(receiving.join().unwrap(), BULK_BYTES);
    });
}

/// Makes the probes; each must be answered by the very port it asked.
pub fn answered(from: &Host, probes: &[Probe]) -> Vec<Probed> {
    let done = probe_many(from.netns(), probes, PATIENCE).unwrap();
    for (probe, probed) in probes.iter().zip(&done) {
        let asked = Outcome::Answered { by_port: probe.target.port() };
        assert_eq!(probed.outcome, asked, "{} asked {}/{}", from.name(), probe.target, probe.protocol);
    }
    done
}

/// Makes the probes; none may hear anything, and each must have sent something.
pub fn silent(from: &Host, probes: &[Probe]) -> Vec<Probed> {
    let done = probe_many(from.netns(), probes, SILENCE).unwrap();
    for (probe, probed) in probes.iter().zip(&done) {
        assert_eq!(probed.outcome, Outcome::TimedOut, "{} asked {}/{}", from.name(), probe.target, probe.protocol);
        assert!(probed.sent_packets > 0, "{} did not even ask {}", from.name(), probe.target);
    }
    done
}

/// Adds what was sent to the cells of the ports that it was sent to.
pub fn add(cells: &mut Cells, class: &str, verdict: (&str, &str), probes: &[Probe], done: &[Probed]) {
    for (probe, probed) in probes.iter().zip(done) {
        let cell = Cell::port(class, probe.target.port(), probe.protocol, verdict.0, verdict.1);
        *cells.entry(cell).or_default() += u64::from(probed.sent_packets);
    }
}

fn addresses<'a>(hosts: impl IntoIterator<Item = &'a Host>) -> BTreeMap<IpAddr, u64> {
    hosts.into_iter().flat_map(|host| Family::ALL.map(|family| (host.address(family), 1))).collect()
}

/// The ports are for peers only: both are answered, the outsider hears nothing and nothing of it reaches a socket, and
/// exactly the cells of these ports moved, by exactly the packets that were sent. For a node that nobody has asked yet.
pub fn peers_only(node: &Node, class: &str, ports: &[u16]) {
    let sockets = Listener::both(node.netns(), ports).unwrap();
    let probes = probes(node.host(), ports);
    let mut expected = Cells::new();
    let knocks = thread::scope(|scope| {
        let knocking = scope.spawn(|| silent(node.outsider(), &probes));
        for peer in node.peers() {
            add(&mut expected, class, ("pass", "peer"), &probes, &answered(peer, &probes));
        }
        knocking.join().unwrap()
    });
    add(&mut expected, class, ("drop", "outsider"), &probes, &knocks);
    node.assert_counted(Counters::named_and_drops, &expected);
    for protocol in Protocol::ALL {
        for &port in ports {
            assert_eq!(sockets.arrived(protocol, port).sources, addresses(node.peers()), "{protocol} {port}");
        }
    }
}

/// The ports are open: peers and the outsider are answered, and nothing at all was dropped.
pub fn everyone(node: &Node, class: &str, ports: &[u16]) {
    let _sockets = Listener::both(node.netns(), ports).unwrap();
    let probes = probes(node.host(), ports);
    let mut expected = Cells::new();
    for host in node.peers().into_iter().chain([node.outsider()]) {
        add(&mut expected, class, ("pass", "public"), &probes, &answered(host, &probes));
    }
    node.assert_counted(Counters::named_and_drops, &expected);
}

/// The policy does not name the ports: all are answered, and counted with the rest that it does not name.
pub fn unmanaged(node: &Node, ports: &[u16]) {
    let _sockets = Listener::both(node.netns(), ports).unwrap();
    let probes = probes(node.host(), ports);
    let mut expected = Cells::new();
    for host in node.peers().into_iter().chain([node.outsider()]) {
        for (probe, probed) in probes.iter().zip(answered(host, &probes)) {
            *expected.entry(Cell::unmanaged(probe.protocol)).or_default() += u64::from(probed.sent_packets);
        }
    }
    node.assert_counted(Counters::unmanaged_and_drops, &expected);
}

/// Whether the node filters right now: peers reach Cassandra over both protocols and families, the outsider does not.
pub fn assert_filtered(node: &Node) {
    let _sockets = Listener::both(node.netns(), &[9042]).unwrap();
    let probes = probes(node.host(), &[9042]);
    silent(node.outsider(), &probes);
    for peer in node.peers() {
        answered(peer, &probes);
    }
}

/// Whether the node is open right now: the outsider reaches Cassandra.
pub fn assert_open(node: &Node) {
    let _sockets = Listener::both(node.netns(), &[9042]).unwrap();
    answered(node.outsider(), &probes(node.host(), &[9042]));
}

/// One NAT chain with one rule: where it hooks, and what it does.
pub fn nat(netns: &NetNs, rule: &str) {
    netns.tool("nft", &[&format!("table inet nat {{\nchain one {{\ntype nat hook {rule}\n}}\n}}")]).unwrap();
}

/// `ping`, once.
pub fn ping(from: &NetNs, to: IpAddr) {
    from.tool("ping", &["-c", "1", "-W", &PATIENCE.as_secs().to_string(), &to.to_string()]).unwrap();
}
