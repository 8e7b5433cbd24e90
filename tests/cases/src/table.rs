//! What a case is: names, sources, policies, rows. Knows neither the policy compiler nor the kernel, so that the verdict function's own crate can run
//! the table, too.

use node_ebpf_common::{Reason, counter::Outcome};

pub const PEER: &str = "10.0.0.11";
pub const PREFIX_PEER: &str = "10.9.3.4";
pub const OUTSIDER: &str = "192.0.2.66";
pub const OWN: &str = "10.0.0.1";
pub const PEER6: &str = "2001:db8::11";
pub const OUTSIDER6: &str = "2001:db8:ffff::66";
pub const OWN6: &str = "2001:db8::1";

/// Where there are blocks: addresses of nobody, prefixes around peers and own addresses, inside a peer's, inside an allowed one, and one of no wire.
pub const BLOCKED: [&str; 10] = [
    "203.0.113.5/32",
    "172.16.0.0/16",
    "10.0.0.0/24",
    "10.9.200.0/24",
    "198.51.100.200/32",
    "127.0.0.0/8",
    "2001:db8:bad::5/128",
    "2001:db8:b::/48",
    "2001:db8::/64",
    "2001:db8:9:bad::/64",
];

/// The policies that cases are judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// The default profile with peers.
    Enforce,
    /// The same in audit mode.
    Audit,
    /// Own rules: closed ports, extra sources, tunnels for all, later fragments from peers only.
    Rules,
    /// As `Enforce`, with blocked sources.
    Blocks,
    /// As `Rules`, with the same blocks, in audit mode.
    AuditBlocks,
    /// As `Enforce`, on a host that unpacks UDP ports of its own.
    Unpacking,
    /// As `Blocks`, with classes that only audit.
    Audited,
}

impl Policy {
    pub const ALL: [Self; 7] =
        [Self::Enforce, Self::Audit, Self::Rules, Self::Blocks, Self::AuditBlocks, Self::Unpacking, Self::Audited];

    pub fn audits(self) -> bool {
        matches!(self, Self::Audit | Self::AuditBlocks)
    }

    /// Classes that only audit, of the profile and public ones among them.
    pub const fn audited(self) -> &'static [&'static str] {
        if matches!(self, Self::Audited) { &["agent", "cassandra", "https"] } else { &[] }
    }

    pub fn has_own_rules(self) -> bool {
        matches!(self, Self::Rules | Self::AuditBlocks)
    }

    /// The UDP ports that the host's kernel takes packets out of: unnamed ones, and such as a class names that is public, for peers, or closed.
    pub const fn tunnel_ports(self) -> &'static [u16] {
        match self {
            Self::Unpacking => &[5555, 443, 9042],
            Self::Rules => &[5555, 9999],
            _ => &[],
        }
    }

    pub const fn blocked(self) -> &'static [&'static str] {
        if matches!(self, Self::Blocks | Self::AuditBlocks | Self::Audited) { &BLOCKED } else { &[] }
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

    /// What becomes of the frame. A block is the policy's, not the class's.
    pub fn outcome(&self) -> Outcome {
        let is_audited = matches!(self.on, On::Port(class, ..) if self.policy.audited().contains(&class))
            && self.reason != Reason::BlockedSource;
        Outcome::of(self.reason.verdict(), !self.policy.audits() && !is_audited)
    }

    pub fn counting(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self
    }
}
