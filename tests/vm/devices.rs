//! Devices that take packets out of packets: with each of them up, nothing of an outsider's reaches a cluster port's socket, and a peer's
//! does. Each test first sees the outsider's datagram arrive without nodewall: a shape that is never delivered proves nothing.

use std::net::{IpAddr, SocketAddr};

use nodewall_testbed::{Family, Host, Lab, Listener, Protocol};

use crate::counters::{Cell, Cells, Counters, Sent};
use crate::frames::{self, Link};
use crate::guest::{lacks, skip_outside};
use crate::node::{Node, eventually};
use crate::settings::Settings;
use crate::traffic::assert_filtered;
use crate::wire;

mod own_ports;

const PORT: u16 = 9042;

/// Builds the frame that `from` sends to the node so that its datagram comes out of the device.
type Wrap = fn(from: &Host, node: &Node, datagram: &Datagram) -> Vec<u8>;

/// A datagram to the port, as a whole frame to a device of this Ethernet address.
struct Datagram {
    frame: Vec<u8>,
}

impl Datagram {
    fn of(from: &Host, node: &Node, family: Family) -> Self {
        let (source, to) = (from.socket(family, 5353), node.host().socket(family, PORT));
        Self { frame: frames::udp(Link::between(from, node.host()), (source.ip(), 5353), (to.ip(), PORT), b"inner") }
    }

    fn packet(&self) -> &[u8] {
        wire::packet_of(&self.frame)
    }
}

/// The device passes the outsider's datagram without nodewall, does not under it, and passes the peer's.
fn only_peers_get_through(test: &str, commands: &str, inner: Family, wrap: Wrap) {
    if skip_outside(test) {
        return;
    }
    let mut node = Node::idle(Lab::new().unwrap(), &Settings::default());
    node.netns().ip_batch(commands).unwrap();
    let sockets = Listener::udp(node.netns(), &[PORT]).unwrap();
    let arrived = || sockets.arrived(Protocol::Udp, PORT);
    let send = |node: &Node, from: &Host| {
        let frame = wrap(from, node, &Datagram::of(from, node, inner));
        from.netns().send_frames("eth0", &[frame]).unwrap();
    };

    send(&node, node.outsider());
    eventually("the outsider's datagram is delivered without nodewall", || (arrived().count == 1).then_some(()));

    node.start_agent();
    send(&node, node.outsider());
    // Exactly one frame was dropped: it was the one.
    let dropped = |counters: &Counters| -> u64 { counters.drops().values().sum() };
    eventually("the outsider's frame is dropped and counted", || (dropped(&node.counters()) == 1).then_some(()));

    let [peer, _] = node.peers();
    send(&node, peer);
    eventually("the peer's datagram is delivered", || arrived().sources.get(&peer.address(inner)).map(|_| ()));
    let arrived = arrived();
    assert_eq!(arrived.sources.get(&node.outsider().address(inner)), Some(&1), "{arrived:?}");
    assert_eq!(dropped(&node.counters()), 1, "{:?}", node.counters());
}

/// The datagram's packet behind an outer IP header of this family and protocol.
fn in_ip(from: &Host, node: &Node, datagram: &Datagram, outer: Family, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let (source, to): (IpAddr, IpAddr) = (from.address(outer), node.host().address(outer));
    let (ethertype, packet) = wire::ip(source, to, protocol, payload);
    wire::around(&datagram.frame, ethertype, &packet)
}

/// A UDP datagram around a payload, to a tunnel's port.
fn in_udp(from: &Host, node: &Node, port: u16, payload: &[u8]) -> Vec<u8> {
    let (source, to): (SocketAddr, SocketAddr) =
        (from.socket(Family::V4, 40_000), node.host().socket(Family::V4, port));
    frames::udp(Link::between(from, node.host()), (source.ip(), source.port()), (to.ip(), to.port()), payload)
}

/// The Ethernet address that the tests give to devices which take whole frames.
const INNER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];
const INNER_MAC_TEXT: &str = "02:00:00:00:00:07";

fn to_inner_mac(datagram: &Datagram) -> Vec<u8> {
    [&INNER_MAC[..], &datagram.frame[6..]].concat()
}

#[test]
fn ipip() {
    only_peers_get_through("devices::ipip", "link set tunl0 up\n", Family::V4, |from, node, datagram| {
        in_ip(from, node, datagram, Family::V4, wire::IPIP, datagram.packet())
    });
}

#[test]
fn sit() {
    only_peers_get_through("devices::sit", "link set sit0 up\n", Family::V6, |from, node, datagram| {
        in_ip(from, node, datagram, Family::V4, wire::IPV6_IN_IP, datagram.packet())
    });
}

#[test]
fn gre() {
    only_peers_get_through("devices::gre", "link set gre0 up\n", Family::V4, |from, node, datagram| {
        in_ip(from, node, datagram, Family::V4, wire::GRE, &wire::gre(0x0800, datagram.packet()))
    });
}

#[test]
fn ip6tnl() {
    only_peers_get_through("devices::ip6tnl", "link set ip6tnl0 up\n", Family::V6, |from, node, datagram| {
        in_ip(from, node, datagram, Family::V6, wire::IPV6_IN_IP, datagram.packet())
    });
}

#[test]
fn ip6gre() {
    only_peers_get_through("devices::ip6gre", "link set ip6gre0 up\n", Family::V6, |from, node, datagram| {
        in_ip(from, node, datagram, Family::V6, wire::GRE, &wire::gre(0x86dd, datagram.packet()))
    });
}

#[test]
fn vxlan() {
    let up = format!("link add vx0 address {INNER_MAC_TEXT} type vxlan id 7 dstport 4789\nlink set vx0 up\n");
    only_peers_get_through("devices::vxlan", &up, Family::V4, |from, node, datagram| {
        in_udp(from, node, 4789, &wire::vxlan(7, &to_inner_mac(datagram)))
    });
}

/// Linux's own port from before there was a standard.
#[test]
fn vxlan_on_its_old_port() {
    let up = format!("link add vx0 address {INNER_MAC_TEXT} type vxlan id 7 dstport 8472\nlink set vx0 up\n");
    only_peers_get_through("devices::vxlan_on_its_old_port", &up, Family::V4, |from, node, datagram| {
        in_udp(from, node, 8472, &wire::vxlan(7, &to_inner_mac(datagram)))
    });
}

#[test]
fn geneve() {
    // A geneve device listens to one other end; one each for the outsider and the peer.
    let mut up = String::new();
    for (name, remote) in [("gnv0", "10.77.0.66"), ("gnv1", "10.77.0.11")] {
        up +=
            &format!("link add {name} address {INNER_MAC_TEXT} type geneve id 7 remote {remote}\nlink set {name} up\n");
    }
    only_peers_get_through("devices::geneve", &up, Family::V4, |from, node, datagram| {
        in_udp(from, node, 6081, &wire::geneve(7, &to_inner_mac(datagram)))
    });
}

/// A VLAN device is covered by the interface that it stands on.
#[test]
fn vlan() {
    if skip_outside("devices::vlan") {
        return;
    }
    let lab = Lab::builder().direct_pair().build().unwrap();
    // The one host is the outsider first and then, by its VLAN address, a peer.
    let mut node = Node::idle(lab, &Settings::default().peers(&["10.80.0.12"]));
    let other = node.lab.peer1().unwrap();
    let vlan = |host: u8| {
        format!(
            "link add link eth0 name eth0.7 type vlan id 7\naddr add 10.80.0.{host}/24 dev eth0.7\nlink set eth0.7 up\n"
        )
    };
    node.netns().ip_batch(&vlan(1)).unwrap();
    other.netns().ip_batch(&vlan(11)).unwrap();
    other.netns().ip(&["addr", "add", "10.80.0.12/24", "dev", "eth0.7"]).unwrap();
    let sockets = Listener::udp(node.netns(), &[PORT, 443]).unwrap();
    let to: IpAddr = "10.80.0.1".parse().unwrap();
    let send = |source: &str, port: u16| {
        let plain =
            frames::udp(Link::between(other, node.host()), (source.parse().unwrap(), 5353), (to, port), b"vlan");
        other.netns().send_frames("eth0", &[wire::tagged(&plain, 7)]).unwrap();
    };
    send("10.80.0.11", PORT);
    eventually("delivered without nodewall", || (sockets.arrived(Protocol::Udp, PORT).count == 1).then_some(()));

    node.start_agent();
    let other = node.lab.peer1().unwrap();
    let send = |source: &str, port: u16| {
        let plain =
            frames::udp(Link::between(other, node.host()), (source.parse().unwrap(), 5353), (to, port), b"vlan");
        other.netns().send_frames("eth0", &[wire::tagged(&plain, 7)]).unwrap();
    };
    send("10.80.0.11", PORT);
    send("10.80.0.11", 443);
    eventually("the public port is reached", || (sockets.arrived(Protocol::Udp, 443).count == 1).then_some(()));
    send("10.80.0.12", PORT);
    eventually("the peer's is delivered", || (sockets.arrived(Protocol::Udp, PORT).count == 2).then_some(()));
    let dropped: u64 = node.counters().drops().values().sum();
    assert_eq!(dropped, 1, "{:?}", node.counters());
}

/// What leaves by a VLAN device passes its parent with the tag beside the frame: one frame, with the tag's bytes.
#[test]
fn vlan_sent() {
    if skip_outside("devices::vlan_sent") {
        return;
    }
    let node = Node::on(Lab::builder().direct_pair().build().unwrap(), &Settings::default());
    let other = node.lab.peer1().unwrap();
    for (host, number) in [(node.host(), 1), (other, 11)] {
        let device =
            "link add link eth0 name eth0.7 type vlan id 7\naddr add 10.80.0.N/24 dev eth0.7\nlink set eth0.7 up\n";
        host.netns().ip_batch(&device.replace('N', &number.to_string())).unwrap();
    }
    let _sockets = Listener::udp(other.netns(), &[PORT]).unwrap();
    let payload = b"a datagram";
    let to: SocketAddr = (IpAddr::from([10, 80, 0, 11]), PORT).into();
    let send = || {
        let socket = std::net::UdpSocket::bind("10.80.0.1:0").unwrap();
        socket.send_to(payload, to).unwrap();
    };
    node.netns().run(send).unwrap();
    let row = Cell::port("cassandra", PORT, Protocol::Udp, "pass", "sent_to_port");
    let bytes = (14 + 4 + 20 + 8 + payload.len()) as u64;
    eventually("it is counted", || (node.counters().sent(&row) == Sent { packets: 1, bytes }).then_some(()));
}

/// Of a bond the master is attached: natively from 5.15, and before that only at the tc hook, which was asked for.
#[test]
fn bond() {
    const NATIVE: (u32, u32) = (5, 15);
    let test = "devices::bond";
    if skip_outside(test) {
        return;
    }
    let native = Settings::default().interfaces(&["bond0"]);
    let mut node = Node::idle(Lab::new().unwrap(), &native);
    let mac: Vec<String> = node.host().mac().iter().map(|byte| format!("{byte:02x}")).collect();
    node.netns()
        .ip_batch(&format!(
            "addr flush dev eth0\nlink add bond0 address {} type bond mode active-backup miimon 100\nlink set eth0 down\nlink set eth0 master bond0\n\
             link set bond0 up\naddr add 10.77.0.1/24 dev bond0\naddr add fd77::1/64 dev bond0 nodad\n",
            mac.join(":")
        ))
        .unwrap();
    eventually("the bond carries frames", || node.link_words("bond0").contains(&"UP".to_owned()).then_some(()));
    let applied = node.nodewall("apply", &[]);
    if !applied.status.success() {
        assert_eq!(applied.status.code(), Some(1), "{applied:?}");
        assert!(applied.stderr.contains("attach_mode = \"tc\""), "{applied:?}");
        lacks(test, "native XDP on a bond", NATIVE);
        node.configure(&native.top("attach_mode = \"tc\""));
    }
    node.start_agent();
    assert_filtered(&node);
    assert_ne!(node.counters().drops(), Cells::new());
    let told = |node: &Node| {
        let doctor = node.nodewall("doctor", &["-o", "json"]);
        println!("{doctor:?}");
        doctor.stdout.contains("takes not every change")
    };
    let natively = node.attachment("bond0").unwrap().0 == "native";
    assert_eq!(told(&node), natively, "doctor of a bond that is attached natively: {natively}");
    // What doctor says of it is what the kernel does: a dummy has no native XDP.
    node.netns().ip_batch("link add without0 type dummy\n").unwrap();
    let enslaved = node.netns().ip(&["link", "set", "without0", "master", "bond0"]);
    assert_eq!(enslaved.is_err(), natively, "{enslaved:?}");
    if !natively {
        return;
    }
    // The way out that it names.
    node.configure(
        &Settings::default().interfaces(&["bond0"]).rules("[[interface]]\nname = \"bond0\"\nattach = \"tc\"\n"),
    );
    assert!(node.nodewall("apply", &[]).status.success());
    assert_eq!(node.attachment("bond0").unwrap().0, "tc");
    node.netns().ip(&["link", "set", "without0", "master", "bond0"]).unwrap();
    assert!(!told(&node));
}
