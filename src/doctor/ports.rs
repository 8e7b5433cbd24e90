//! Ports of a policy as the checks need them: transports, who gets through, and how sets of ports are written. It must not look at the host.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use nodewall_host::net::Transport;
use nodewall_policy::{
    Policy, PortClass,
    config::{Access, PortRange, Protocol},
};

/// The policy's word for a transport.
pub(super) const fn protocol(transport: Transport) -> Protocol {
    match transport {
        Transport::Tcp => Protocol::Tcp,
        Transport::Udp => Protocol::Udp,
    }
}

/// The transport of one of the policy's ports.
pub(super) const fn transport(protocol: Protocol) -> Transport {
    match protocol {
        Protocol::Tcp => Transport::Tcp,
        Protocol::Udp => Transport::Udp,
    }
}

/// Whether the policy lets this source reach the class; `None`: no class, which everyone reaches.
pub(super) fn passes(policy: &Policy, class: Option<&PortClass>, source: IpAddr) -> bool {
    let Some(class) = class else { return true };
    let also = class.also_allow.iter().any(|net| net.contains(&source));
    match class.access {
        Access::Public => true,
        Access::Cluster => also || policy.peers.iter().any(|net| net.contains(&source)),
        Access::Closed => also,
    }
}

/// Ports of some protocols, gathered to be written in one line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PortSet {
    ranges: BTreeMap<Transport, BTreeSet<(u16, u16)>>,
}

impl PortSet {
    pub(super) fn add(&mut self, transport: Transport, first: u16, last: u16) {
        self.ranges.entry(transport).or_default().insert((first, last));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    pub(super) fn contains(&self, transport: Transport, port: u16) -> bool {
        let mut ranges = self.ranges.get(&transport).into_iter().flatten();
        ranges.any(|&(first, last)| (first..=last).contains(&port))
    }
}

impl std::fmt::Display for PortSet {
    /// `tcp 7000-7001,9042`; `tcp and udp 9042` where both are the same.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let written: Vec<(Transport, String)> = self
            .ranges
            .iter()
            .map(|(transport, ranges)| {
                let ranges = ranges.iter().filter_map(|&(first, last)| PortRange::new(first, last)).collect();
                let ranges: Vec<String> = PortRange::normalize(ranges).iter().map(ToString::to_string).collect();
                (*transport, ranges.join(","))
            })
            .collect();
        match written.as_slice() {
            [(one, ports), (other, same)] if ports == same => write!(f, "{one} and {other} {ports}"),
            all => {
                let all: Vec<String> = all.iter().map(|(transport, ports)| format!("{transport} {ports}")).collect();
                f.write_str(&all.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_written_short() {
        let mut set = PortSet::default();
        assert!(set.is_empty());
        for port in [7001, 9042, 7000] {
            set.add(Transport::Tcp, port, port);
        }
        assert_eq!(set.to_string(), "tcp 7000-7001,9042");
        set.add(Transport::Udp, 7000, 7001);
        assert_eq!(set.to_string(), "tcp 7000-7001,9042, udp 7000-7001");
        set.add(Transport::Udp, 9042, 9042);
        assert_eq!(set.to_string(), "tcp and udp 7000-7001,9042");
    }
}
