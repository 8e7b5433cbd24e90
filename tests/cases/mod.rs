//! The one table of cases: a policy, a frame, and what must come of it. Runs on the host and through the kernel program; each case says which
//! counter moves and by how many bytes. Rows follow the catalogue of evasions: every shape that Linux delivers is here.

pub mod frames;
pub mod ipv4;
mod ipv6;
mod link;
mod ports;

use node_ebpf_common::{Reason, counter};
use nodewall::{
    config::Config,
    policy::{Compiled, Facts, Policy as Meaning, RowTable, class_name, compile},
};

pub const PEER: &str = "10.0.0.11";
pub const PREFIX_PEER: &str = "10.9.3.4";
pub const OUTSIDER: &str = "192.0.2.66";
pub const OWN: &str = "10.0.0.1";
pub const PEER6: &str = "2001:db8::11";
pub const OUTSIDER6: &str = "2001:db8:ffff::66";
pub const OWN6: &str = "2001:db8::1";

/// The policies that cases are judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// The default profile with peers.
    Enforce,
    /// The same in audit mode.
    Audit,
    /// Own rules: closed ports, extra sources, tunnels for all, later fragments from peers only.
    Rules,
}

const PEERS: &str = r#"
[peers]
static = ["10.0.0.11", "10.9.0.0/16", "10.0.0.1", "2001:db8::11", "2001:db8:9::/48", "fd00:0:0:1::/64"]
"#;

const RULES: &str = r#"
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
"#;

impl Policy {
    pub const ALL: [Self; 3] = [Self::Enforce, Self::Audit, Self::Rules];

    pub fn compiled(self) -> Compiled {
        let text = match self {
            Self::Enforce => PEERS.to_string(),
            Self::Audit => format!("mode = \"audit\"\n{PEERS}"),
            Self::Rules => format!("{RULES}{PEERS}"),
        };
        let meaning = Meaning::from_config(&Config::parse(&text, "case.toml").unwrap()).unwrap();
        let own_addresses = vec![OWN.parse().unwrap(), OWN6.parse().unwrap()];
        compile(&meaning, RowTable::default(), &Facts { generation: 1, now_ns: 0, own_addresses }).unwrap()
    }
}

/// Which row is counted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// A port that the policy names.
    Port(&'static str, u8, u16),
    /// The row of unnamed TCP ports.
    Tcp,
    /// The row of unnamed UDP ports.
    Udp,
    /// The row of IP tunnels.
    Tunnel,
    /// The row of fragments after the first.
    Fragments,
    /// No port at all.
    Nothing,
}

/// One case.
pub struct Case {
    pub name: &'static str,
    pub policy: Policy,
    pub frame: Vec<u8>,
    pub reason: Reason,
    pub on: On,
    pub bytes: u64,
}

impl Case {
    /// A case of the default policy that counts the whole frame.
    pub fn new(name: &'static str, frame: Vec<u8>, reason: Reason, on: On) -> Self {
        let bytes = frame.len() as u64;
        Self { name, policy: Policy::Enforce, frame, reason, on, bytes }
    }

    pub fn under(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    pub fn counting(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self
    }

    /// The counter cell that must move, found by the row's record, not by the image.
    pub fn cell(&self, compiled: &Compiled) -> u32 {
        let bank = if self.policy == Policy::Audit { counter::BANK_CELLS } else { 0 };
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
        counter::cell(bank, row, self.reason.number())
    }
}

/// The whole table.
pub fn all() -> Vec<Case> {
    [ports::cases(), link::cases(), ipv4::cases(), ipv6::cases()].into_iter().flatten().collect()
}
