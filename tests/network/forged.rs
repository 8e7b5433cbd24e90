//! A peer's address in the hands of somebody else: how far that goes, as SECURITY-MODEL says it. An address filter cannot tell a forged sender from the true one.

use std::net::{IpAddr, UdpSocket};

use nodewall_testbed::{Family, Host, Listener, PATIENCE, Probe, Protocol, probe_many, skip_unless_privileged};

use super::{
    node::{Node, eventually},
    traffic::answered,
};

const CLOSED: u16 = 9_042;
const FROM: u16 = 40_000;

/// The host has another one's address, too. `says_so`: also by ARP, when it asks and when it is asked.
fn takes(host: &Host, address: IpAddr, says_so: bool) {
    let [ignore, announce] = if says_so { ["0", "0"] } else { ["1", "2"] };
    let arp = [("ipv4.conf.eth0.arp_ignore", ignore), ("ipv4.conf.eth0.arp_announce", announce)];
    host.netns().sysctl(&arp).unwrap();
    host.netns().ip(&["addr", "add", &format!("{address}/32"), "dev", "lo"]).unwrap();
}

/// From anywhere: what is sent gets in, and every answer goes to the true one.
#[test]
fn whoever_forges_a_peer_gets_datagrams_in_and_no_connection() {
    if skip_unless_privileged("whoever_forges_a_peer_gets_datagrams_in_and_no_connection") {
        return;
    }
    let node = Node::enforcing();
    let (peer, outsider) = (node.peers()[0], node.outsider());
    let sockets = Listener::both(node.netns(), &[CLOSED]).unwrap();
    let (target, address) = (node.host().socket(Family::V4, CLOSED), IpAddr::from(peer.ipv4()));
    takes(outsider, address, false);
    // The node knows where the true one is.
    answered(peer, &[Probe::udp(target)]);
    let true_one = peer.netns().run(|| UdpSocket::bind((address, FROM)).unwrap()).unwrap();
    true_one.set_read_timeout(Some(PATIENCE)).unwrap();
    let forger = outsider.netns().run(|| UdpSocket::bind((address, FROM)).unwrap()).unwrap();
    let before = sockets.arrived(Protocol::Udp, CLOSED).count;
    forger.send_to(b"forged", target).unwrap();
    eventually("the datagram gets in", || (sockets.arrived(Protocol::Udp, CLOSED).count > before).then_some(()));
    let mut answer = [0; 64];
    true_one.recv(&mut answer).unwrap();
    forger.set_nonblocking(true).unwrap();
    assert!(forger.recv(&mut answer).is_err(), "the answer went to the true one");
    let tcp = [Probe::tcp(target).from_address(address)];
    let probed = probe_many(outsider.netns(), &tcp, std::time::Duration::from_secs(1)).unwrap();
    assert!(probed.iter().all(|probe| !probe.outcome.is_answered()), "{probed:?}");
    assert_eq!(sockets.arrived(Protocol::Tcp, CLOSED).count, 0, "no connection was ever whole");
}

/// On the same link, with the peer away: the node asks who has its address, and is told by the wrong one.
#[test]
fn on_the_same_link_whoever_answers_for_a_peer_is_the_peer() {
    if skip_unless_privileged("on_the_same_link_whoever_answers_for_a_peer_is_the_peer") {
        return;
    }
    let node = Node::enforcing();
    let (peer, outsider) = (node.peers()[0], node.outsider());
    let _sockets = Listener::both(node.netns(), &[CLOSED]).unwrap();
    let target = node.host().socket(Family::V4, CLOSED);
    peer.netns().ip(&["link", "set", "eth0", "down"]).unwrap();
    takes(outsider, peer.ipv4().into(), true);
    let from_peer = Protocol::ALL.map(|protocol| Probe::new(protocol, target).from_address(peer.ipv4().into()));
    answered(outsider, &from_peer);
}
