//! Do the ports that this host gives its own connections overlap the policy's? A reply to such a connection looks like a
//! knock on the policy's port and would be dropped. Reads /proc/sys; sets nothing, but says which line to run.

use std::path::Path;

use super::{error::NetError, ports::parse_ports};
use nodewall_policy::config::{PortRange, PortSet};

const IPV4_SYSCTLS: &str = "/proc/sys/net/ipv4";

/// The ports that the kernel hands out to connections by itself, for IPv4 and IPv6 alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalPorts {
    /// `net.ipv4.ip_local_port_range`.
    pub range: PortRange,
    /// `net.ipv4.ip_local_reserved_ports`: never handed out.
    pub reserved: PortSet,
}

/// Ports of the policy that the kernel may hand out to this host's own connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlap {
    /// `net.ipv4.ip_local_port_range`.
    pub range: PortRange,
    /// The ports in both, without those already reserved.
    pub ports: PortSet,
    /// The command that reserves them, keeping what is reserved already.
    pub sysctl: String,
}

impl std::fmt::Display for Overlap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "ip_local_port_range {} overlaps ports of the policy ({}): replies to this host's own connections from \
             those ports would be dropped; run: {}",
            self.range, self.ports, self.sysctl
        )
    }
}

impl LocalPorts {
    /// Reads both settings for the calling thread's network namespace.
    ///
    /// # Errors
    /// When a file can not be read, or does not hold ports.
    pub fn read() -> Result<Self, NetError> {
        Self::read_from(Path::new(IPV4_SYSCTLS))
    }

    fn read_from(directory: &Path) -> Result<Self, NetError> {
        Ok(Self {
            range: read(directory, "ip_local_port_range", "two ports", parse_local_range)?,
            reserved: read(directory, "ip_local_reserved_ports", "a list of ports and ranges of ports", parse_ports)?,
        })
    }

    /// The ports of a policy that the kernel may hand out; `None` when there is none.
    pub fn overlap(&self, policy: &PortSet) -> Option<Overlap> {
        let ports = policy.intersection(&self.range.into()).difference(&self.reserved);
        if ports.is_empty() {
            return None;
        }
        let sysctl = format!("sysctl -w net.ipv4.ip_local_reserved_ports={}", self.reserved.union(&ports));
        Some(Overlap { range: self.range, ports, sysctl })
    }
}

fn read<T>(
    directory: &Path,
    name: &str,
    expected: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, NetError> {
    let path = directory.join(name);
    match std::fs::read_to_string(&path) {
        Ok(found) => parse(&found).ok_or(NetError::Parse { path, expected, found }),
        Err(source) => Err(NetError::Read { path, source }),
    }
}

fn parse_local_range(text: &str) -> Option<PortRange> {
    let mut words = text.split_whitespace();
    let range = PortRange::new(words.next()?.parse().ok()?, words.next()?.parse().ok()?)?;
    words.next().is_none().then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> PortSet {
        parse_ports("9042,7000-7001,7199,5701-5711,443,8018-8022").unwrap()
    }

    fn ports(range: &str, reserved: &str) -> LocalPorts {
        LocalPorts { range: parse_local_range(range).unwrap(), reserved: parse_ports(reserved).unwrap() }
    }

    #[test]
    fn what_overlaps_is_named_with_the_line_that_reserves_it_beside_what_is_reserved() {
        let all = "5701-5711,7000-7001,7199,8018-8022,9042";
        for (range, reserved, expected) in [
            // The usual one.
            ("32768\t60999\n", "\n", None),
            ("1024 65535", "", Some((all, all))),
            // Both ends count.
            ("7001 7199", "", Some(("7001,7199", "7001,7199"))),
            ("7002 7198", "", None),
            (
                "1024 65535",
                "8080,7002-7004,9042,30000",
                Some(("5701-5711,7000-7001,7199,8018-8022", "5701-5711,7000-7004,7199,8018-8022,8080,9042,30000")),
            ),
            ("1024 65535", "1024-65535", None),
        ] {
            let overlap = ports(range, reserved).overlap(&policy());
            let line = |reserved| format!("sysctl -w net.ipv4.ip_local_reserved_ports={reserved}");
            assert_eq!(
                overlap.as_ref().map(|overlap| (overlap.ports.to_string(), overlap.sysctl.clone())),
                expected.map(|(ports, reserved): (&str, &str)| (ports.to_owned(), line(reserved))),
            );
            if let Some(overlap) = overlap {
                assert_eq!(overlap.range, parse_local_range(range).unwrap());
                assert!(overlap.to_string().contains(&overlap.sysctl));
            }
        }
    }

    #[test]
    fn the_printed_line_is_what_it_takes() {
        let before = ports("1024 65535", "8080");
        let line = before.overlap(&policy()).unwrap().sysctl;
        let after = ports("1024 65535", line.split_once('=').unwrap().1);
        assert_eq!(after.overlap(&policy()), None);
    }

    #[test]
    fn nonsense_is_named() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ip_local_port_range"), "1024 65535\n").unwrap();
        let missing = LocalPorts::read_from(directory.path()).unwrap_err().to_string();
        assert!(missing.contains("ip_local_reserved_ports"), "{missing}");
        std::fs::write(directory.path().join("ip_local_reserved_ports"), "80-x\n").unwrap();
        let nonsense = LocalPorts::read_from(directory.path()).unwrap_err().to_string();
        assert!(nonsense.contains("ip_local_reserved_ports") && nonsense.contains("80-x"), "{nonsense}");
    }

    #[test]
    fn this_machine_has_a_range() {
        LocalPorts::read().unwrap();
    }
}
