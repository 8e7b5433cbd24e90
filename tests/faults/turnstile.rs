//! A second opinion behind the filter: nftables counts what reaches the node's stack, by source and port, and takes it, so that nothing is answered.

use nodewall_testbed::find_tool;
use nodewall_testbed::run_to_end;
use serde_json::Value;

use crate::node::{Node, PATIENCE};

/// Where datagrams come from, and to which port.
pub(crate) type Flow = (std::net::Ipv4Addr, u16);

/// Counters in the node's namespace.
pub(crate) struct Turnstile<'a> {
    node: &'a Node,
    ways: usize,
}

impl<'a> Turnstile<'a> {
    pub(crate) fn of(node: &'a Node, ways: &[Flow]) -> Self {
        // Anew: what was counted before is nobody's.
        let mut table = String::from("table ip turnstile\ndelete table ip turnstile\ntable ip turnstile {\n");
        let mut rules = String::new();
        for (n, (from, port)) in ways.iter().enumerate() {
            table += &format!("counter way{n} {{ }}\n");
            rules += &format!("ip saddr {from} udp dport {port} counter name way{n} drop\n");
        }
        table += &format!("chain in {{\ntype filter hook prerouting priority -400;\n{rules}}}\n}}\n");
        node.netns().tool("nft", &[&table]).unwrap();
        Self { node, ways: ways.len() }
    }

    /// Packets that got here, in the order of the ways.
    pub(crate) fn packets(&self) -> Vec<u64> {
        let mut command = self.node.netns().command(find_tool("nft").unwrap());
        command.args(["-j", "list", "counters", "table", "ip", "turnstile"]);
        let said = run_to_end("nft", command, PATIENCE).unwrap();
        let told: Value = serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:?}"));
        let mut packets = vec![None; self.ways];
        for counter in told["nftables"].as_array().unwrap().iter().map(|entry| &entry["counter"]) {
            if let Some(n) = counter["name"].as_str().and_then(|name| name.strip_prefix("way")) {
                packets[n.parse::<usize>().unwrap()] = counter["packets"].as_u64();
            }
        }
        packets.into_iter().map(|count| count.expect("a counter for every way")).collect()
    }
}
