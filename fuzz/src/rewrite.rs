//! A policy written back as configuration, with own rules in the profile's stead: what is read from it must mean the same.

use std::fmt::Write as _;

use ipnet::IpNet;
use nodewall_policy::{
    Policy, PortClass,
    config::{PortRange, Protocol, show},
};

/// The configuration; `None` where a class has other ports for TCP than for UDP, which no single rule can say.
pub fn as_own_rules(policy: &Policy) -> Option<String> {
    let Policy { mode, tunnels, later_fragments, single_node, .. } = policy;
    let mut text = format!(
        "mode = \"{mode}\"\ntunnels = \"{tunnels}\"\nlater_fragments = \"{later_fragments}\"\n\
         single_node = {single_node}\nallow_lockout = true\n[profile]\nname = \"none\"\n[peers]\nstatic = {}\n",
        list(policy.peers.iter().map(show))
    );
    for class in &policy.classes {
        let (ports, protocols) = ports_and_protocols(class)?;
        let _ = write!(
            text,
            "[[rule]]\nname = \"{}\"\naccess = \"{}\"\nports = {}\nprotocols = {}\n",
            class.name,
            class.access,
            list(ports.iter().map(ToString::to_string)),
            list(protocols.iter().map(ToString::to_string)),
        );
        if class.audited {
            text.push_str("mode = \"audit\"\n");
        }
        if !class.also_allow.is_empty() {
            let _ = writeln!(text, "also_allow = {}", list(class.also_allow.iter().map(IpNet::to_string)));
        }
    }
    Some(text)
}

fn ports_and_protocols(class: &PortClass) -> Option<(Vec<PortRange>, Vec<Protocol>)> {
    let tcp: Vec<_> = class.ranges(Protocol::Tcp).collect();
    let udp: Vec<_> = class.ranges(Protocol::Udp).collect();
    match (tcp.is_empty(), udp.is_empty()) {
        (false, true) => Some((tcp, vec![Protocol::Tcp])),
        (true, false) => Some((udp, vec![Protocol::Udp])),
        _ if tcp == udp => Some((tcp, vec![Protocol::Tcp, Protocol::Udp])),
        _ => None,
    }
}

fn list(words: impl Iterator<Item = String>) -> String {
    let quoted: Vec<String> = words.map(|word| format!("\"{word}\"")).collect();
    format!("[{}]", quoted.join(", "))
}
