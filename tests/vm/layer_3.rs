//! Devices whose frames begin with the IP header, between two sites: a `WireGuard` tunnel, whose packets were encrypted where they entered the host, and IPIP. What
//! comes out is judged at the tunnel's device, at the tc hook. What `wg` does is done here (`linux/wireguard.h`).

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use nodewall_testbed::{Host, Lab, Listener, Protocol};

use crate::counters::Cell;
use crate::generic_netlink::{attribute, command, interface, nested};
use crate::guest::skip_outside;
use crate::node::{Node, eventually};
use crate::settings::Settings;

const SET_DEVICE: u8 = 1;
const DEVICE_IFINDEX: u16 = 1;
const DEVICE_PRIVATE_KEY: u16 = 3;
const DEVICE_LISTEN_PORT: u16 = 6;
const DEVICE_PEERS: u16 = 8;
const PEER_PUBLIC_KEY: u16 = 1;
const PEER_ENDPOINT: u16 = 4;
const PEER_ALLOWED_IPS: u16 = 9;
const ALLOWED_FAMILY: u16 = 1;
const ALLOWED_ADDRESS: u16 = 2;
const ALLOWED_BITS: u16 = 3;
const ITEM: u16 = 0;

/// Private and public keys, of RFC 7748, 6.1.
const KEYS: [[&str; 2]; 2] = [
    [
        "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
        "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
    ],
    [
        "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
        "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
    ],
];
const TUNNEL_PORT: u16 = 51_820;
const CLOSED: u16 = 9_042;
const OPEN: u16 = 443;
/// Inside the tunnel.
const NODE: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 11);
const OUTSIDER: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 66);

fn key(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// One end of the tunnel, whose other end is `other`.
fn end(host: &Host, [private, _]: [&str; 2], other: &Host, [_, public]: [&str; 2], addresses: &[Ipv4Addr]) {
    let mut script = "link add wg0 type wireguard\n".to_owned();
    script.extend(addresses.iter().map(|address| format!("addr add {address}/24 dev wg0\n")));
    host.netns().ip_batch(&script).unwrap();
    let endpoint =
        [&(libc::AF_INET as u16).to_ne_bytes()[..], &TUNNEL_PORT.to_be_bytes(), &other.ipv4().octets(), &[0; 8]]
            .concat();
    let allowed = [
        attribute(ALLOWED_FAMILY, &(libc::AF_INET as u16).to_ne_bytes()),
        attribute(ALLOWED_ADDRESS, &NODE.octets()),
        attribute(ALLOWED_BITS, &[24]),
    ];
    let peer = [
        attribute(PEER_PUBLIC_KEY, &key(public)),
        attribute(PEER_ENDPOINT, &endpoint),
        nested(PEER_ALLOWED_IPS, &[nested(ITEM, &allowed)]),
    ];
    let error = host
        .netns()
        .run(|| {
            let device = [
                interface(DEVICE_IFINDEX, c"wg0"),
                attribute(DEVICE_PRIVATE_KEY, &key(private)),
                attribute(DEVICE_LISTEN_PORT, &TUNNEL_PORT.to_ne_bytes()),
                nested(DEVICE_PEERS, &[nested(ITEM, &peer)]),
            ];
            command("wireguard", SET_DEVICE, &device)
        })
        .unwrap();
    assert_eq!(error, 0, "{}", std::io::Error::from_raw_os_error(error));
    host.netns().ip_batch("link set wg0 up\n").unwrap();
}

/// Sends a datagram through the tunnel.
fn send(from: &Host, source: Ipv4Addr, port: u16) {
    let socket = from.netns().run(|| UdpSocket::bind((source, 0)).unwrap()).unwrap();
    assert_eq!(socket.send_to(b"knock", (NODE, port)).unwrap(), 5);
}

/// The node behind whose tunnel device, of this name, only a peer reaches the closed port.
fn idle(device: &str, top: &str) -> Node {
    let settings = Settings::default()
        .interfaces(&[])
        .peers(&["10.77.0.11", &PEER.to_string()])
        .top(top)
        .rules(&format!("[[interface]]\nname = \"{device}\"\nattach = \"tc\"\n"));
    Node::idle(Lab::new().unwrap(), &settings)
}

/// The tunnel stands, to the lab's outsider; nodewall does not run yet.
fn assert_filtered_by_port_and_peer(mut node: Node, device: &str) {
    let sockets = Listener::udp(node.netns(), &[CLOSED, OPEN]).unwrap();
    let from = |port, source: Ipv4Addr| {
        sockets.arrived(Protocol::Udp, port).sources.get(&IpAddr::from(source)).copied().unwrap_or(0)
    };
    send(node.outsider(), OUTSIDER, CLOSED);
    eventually("without nodewall it is delivered", || (from(CLOSED, OUTSIDER) == 1).then_some(()));

    node.start_agent();
    let site = node.outsider();
    assert_eq!(node.attachment(device).unwrap().0, "tc");
    assert_eq!(node.attachment("eth0").unwrap().0, "native");
    send(site, OUTSIDER, CLOSED);
    let dropped = Cell::port("cassandra", CLOSED, Protocol::Udp, "drop", "outsider");
    eventually("it is dropped and counted", || (node.counters().packets(&dropped) == 1).then_some(()));
    send(site, PEER, CLOSED);
    send(site, OUTSIDER, OPEN);
    eventually("a peer's is delivered", || (from(CLOSED, PEER) == 1).then_some(()));
    eventually("to an open port anyone's is", || (from(OPEN, OUTSIDER) == 1).then_some(()));
    assert_eq!(from(CLOSED, OUTSIDER), 1);
    assert_eq!(node.json("status")["problems"].to_string(), "[]");
}

#[test]
fn what_comes_out_of_wireguard_is_filtered_by_port_and_peer() {
    if skip_outside("layer_3::what_comes_out_of_wireguard_is_filtered_by_port_and_peer") {
        return;
    }
    let node = idle("wg0", "");
    let site = node.outsider();
    end(node.host(), KEYS[0], site, KEYS[1], &[NODE]);
    end(site, KEYS[1], node.host(), KEYS[0], &[OUTSIDER, PEER]);
    assert_filtered_by_port_and_peer(node, "wg0");
}

#[test]
fn what_comes_out_of_ipip_is_filtered_by_port_and_peer() {
    if skip_outside("layer_3::what_comes_out_of_ipip_is_filtered_by_port_and_peer") {
        return;
    }
    // The other site is no peer: its packets come by the card as a tunnel's, which all may send here.
    let node = idle("to-site", "tunnels = \"all\"");
    let end = |host: &Host, other: &Host, addresses: &[Ipv4Addr]| {
        let mut script = format!("link add to-site type ipip local {} remote {}\n", host.ipv4(), other.ipv4());
        script.extend(addresses.iter().map(|address| format!("addr add {address}/24 dev to-site\n")));
        host.netns().ip_batch(&(script + "link set to-site up\n")).unwrap();
    };
    end(node.host(), node.outsider(), &[NODE]);
    end(node.outsider(), node.host(), &[OUTSIDER, PEER]);
    assert_filtered_by_port_and_peer(node, "to-site");
}
