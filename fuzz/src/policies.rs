//! The fixed set of policies that every frame is judged by, compiled once. Addresses are those of `tests/cases`, so that its frames meet peers.

use std::net::IpAddr;
use std::sync::LazyLock;

use crate::cases::{self, OWN, OWN6};
use crate::model::{Node, answer::Answer, judge};
use ipnet::IpNet;
use nodewall_policy::{Compiled, Facts, Policy, RowTable, compile, config::Config};

const PEERS: &str = r#"
[peers]
static = ["10.0.0.11", "10.9.0.0/16", "10.0.0.1", "2001:db8::11", "2001:db8:9::/48", "fd00:0:0:1::/64"]
"#;

const RULES: &str = r#"
tunnels = "all"
[[rule]]
name = "jmx-from-ops"
ports = ["7199", "20000-21000"]
protocols = ["tcp"]
access = "cluster"
also_allow = ["198.51.100.0/24", "2001:db8:a::/48"]
[[rule]]
name = "nobody"
ports = ["9999"]
access = "closed"
[[rule]]
name = "only-ops"
ports = ["9998"]
access = "closed"
also_allow = ["198.51.100.0/24"]
[[rule]]
name = "vxlan"
ports = ["4789"]
protocols = ["udp"]
access = "closed"
"#;

const CURRENT: &str = r#"
later_fragments = "peers"
[profile]
name = "dynatrace-managed-current"
agent_port_8443 = "public"
web_port_8022 = "public"
"#;

const NONE: &str = "single_node = true\n[profile]\nname = \"none\"\n";

const SOME_AUDITED: &str = r#"
[profile]
audit = ["cassandra", "agent"]
[[rule]]
name = "eyed"
ports = ["9998"]
access = "closed"
also_allow = ["198.51.100.0/24"]
mode = "audit"
"#;

/// Around peers and inside of theirs, around own addresses and martians, of lengths that nothing else has.
const OVERLAPPING: [&str; 9] = [
    "10.0.0.0/13",
    "10.9.3.4/30",
    "192.0.2.66/32",
    "198.51.100.128/25",
    "0.0.0.0/6",
    "2001:db8::/47",
    "2001:db8:ffff::66/127",
    "fd00::/8",
    "::/3",
];

/// A policy as it is meant and as it is compiled, and who is blocked.
pub struct Judge {
    /// For messages.
    pub name: &'static str,
    /// The meaning.
    pub policy: Policy,
    /// Blocked sources.
    pub blocked: Vec<IpNet>,
    /// UDP ports that the node unpacks.
    pub tunnels: Vec<u16>,
    /// The image and its rows.
    pub compiled: Compiled,
}

impl Judge {
    fn new(name: &'static str, text: &str, blocked: &[&str]) -> Self {
        Self::unpacking(name, text, blocked, &[])
    }

    fn unpacking(name: &'static str, text: &str, blocked: &[&str], tunnels: &[u16]) -> Self {
        let config = Config::parse(text, name).expect("a sound configuration");
        let policy = Policy::from_config(&config).expect("a sound policy");
        let blocked: Vec<IpNet> = blocked.iter().map(|net| net.parse().expect("a prefix")).collect();
        let own_addresses = own_addresses().to_vec();
        let tunnel_ports = tunnels.iter().copied().collect();
        let facts = Facts { generation: 1, own_addresses, tunnel_ports, blocked: blocked.clone(), ..Facts::default() };
        let compiled = compile(&policy, RowTable::default(), &facts).expect("a policy that fits");
        Self { name, policy, blocked, tunnels: tunnels.to_vec(), compiled }
    }

    /// What the model answers for `frame`.
    pub fn right_answer(&self, frame: &[u8]) -> Answer {
        judge(
            frame,
            &self.policy,
            &Node { own: &own_addresses(), tunnels: &self.tunnels, blocked: &self.blocked, ..Node::default() },
        )
    }
}

/// The addresses of the node that the policies stand for.
pub fn own_addresses() -> [IpAddr; 2] {
    [OWN, OWN6].map(|address| address.parse().expect("an address"))
}

/// Every policy, compiled at the first call.
pub fn judges() -> &'static [Judge] {
    static JUDGES: LazyLock<Vec<Judge>> = LazyLock::new(|| {
        vec![
            Judge::new("enforce", PEERS, &[]),
            Judge::new("audit", &format!("mode = \"audit\"\n{PEERS}"), &[]),
            Judge::new("rules", &format!("{RULES}{PEERS}"), &[]),
            Judge::new("current", &format!("{CURRENT}{PEERS}"), &[]),
            Judge::new("none", NONE, &[]),
            Judge::new("blocks", PEERS, cases::Policy::Blocks.blocked()),
            Judge::new("rules with blocks", &format!("{RULES}{PEERS}"), &OVERLAPPING),
            Judge::new("current with blocks", &format!("{CURRENT}{PEERS}"), &OVERLAPPING),
            Judge::new("some audited with blocks", &format!("{SOME_AUDITED}{PEERS}"), &OVERLAPPING),
            Judge::unpacking("unpacking", PEERS, &[], cases::Policy::Unpacking.tunnel_ports()),
            Judge::new("none with a block", NONE, &["192.0.2.66/32"]),
        ]
    });
    &JUDGES
}
