//! Devices without an Ethernet header, filtered at the tc hook: what comes out of a tun device is judged by port and peer like any other.

use std::net::{IpAddr, Ipv4Addr};

use nodewall_evidence::store::{Filter, Reader};
use nodewall_testbed::{Lab, Listener, Protocol, Tun, Unsaid, skip_unless_privileged};

use super::{
    counters::{Cell, Sent},
    frames::{self, Link},
    node::{Node, eventually},
    settings::Settings,
};

const CLOSED: u16 = 9_042;
const OPEN: u16 = 443;
const NODE: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 1);
const OUTSIDER: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 66);
/// One of the lab's peers, who comes in by the tunnel.
const PEER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 11);
const ETHERNET_BYTES: usize = 14;

/// What is said of the device.
fn settings(attach: &str, named: bool) -> Settings {
    let table = format!("[[interface]]\nname = \"tun0\"\nattach = \"{attach}\"\n");
    let interfaces: &[&str] = if named { &["eth0", "tun0"] } else { &[] };
    Settings::default().interfaces(interfaces).rules(&table)
}

fn node(settings: &Settings) -> (Node, Tun) {
    let node = Node::idle(Lab::new().unwrap(), settings);
    let tun = Tun::create(node.netns(), "tun0").unwrap();
    node.netns().ip_batch(&format!("addr add {NODE}/24 dev tun0\nlink set tun0 up\n")).unwrap();
    node.netns().sysctl(&[("ipv4.conf.all.rp_filter", "0"), ("ipv4.conf.tun0.rp_filter", "0")]).unwrap();
    (node, tun)
}

fn datagram(node: &Node, from: Ipv4Addr, port: u16) -> Vec<u8> {
    let ends = Link::between(node.outsider(), node.host());
    frames::udp(ends, (from.into(), 40_000), (NODE.into(), port), b"knock")[ETHERNET_BYTES..].to_vec()
}

fn denied(node: &Node, protocol: Protocol) -> Sent {
    let cell = Cell::port("cassandra", CLOSED, protocol, "drop", "outsider");
    let counters = node.counters();
    Sent { packets: counters.packets(&cell), bytes: counters.bytes(&cell) }
}

#[test]
fn what_comes_out_of_a_tun_device_is_filtered_by_port_and_peer() {
    if skip_unless_privileged("what_comes_out_of_a_tun_device_is_filtered_by_port_and_peer") {
        return;
    }
    for named in [true, false] {
        let (mut node, tun) = node(&settings("tc", named));
        let sockets = Listener::udp(node.netns(), &[CLOSED, OPEN]).unwrap();
        let arrived = |port| sockets.arrived(Protocol::Udp, port);
        let packet = datagram(&node, OUTSIDER, CLOSED);
        tun.give(&packet).unwrap();
        eventually("without nodewall it is delivered", || (arrived(CLOSED).count == 1).then_some(()));

        node.start_agent();
        assert_eq!(node.attachment("tun0").unwrap().0, "tc");
        assert_eq!(node.attachment("eth0").unwrap().0, "native");
        tun.give(&packet).unwrap();
        let expected = Sent { packets: 1, bytes: packet.len() as u64 };
        eventually("it is dropped and counted, as long as it is", || {
            (denied(&node, Protocol::Udp) == expected).then_some(())
        });
        tun.give(&datagram(&node, PEER, CLOSED)).unwrap();
        tun.give(&datagram(&node, OUTSIDER, OPEN)).unwrap();
        eventually("a peer's is delivered", || arrived(CLOSED).sources.get(&IpAddr::from(PEER)).map(|_| ()));
        eventually("to an open port anyone's is", || (arrived(OPEN).count == 1).then_some(()));
        assert_eq!(arrived(CLOSED).sources.get(&IpAddr::from(OUTSIDER)), Some(&1));
        // What answered it left by the device, and is counted by its port.
        let answer = Cell::port("https", OPEN, Protocol::Udp, "pass", "sent_from_port");
        // It begins with the port that answers, and a space.
        let answered = Sent { packets: 1, bytes: (packet.len() + "443 ".len()) as u64 };
        eventually("the answer is counted", || (node.counters().sent(&answer) == answered).then_some(()));

        let (first, interface) = eventually("the store to have it", || captured(&node));
        let header = [&[0; 12][..], &[8, 0]].concat();
        assert_eq!(first, [header, packet].concat(), "with a header for those who read captures");
        assert_eq!(interface, "tun0");
        assert!(node.nodewall("detach", &[]).status.success());
        tun.give(&datagram(&node, OUTSIDER, CLOSED)).unwrap();
        eventually("detached it is open", || (arrived(CLOSED).sources[&IpAddr::from(OUTSIDER)] == 2).then_some(()));
    }
}

fn captured(node: &Node) -> Option<(Vec<u8>, String)> {
    let reader = Reader::open(&node.directories.state_dir().join("evidence")).unwrap()?;
    let interface = reader.flows(&Filter::default()).unwrap().into_iter().next()?.record.key.interface;
    let first = reader.captures(&Filter::default()).unwrap().into_iter().next()?.record.frame;
    Some((first, interface))
}

/// What each of its frames carries but the last, and in front of that.
const PIECE_BYTES: u16 = 1_000;
const HEADERS: u16 = 20 + 20;

/// An aggregate of a hypervisor's does not say how many frames it was.
#[test]
fn an_aggregate_that_does_not_say_its_frames_counts_as_all_of_them() {
    if skip_unless_privileged("an_aggregate_that_does_not_say_its_frames_counts_as_all_of_them") {
        return;
    }
    let (mut node, tun) = node(&settings("tc", true));
    node.start_agent();
    let payload = vec![7; 5 * usize::from(PIECE_BYTES) + 1];
    let ends = Link::between(node.outsider(), node.host());
    let packet = frames::tcp(ends, (OUTSIDER, 40_000), (NODE, CLOSED), 1, &payload)[ETHERNET_BYTES..].to_vec();
    tun.give_aggregate(&packet, Unsaid { headers: HEADERS, tcp_at: 20, piece_bytes: PIECE_BYTES }).unwrap();
    let expected = Sent { packets: 6, bytes: 6 * u64::from(HEADERS) + payload.len() as u64 };
    eventually("it is counted", || (denied(&node, Protocol::Tcp).packets > 0).then_some(()));
    assert_eq!(denied(&node, Protocol::Tcp), expected);
}

/// XDP can not read such frames, and nobody is told that it could.
#[test]
fn without_the_tc_hook_a_tun_device_is_refused_with_the_way_out() {
    if skip_unless_privileged("without_the_tc_hook_a_tun_device_is_refused_with_the_way_out") {
        return;
    }
    for attach in ["native", "generic"] {
        let (node, _tun) = node(&settings(attach, true));
        let applied = node.nodewall("apply", &[]);
        assert_eq!(applied.status.code(), Some(3), "{applied:?}");
        assert!(applied.stdout.contains("tun0") && applied.stdout.contains("attach = \"tc\""), "{applied:?}");
        assert_eq!(node.attachment("tun0"), None);
    }
}
