//! Devices on UDP ports of their own, and foo-over-UDP, which needs no device: what a table of usual ports cannot know.

use nodewall_testbed::{Family, Lab, eventually_eq};

use super::{INNER_MAC_TEXT, in_udp, only_peers_get_through, to_inner_mac};
use crate::guest::skip_outside;
use crate::node::Node;
use crate::settings::Settings;
use crate::wire;

/// No tunnel's usual port.
const PORT: u16 = 5555;

#[test]
fn vxlan() {
    let up = format!("link add vx0 address {INNER_MAC_TEXT} type vxlan id 7 dstport {PORT}\nlink set vx0 up\n");
    only_peers_get_through("devices::own_ports::vxlan", &up, Family::V4, |from, node, datagram| {
        in_udp(from, node, PORT, &wire::vxlan(7, &to_inner_mac(datagram)))
    });
}

/// Its other ends are named packet by packet.
#[test]
fn external_vxlan() {
    let up = format!("link add vx0 address {INNER_MAC_TEXT} type vxlan external dstport {PORT}\nlink set vx0 up\n");
    only_peers_get_through("devices::own_ports::external_vxlan", &up, Family::V4, |from, node, datagram| {
        in_udp(from, node, PORT, &wire::vxlan(9, &to_inner_mac(datagram)))
    });
}

#[test]
fn geneve() {
    let mut up = String::new();
    for (name, remote) in [("gnv0", "10.77.0.66"), ("gnv1", "10.77.0.11")] {
        let link = format!("link add {name} address {INNER_MAC_TEXT} type geneve id 7 remote {remote} dstport {PORT}");
        up += &format!("{link}\nlink set {name} up\n");
    }
    only_peers_get_through("devices::own_ports::geneve", &up, Family::V4, |from, node, datagram| {
        in_udp(from, node, PORT, &wire::geneve(7, &to_inner_mac(datagram)))
    });
}

#[test]
fn external_geneve() {
    let up = format!("link add gnv0 address {INNER_MAC_TEXT} type geneve external dstport {PORT}\nlink set gnv0 up\n");
    only_peers_get_through("devices::own_ports::external_geneve", &up, Family::V4, |from, node, datagram| {
        in_udp(from, node, PORT, &wire::geneve(9, &to_inner_mac(datagram)))
    });
}

/// IPIP behind a UDP header.
#[test]
fn fou() {
    let up = format!("fou add port {PORT} ipproto 4\nlink set tunl0 up\n");
    only_peers_get_through("devices::own_ports::fou", &up, Family::V4, |from, node, datagram| {
        in_udp(from, node, PORT, datagram.packet())
    });
}

/// What is inside may be UDP itself: then not even a tunnel device is there.
#[test]
fn fou_without_a_device() {
    let up = format!("fou add port {PORT} ipproto 17\n");
    only_peers_get_through("devices::own_ports::fou_without_a_device", &up, Family::V4, |from, node, datagram| {
        in_udp(from, node, PORT, wire::segment_of(datagram.packet()))
    });
}

#[test]
fn gue() {
    let up = format!("fou add port {PORT} gue\n");
    only_peers_get_through("devices::own_ports::gue", &up, Family::V4, |from, node, datagram| {
        in_udp(from, node, PORT, &wire::gue(wire::UDP, wire::segment_of(datagram.packet())))
    });
}

/// The kernel tells nobody of such a port: the agent looks, and the policy follows.
#[test]
fn fou_that_comes_and_goes() {
    if skip_outside("devices::own_ports::fou_that_comes_and_goes") {
        return;
    }
    let node = Node::on(Lab::new().unwrap(), &Settings::default());
    let source = node.outsider().ipv4().to_string();
    let port = PORT.to_string();
    let reason = || {
        let arguments = ["--source", &source, "--port", &port, "--protocol", "udp", "-o", "json"];
        let said = node.nodewall_live("explain", &arguments).stdout;
        let said: serde_json::Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
        said["reason"].as_str().unwrap().to_owned()
    };
    let program = node.attachment("eth0");
    assert_eq!(reason(), "unmanaged");
    for (change, expected) in [("add", "tunnel_outsider"), ("del", "unmanaged"), ("add", "tunnel_outsider")] {
        let line = format!("fou {change} port {PORT}{}\n", if change == "add" { " ipproto 4" } else { "" });
        node.netns().ip_batch(&line).unwrap();
        eventually_eq("the agent follows", reason, &expected.to_owned());
    }
    assert_eq!(node.attachment("eth0"), program, "no program was loaded for it");
}
