//! Tunnels on UDP ports of their own: a device that comes and goes changes the policy and no program, and what is not judged is an alarm. The kinds
//! of devices are those of `tests/vm/devices.rs`; here it is VXLAN, which this kernel has.

use std::net::{IpAddr, SocketAddr};

use nodewall_testbed::{Host, Lab, Listener, Probe, Protocol, eventually_eq, skip_unless_privileged};
use serde_json::Value;

use super::counters::Cell;
use super::node::Node;
use super::settings::Settings;
use super::traffic::{answered, silent};

/// No tunnel's usual port.
const PORT: u16 = 5555;
const INSIDE: u16 = 9042;

/// A VXLAN device of this host's with an address inside; the node learns where the others are.
fn plug(host: &Host, number: u8, port: u16, to_node: bool) {
    let remote = if to_node { "remote 10.77.0.1" } else { "" };
    let local = host.ipv4();
    let script = format!(
        "link add vx0 type vxlan id 7 local {local} {remote} dstport {port}\naddr add 10.90.0.{number}/24 dev vx0\nlink set vx0 up\n"
    );
    host.netns().ip_batch(&script).unwrap();
}

fn through_the_tunnel() -> [Probe; 2] {
    let to = SocketAddr::new(IpAddr::from([10, 90, 0, 1]), INSIDE);
    Protocol::ALL.map(|protocol| Probe::new(protocol, to))
}

/// What the policy in force says of the outsider's UDP packets to this port.
fn reason(node: &Node, port: u16) -> String {
    let source = node.outsider().ipv4().to_string();
    let arguments = ["--source", &source, "--port", &port.to_string(), "--protocol", "udp", "-o", "json"];
    let said = node.nodewall_live("explain", &arguments);
    let said: Value = serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:?}"));
    said["reason"].as_str().unwrap().to_owned()
}

fn becomes(node: &Node, port: u16, expected: &str) {
    eventually_eq("the agent follows the device", || reason(node, port), &expected.to_owned());
}

#[test]
fn a_tunnel_on_a_port_of_its_own_is_judged_while_it_is_there() {
    if skip_unless_privileged("a_tunnel_on_a_port_of_its_own_is_judged_while_it_is_there") {
        return;
    }
    let mut node = Node::idle(Lab::new().unwrap(), &Settings::default());
    plug(node.host(), 1, PORT, false);
    plug(node.outsider(), 66, PORT, true);
    plug(node.peers()[0], 11, PORT, true);
    let _sockets = Listener::both(node.netns(), &[INSIDE]).unwrap();
    // Without nodewall it is a way round every port rule.
    answered(node.outsider(), &through_the_tunnel());

    node.start_agent();
    silent(node.outsider(), &through_the_tunnel());
    answered(node.peers()[0], &through_the_tunnel());
    let dropped = Cell::port("tunnel", PORT, Protocol::Udp, "drop", "tunnel_outsider");
    assert!(node.counters().drops().get(&dropped).is_some_and(|packets| *packets > 0), "{:?}", node.counters());
    assert_eq!(node.json("status")["open_tunnels"], Value::Array(Vec::new()));

    let (program, policy) = (node.attachment("eth0"), node.json("status")["policy_sha256"].clone());
    node.netns().ip(&["link", "del", "vx0"]).unwrap();
    becomes(&node, PORT, "unmanaged");
    plug(node.host(), 1, PORT + 1, false);
    becomes(&node, PORT + 1, "tunnel_outsider");
    assert_eq!(reason(&node, PORT), "unmanaged");
    // No program was loaded for it, and it is no change of what the operator asked for.
    assert_eq!((node.attachment("eth0"), &node.json("status")["policy_sha256"]), (program, &policy));
}

/// Its ends are told packet by packet: the device says its port all the same. Without an agent nobody follows it, and that is said.
#[test]
fn a_tunnel_that_nobody_judges_is_an_alarm_until_it_is_judged() {
    if skip_unless_privileged("a_tunnel_that_nobody_judges_is_an_alarm_until_it_is_judged") {
        return;
    }
    let node = Node::idle(Lab::new().unwrap(), &Settings::default());
    assert!(node.nodewall("apply", &[]).status.success());
    let external = format!("link add vx0 type vxlan external dstport {PORT}\nlink set vx0 up\n");
    node.netns().ip_batch(&external).unwrap();
    assert_eq!(reason(&node, PORT), "unmanaged");
    let status = node.json("status");
    assert_eq!((&status["healthy"], &status["open_tunnels"][0]["port"]), (&Value::Bool(false), &Value::from(PORT)));
    let problem = "vx0 (vxlan) unpacks what anyone sends to UDP port 5555";
    assert!(status["problems"].to_string().contains(problem), "{status}");
    let tunnel = || {
        let said = node.nodewall("doctor", &["-o", "jsonl"]).stdout;
        let findings = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let about: Vec<Value> = findings.filter(|finding| finding["check"] == "tunnel").collect();
        assert_eq!(about.len(), 1, "{about:?}");
        (about[0]["status"].as_str().unwrap().to_owned(), about[0]["advice"].as_str().unwrap().to_owned())
    };
    let (status, advice) = tunnel();
    assert!(status == "degraded" && advice.contains("nodewall apply"), "{status}: {advice}");

    assert!(node.nodewall("apply", &[]).status.success());
    assert_eq!(reason(&node, PORT), "tunnel_outsider");
    assert_eq!(node.json("status")["open_tunnels"], Value::Array(Vec::new()));
    assert_eq!(tunnel().0, "note");

    // The operator's own word for the port wins, and is told for what it is.
    let rule = "[[rule]]\nname = \"overlay\"\nports = [\"5555\"]\naccess = \"public\"\n";
    node.configure(&Settings::default().rules(rule));
    assert!(node.nodewall("apply", &[]).status.success());
    assert_eq!(node.json("status")["open_tunnels"][0]["class"], "overlay");
    assert_eq!(tunnel().0, "degraded");
    node.configure(&Settings::default().top("tunnels = \"all\""));
    assert!(node.nodewall("apply", &[]).status.success());
    assert_eq!(node.json("status")["open_tunnels"], Value::Array(Vec::new()), "that is what was asked for");
    assert_eq!(tunnel().0, "degraded");
}
