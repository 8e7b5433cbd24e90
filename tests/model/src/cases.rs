//! The table of cases with what its policies compile to.

use node_ebpf_common::counter;
use nodewall_policy::{Compiled, Facts, Policy as Meaning, RowTable, class_name, compile, config::Config};

pub use nodewall_cases::*;

/// Every policy's peers.
pub const PEERS: &str = r#"
[peers]
static = ["10.0.0.11", "10.9.0.0/16", "10.0.0.1", "2001:db8::11", "2001:db8:9::/48", "fd00:0:0:1::/64"]
"#;

/// The own rules of [`Policy::Rules`].
pub const RULES: &str = r#"
tunnels = "all"
later_fragments = "peers"
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
name = "site"
ports = ["9997"]
access = "closed"
also_allow = ["10.0.0.0/8"]
"#;

/// What the policy compiler makes of a case's policy.
pub trait Compile: Sized {
    fn compiled(self) -> Compiled {
        self.compiled_with(&[])
    }

    /// With these blocks besides the policy's own.
    fn compiled_with(self, more_blocked: &[&str]) -> Compiled;
}

impl Compile for Policy {
    fn compiled_with(self, more_blocked: &[&str]) -> Compiled {
        let mode = if self.audits() { "mode = \"audit\"\n" } else { "" };
        let rules = if self.has_own_rules() { RULES } else { "" };
        let audited = self.audited();
        let text = format!("{mode}{rules}[profile]\naudit = {audited:?}\n{PEERS}");
        let meaning = Meaning::from_config(&Config::parse(&text, "case.toml").unwrap()).unwrap();
        let own_addresses = vec![OWN.parse().unwrap(), OWN6.parse().unwrap()];
        let blocked = self.blocked().iter().chain(more_blocked).map(|net| net.parse().unwrap()).collect();
        let tunnel_ports = self.tunnel_ports().iter().copied().collect();
        let facts = Facts { generation: 1, own_addresses, tunnel_ports, blocked, ..Facts::default() };
        compile(&meaning, RowTable::default(), &facts).unwrap()
    }
}

/// Where a case is counted.
pub trait Counted {
    /// The counter cell that must move, found by the row's record, not by the image.
    fn cell(&self, compiled: &Compiled) -> u32;
}

impl Counted for Case {
    fn cell(&self, compiled: &Compiled) -> u32 {
        let row = match self.on {
            On::Port(class, protocol, port) => compiled
                .rows
                .records()
                .iter()
                .position(|r| {
                    r.protocol == protocol && (r.first_port..=r.last_port).contains(&port) && class_name(r) == class
                })
                .unwrap_or_else(|| panic!("{}: no row for {class} {protocol}/{port}", self.name))
                as u32,
            On::Tcp => counter::ROW_TCP_UNMANAGED,
            On::Udp => counter::ROW_UDP_UNMANAGED,
            On::Tunnel => counter::ROW_IP_TUNNELS,
            On::Fragments => counter::ROW_LATER_FRAGMENTS,
            On::Nothing => 0,
        };
        counter::cell(row, self.reason, self.outcome()).unwrap()
    }
}
