//! The peers of one answer of the network, counted against the limits as they come, and the ways in which such answers write an address. Must not
//! judge an address: the registry does.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use ipnet::IpNet;

use nodewall_policy::config::SourceCount;

/// What an answer names so far.
#[derive(Debug, Default)]
pub(super) struct Peers {
    set: BTreeSet<IpNet>,
    count: SourceCount,
}

impl Peers {
    /// One more; the error is what is wrong and what to do.
    pub(super) fn add(&mut self, net: IpNet) -> Result<(), (String, String)> {
        self.count.add(net).map_err(|error| (error.message, error.help.unwrap_or_default()))?;
        self.set.insert(net);
        Ok(())
    }

    pub(super) fn into_set(self) -> BTreeSet<IpNet> {
        self.set
    }
}

/// The address in `10.0.0.1`, `10.0.0.1:9042`, `fd00::1`, `[fd00::1]`, `[fd00::1]:9042`, and with a port in Java's two ways: `name/10.0.0.1:5701` and
/// `fd00:0:0:0:0:0:0:1:5701`. A short IPv6 address with a port but no brackets looks like a longer address, and is taken for one.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    let text = text.rsplit('/').next().unwrap_or(text).trim();
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    if let Ok(socket) = text.parse::<SocketAddr>() {
        // A scope is a link of whoever answered, not of this host.
        let is_scoped = matches!(socket, SocketAddr::V6(v6) if v6.scope_id() != 0);
        return (!is_scoped).then_some(socket.ip());
    }
    if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inner.parse().ok().map(IpAddr::V6);
    }
    let (before, port) = text.rsplit_once(':')?;
    let eight_groups = !before.contains("::") && before.split(':').count() == 8;
    (eight_groups && port.parse::<u16>().is_ok()).then(|| before.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_others_write_them() {
        for (text, expected) in [
            ("10.0.0.1", Some("10.0.0.1")),
            (" 10.0.0.1 ", Some("10.0.0.1")),
            ("10.0.0.1:9042", Some("10.0.0.1")),
            ("fd00::1", Some("fd00::1")),
            ("[fd00::1]", Some("fd00::1")),
            ("[fd00::1]:9042", Some("fd00::1")),
            ("fd00:0:0:0:0:0:0:1:5701", Some("fd00::1")),
            ("fd00:0:0:0:0:0:0:1", Some("fd00::1")),
            ("node1/10.0.0.1:5701", Some("10.0.0.1")),
            ("/10.0.0.1:5701", Some("10.0.0.1")),
            ("node1", None),
            ("node1:9042", None),
            ("10.0.0.1:", None),
            ("10.0.0.1:70000", None),
            ("10.0.0.0/24", None),
            ("010.0.0.1", None),
            ("[10.0.0.1]", None),
            ("[fe80::1%2]:9042", None),
            ("fe80::1%eth0", None),
            ("https://10.0.0.1:443/", None),
            ("", None),
        ] {
            assert_eq!(address(text), expected.map(|address| address.parse().unwrap()), "{text:?}");
        }
    }

    #[test]
    fn one_more_than_the_limit_is_refused() {
        let mut peers = Peers::default();
        for n in 0..16_384_u32 {
            peers.add(IpNet::from(IpAddr::V4((0x0a00_0000 + n).into()))).unwrap();
        }
        peers.add("10.0.0.0/32".parse().unwrap()).unwrap();
        let (problem, help) = peers.add("10.1.0.0/32".parse().unwrap()).unwrap_err();
        assert!(problem.contains("at most 16384 addresses") && !help.is_empty(), "{problem}; {help}");
    }
}
