//! Ports of both protocols, gathered to be written in one line.

use std::collections::BTreeMap;

use nodewall_policy::config::{PortRange, PortSet, Protocol};

/// Ports by protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ProtocolPorts {
    ports: BTreeMap<Protocol, Vec<PortRange>>,
}

impl ProtocolPorts {
    pub(super) fn add(&mut self, protocol: Protocol, port: u16) {
        self.ports.entry(protocol).or_default().extend(PortRange::new(port, port));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ports.is_empty()
    }
}

impl std::fmt::Display for ProtocolPorts {
    /// `tcp 7000-7001,9042`; `tcp and udp 9042` where both are the same.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sets = self.ports.iter().map(|(protocol, ports)| (protocol, ports.iter().copied().collect()));
        match sets.collect::<Vec<(_, PortSet)>>().as_slice() {
            [(one, ports), (other, same)] if ports == same => write!(f, "{one} and {other} {ports}"),
            all => {
                let all: Vec<String> = all.iter().map(|(protocol, ports)| format!("{protocol} {ports}")).collect();
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
        let mut set = ProtocolPorts::default();
        assert!(set.is_empty());
        for port in [7001, 9042, 7000] {
            set.add(Protocol::Tcp, port);
        }
        assert_eq!(set.to_string(), "tcp 7000-7001,9042");
        set.add(Protocol::Udp, 7000);
        set.add(Protocol::Udp, 7001);
        assert_eq!(set.to_string(), "tcp 7000-7001,9042, udp 7000-7001");
        set.add(Protocol::Udp, 9042);
        assert_eq!(set.to_string(), "tcp and udp 7000-7001,9042");
    }
}
