//! Sets of ports as the kernel's settings and iptables write them.

use nodewall_policy::config::{PortRange, PortSet};

/// `7000`, `7000-7001,7199` or `7000:7001,7199`; port 0, which no packet has, is left out. `None`: it is something else.
pub(super) fn parse_ports(text: &str) -> Option<PortSet> {
    let number = |text: &str| text.trim().parse::<u16>().ok();
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let ranges = entries.map(|entry| {
        let (first, last) = entry.split_once(['-', ':']).unwrap_or((entry, entry));
        number(first).zip(number(last))
    });
    let ranges = ranges.collect::<Option<Vec<_>>>()?;
    Some(ranges.into_iter().filter_map(|(first, last)| PortRange::new(first.max(1), last)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_kernel_and_as_iptables_write_them() {
        let read = |text| parse_ports(text).map(|ports| ports.to_string());
        for (text, ports) in [
            ("9042", "9042"),
            ("8080,7002-7004,9042", "7002-7004,8080,9042"),
            ("5701:5711,7000", "5701-5711,7000"),
            ("0:1023", "1-1023"),
            ("0", ""),
            ("\n", ""),
        ] {
            assert_eq!(read(text).as_deref(), Some(ports), "{text:?}");
        }
        for text in ["70000", "a-b", "80-x", "1-2-3"] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }
}
