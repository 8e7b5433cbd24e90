//! The node's own multicast and broadcasts: the kernel hands a copy of each back to the node's own listeners. At the hooks behind the driver that copy has
//! no Ethernet header (`dev_loopback_xmit`), so that what stands where an `EtherType` would be is part of the sender's address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};

use nodewall_testbed::{Lab, NetNs, PATIENCE, skip_unless_privileged};
use rustix::net::netdevice::name_to_index;

use super::{
    counters::Cell,
    node::{Node, eventually},
    settings::Settings,
};

const PORT: u16 = 5_007;
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 1, 1);
const GROUP6: Ipv6Addr = Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 0x77);
/// Addresses whose bytes would be the `EtherType`s of IPv4, IPv6, VLAN tags and MPLS, and one that is none.
const SENDERS: [(&str, &str); 8] = [
    ("8.0.1.1/24", "8.0.1.255"),
    ("134.221.1.1/24", "134.221.1.255"),
    ("129.0.1.1/24", "129.0.1.255"),
    ("136.71.1.1/24", "136.71.1.255"),
    ("10.9.1.1/24", "10.9.1.255"),
    ("2001:db8:800::1/64", ""),
    ("2001:db8:86dd::1/64", ""),
    ("2001:db8:8100:800::1/64", ""),
];

/// What the node's listener hears of what the node itself sends: one datagram for each address and way.
fn heard(netns: &NetNs) -> Vec<String> {
    let index = || {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        name_to_index(&socket, "eth0").unwrap()
    };
    let say = |from: IpAddr, to: SocketAddr| {
        let socket = UdpSocket::bind((from, 0)).unwrap();
        if to.is_ipv4() {
            socket.set_broadcast(true).unwrap();
        }
        socket.send_to(format!("{from} to {}", to.ip()).as_bytes(), to).unwrap();
    };
    let listen = || {
        let index = index();
        let (v4, v6) = (UdpSocket::bind(("0.0.0.0", PORT)).unwrap(), UdpSocket::bind(("ff05::77", PORT)).unwrap());
        let mut sent = 0;
        for (sender, broadcast) in SENDERS {
            let address = sender.split('/').next().unwrap().parse::<IpAddr>().unwrap();
            match address {
                IpAddr::V4(from) => {
                    v4.join_multicast_v4(&GROUP, &from).unwrap_or_default();
                    say(address, (GROUP, PORT).into());
                    say(address, (broadcast.parse::<Ipv4Addr>().unwrap(), PORT).into());
                    sent += 2;
                }
                IpAddr::V6(_) => {
                    v6.join_multicast_v6(&GROUP6, index).unwrap_or_default();
                    say(address, SocketAddrV6::new(GROUP6, PORT, 0, index).into());
                    sent += 1;
                }
            }
        }
        (v4, v6, sent)
    };
    let (v4, v6, sent) = netns.run(listen).unwrap();
    let mut heard = Vec::new();
    for (socket, count) in [(v4, 10), (v6, sent - 10)] {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut buffer = [0; 128];
        for _ in 0..count {
            let Ok(bytes) = socket.recv(&mut buffer) else { break };
            heard.push(String::from_utf8_lossy(&buffer[..bytes]).into_owned());
        }
    }
    heard
}

/// Native programs never see that copy.
#[test]
fn the_node_hears_its_own_multicast_and_broadcasts() {
    if skip_unless_privileged("the_node_hears_its_own_multicast_and_broadcasts") {
        return;
    }
    for attach in ["generic", "tc"] {
        let settings = Settings::default().rules(&format!("[[interface]]\nname = \"eth0\"\nattach = \"{attach}\"\n"));
        let mut node = Node::idle(Lab::new().unwrap(), &settings);
        let addresses: String =
            SENDERS.iter().map(|(address, _)| format!("addr add {address} dev eth0{}\n", nodad(address))).collect();
        node.netns().ip_batch(&format!("{addresses}route add 239.0.0.0/8 dev eth0\n")).unwrap();
        let without = heard(node.netns());
        assert_eq!(without.len(), 13, "{without:?}");
        node.start_agent();
        assert_eq!(node.attachment("eth0").unwrap().0, attach);
        let cell = Cell::portless("pass", "own_multicast");
        let before = node.counters().packets(&cell);
        assert_eq!(heard(node.netns()), without, "{attach}");
        eventually("each is counted as what it is", || (node.counters().packets(&cell) >= before + 13).then_some(()));
        node.assert_no_drops();
    }
}

fn nodad(address: &str) -> &'static str {
    if address.contains("::") { " nodad" } else { "" }
}
