//! What a case is: names, sources, policies, rows. Knows neither the policy compiler nor the kernel, so that the verdict function's own crate can run
//! the table, too.

use node_ebpf_common::Reason;

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

impl Policy {
    pub const ALL: [Self; 3] = [Self::Enforce, Self::Audit, Self::Rules];
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
}
