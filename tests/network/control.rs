//! What keeps a host on the network besides its ports: ICMP errors and echo, path MTU, ARP and neighbour discovery, DHCP, IGMP.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use nodewall_testbed::{
    Family, Lab, Listener, NetNs, Outcome, Probe, Protocol, keep_errors, probe_many, skip_unless_privileged,
};
use rustix::net::{
    RecvFlags, recv,
    sockopt::{ip_mtu, ipv6_mtu},
};

use super::counters::{Cell, Counters};
use super::frames::{self, Link};
use super::node::{Node, PATIENCE, eventually};
use super::settings::Settings;
use super::traffic::{answered, ping, probes};

/// What the router lets through to the network behind it.
const NARROW_MTU_BYTES: u32 = 1400;
const CLOSED: u16 = 9_042;

/// A lab with a router (.77), and a host behind it at 10.78.0.2 and `fd78::2` that is no peer. The router sends nothing longer
/// than [`NARROW_MTU_BYTES`] there, though both links take 1500: neither end can know but from the router's ICMP.
fn lab_with_narrow_path() -> (Lab, NetNs) {
    let lab = Lab::builder().host("router", 77).build().unwrap();
    let far = NetNs::create("far").unwrap();
    let router = lab.host("router").unwrap();
    router.netns().sysctl(&[("ipv4.ip_forward", "1"), ("ipv6.conf.all.forwarding", "1")]).unwrap();
    let link = format!("link add far0 index 300 type veth peer name eth0 netns {}\n", far.name());
    let narrow = format!("mtu lock {NARROW_MTU_BYTES}");
    let via_router =
        format!("route replace 10.78.0.0/24 dev far0 {narrow}\nroute replace fd78::/64 dev far0 {narrow}\n");
    let addresses = "addr add 10.78.0.1/32 dev far0\naddr add fd78::1/128 dev far0 nodad\nlink set dev far0 up\n";
    router.netns().ip_batch(&(link + addresses + &via_router)).unwrap();
    far.ip_batch("addr add 10.78.0.2/24 dev eth0\naddr add fd78::2/64 dev eth0 nodad\nlink set dev eth0 up\n").unwrap();
    far.ip_batch("route add default via 10.78.0.1\nroute add default via fd78::1\n").unwrap();
    let (v4, v6) = (router.ipv4(), router.ipv6());
    lab.node().netns().ip_batch(&format!("route add 10.78.0.0/24 via {v4}\nroute add fd78::/64 via {v6}\n")).unwrap();
    (lab, far)
}

fn far_address(family: Family) -> IpAddr {
    match family {
        Family::V4 => "10.78.0.2".parse().unwrap(),
        Family::V6 => "fd78::2".parse().unwrap(),
    }
}

/// The path MTU that a socket of the node's has learnt once it has sent a datagram too large for the path.
fn learnt_mtu_bytes(node: &Node, family: Family) -> u32 {
    let (far, near) = (SocketAddr::new(far_address(family), 9), SocketAddr::new(node.host().address(family), 0));
    let learn = || {
        let socket = UdpSocket::bind(near).unwrap();
        socket.connect(far).unwrap();
        let mtu = || match family {
            Family::V4 => ip_mtu(&socket).unwrap(),
            Family::V6 => ipv6_mtu(&socket).unwrap(),
        };
        assert_eq!(mtu(), 1500, "the socket knows before it can");
        socket.send(&[0; 1440]).unwrap();
        eventually("the socket learns the path's MTU", || (mtu() < 1500).then(mtu))
    };
    node.netns().run(learn).unwrap()
}

#[test]
fn path_mtu_discovery_succeeds() {
    if skip_unless_privileged("path_mtu_discovery_succeeds") {
        return;
    }
    let (lab, far) = lab_with_narrow_path();
    let node = Node::on(lab, &Settings::default());
    let _services = Listener::tcp(&far, &[443]).unwrap();
    for family in Family::ALL {
        // Reachable first, so that neighbours are known and what follows is about size alone.
        ping(node.netns(), far_address(family));
        assert_eq!(learnt_mtu_bytes(&node, family), NARROW_MTU_BYTES, "{family}");
        node.netns().ip(&["route", "flush", "cache"]).unwrap();
        node.netns().ip(&["-6", "route", "flush", "cache"]).unwrap();
        // TCP begins with segments for 1500 again, and gets through only if it learns, too.
        answered(node.host(), &[Probe::tcp(SocketAddr::new(far_address(family), 443)).payload(100_000)]);
    }
    node.assert_no_drops();
}

#[test]
fn ping_works_both_ways() {
    if skip_unless_privileged("ping_works_both_ways") {
        return;
    }
    let node = Node::enforcing();
    for family in Family::ALL {
        ping(node.outsider().netns(), node.host().address(family));
        ping(node.netns(), node.outsider().address(family));
    }
    let icmp = Cell::portless("pass", "icmp");
    eventually("all are counted", || (node.counters().packets(&icmp) >= 4).then_some(()));
    node.assert_no_drops();
}

/// Nothing listens there: the node learns it from ICMP port unreachable, and does not wait.
#[test]
fn icmp_port_unreachable_reaches_the_node() {
    if skip_unless_privileged("icmp_port_unreachable_reaches_the_node") {
        return;
    }
    let node = Node::enforcing();
    let closed = Family::ALL.map(|family| Probe::udp(node.outsider().socket(family, 9999)));
    for probed in probe_many(node.netns(), &closed, PATIENCE).unwrap() {
        assert_eq!(probed.outcome, Outcome::Refused);
    }
}

/// SECURITY-MODEL names it: a host that heard no ICMP errors would lose path MTU discovery, so whoever can send one can have what it quotes put into the
/// error queue of a socket that asks for such a queue. The socket's data it does not become.
#[test]
fn what_an_icmp_error_quotes_gets_into_an_error_queue_and_nowhere_else() {
    if skip_unless_privileged("what_an_icmp_error_quotes_gets_into_an_error_queue_and_nowhere_else") {
        return;
    }
    let node = Node::enforcing();
    let outsider = node.outsider();
    for family in Family::ALL {
        let (here, there) = (node.host().socket(family, CLOSED), outsider.socket(family, 40_000));
        let [asks, does_not] = [true, false].map(|asks| {
            let socket =
                node.netns().run(|| UdpSocket::bind((here.ip(), if asks { CLOSED } else { 0 })).unwrap()).unwrap();
            if asks {
                keep_errors(&socket).unwrap();
            }
            socket.set_nonblocking(true).unwrap();
            socket
        });
        for socket in [&asks, &does_not] {
            let from = socket.local_addr().unwrap();
            let never_sent = frames::udp(
                Link::between(node.host(), outsider),
                (from.ip(), from.port()),
                (there.ip(), there.port()),
                b"of an outsider",
            );
            let error = frames::port_unreachable(
                Link::between(outsider, node.host()),
                there.ip(),
                here.ip(),
                &never_sent[14..],
            );
            outsider.netns().send_frames("eth0", &[error]).unwrap();
        }
        let mut buffer = [0; 64];
        let length = eventually("the queue to have it", || recv(&asks, &mut buffer, RecvFlags::ERRQUEUE).ok()).1;
        assert_eq!(&buffer[..length], b"of an outsider");
        for socket in [asks, does_not] {
            let mut heard = || socket.recv(&mut buffer).unwrap_err().kind();
            assert!(matches!(heard(), ErrorKind::WouldBlock | ErrorKind::ConnectionRefused));
            assert_eq!(heard(), ErrorKind::WouldBlock);
        }
    }
}

#[test]
fn arp_and_neighbour_discovery_find_hosts_anew() {
    if skip_unless_privileged("arp_and_neighbour_discovery_find_hosts_anew") {
        return;
    }
    let node = Node::enforcing();
    let (here, there) = (node.host(), node.outsider());
    let _sockets = [here, there].map(|host| Listener::both(host.netns(), &[443]).unwrap());
    // Each side has to ask for the other, so the node receives both questions and answers.
    for (from, to) in [(here, there), (there, here)] {
        for host in [here, there] {
            host.netns().ip_batch("neigh flush dev eth0\n").unwrap();
            host.netns().ip(&["-6", "neigh", "flush", "dev", "eth0"]).unwrap();
        }
        let before = node.counters();
        answered(from, &probes(to, &[443]));
        for reason in ["non_ip", "icmp"] {
            let cell = Cell::portless("pass", reason);
            eventually(&format!("{} asked, {reason} comes", from.name()), || {
                (node.counters().packets(&cell) > before.packets(&cell)).then_some(())
            });
        }
    }
    node.assert_no_drops();
}

/// A client without an address yet, and a server's answer to one: broadcasts that only raw frames can play.
#[test]
fn dhcp_broadcasts_arrive() {
    if skip_unless_privileged("dhcp_broadcasts_arrive") {
        return;
    }
    let node = Node::enforcing();
    // They do not answer: an answer to nobody would come back to the node itself.
    let sockets =
        node.netns().run(|| [67, 68].map(|port| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap())).unwrap();
    let server = node.outsider();
    let link = Link::between(server, node.host()).to(frames::BROADCAST_MAC);
    let (nobody, everybody) = (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST.into());
    let discover = frames::udp(link, (nobody.into(), 68), (everybody, 67), b"discover");
    let offer = frames::udp(link, (server.ipv4().into(), 67), (everybody, 68), b"offer");
    server.netns().send_frames("eth0", &[discover, offer]).unwrap();
    let heard = sockets.map(|socket| {
        let mut buffer = [0; 64];
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let (length, from) = socket.recv_from(&mut buffer).unwrap();
        (buffer[..length].to_vec(), from)
    });
    let from = |address: Ipv4Addr, port| SocketAddr::from((address, port));
    assert_eq!(heard, [(b"discover".to_vec(), from(nobody, 68)), (b"offer".to_vec(), from(server.ipv4(), 67))]);
    node.assert_counted(Counters::unmanaged_and_drops, &[(Cell::unmanaged(Protocol::Udp), 2)].into());
}

#[test]
fn igmp_passes_and_is_counted() {
    if skip_unless_privileged("igmp_passes_and_is_counted") {
        return;
    }
    let node = Node::enforcing();
    let cell = Cell::portless("pass", "other_protocol");
    let before = node.counters().packets(&cell);
    let query = frames::igmp_query(Link::between(node.outsider(), node.host()), node.outsider().ipv4());
    node.outsider().netns().send_frames("eth0", &[query]).unwrap();
    eventually("the query is counted", || (node.counters().packets(&cell) == before + 1).then_some(()));
    node.assert_no_drops();
}

/// The node's sockets hear of a closed port on a peer at once as well: a reset, not silence.
#[test]
fn a_reset_from_the_outsider_reaches_the_node() {
    if skip_unless_privileged("a_reset_from_the_outsider_reaches_the_node") {
        return;
    }
    let node = Node::enforcing();
    let target = node.outsider().socket(Family::V4, 9999);
    let refused = node.netns().run(|| std::net::TcpStream::connect_timeout(&target, PATIENCE)).unwrap();
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}
