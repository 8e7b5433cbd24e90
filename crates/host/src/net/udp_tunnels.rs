//! Which UDP ports this host's kernel takes packets out of: those of tunnel devices, and foo-over-UDP's, which needs no device. Reads only.

use std::{collections::BTreeSet, fmt, io};

use rtnetlink::packet_route::link::{InfoAmt, InfoBareUdp, InfoData, InfoGeneve, InfoVxlan};
use serde::Serialize;

use super::generic::{attributes, dump};

/// `linux/fou.h`
const FOU_GET: u8 = 3;
const FOU_PORT: u16 = 1;
const FOU_TYPE: u16 = 4;
const FOU_TYPE_GUE: u8 = 2;

/// A UDP port whose packets the kernel unpacks, and hands what was in them to its own stack.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct UdpTunnel {
    /// The device that asked for it; `None`: foo-over-UDP, which has none.
    pub device: Option<String>,
    /// The kernel's name for what unpacks it: `vxlan`, `geneve`, `bareudp`, `amt`, `fou`, `gue`.
    pub kind: String,
    /// The port.
    pub port: u16,
}

impl fmt::Display for UdpTunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.device {
            Some(device) => write!(f, "{device} ({})", self.kind),
            None => write!(f, "foo-over-UDP ({})", self.kind),
        }
    }
}

/// The ports in what the kernel says of a device. It says them of devices of every sort, also of such as get their other ends packet by packet
/// (`external`), and whether they are up or not.
pub(super) fn ports_of(data: &InfoData) -> BTreeSet<u16> {
    fn all<T>(list: &[T], port: impl Fn(&T) -> Option<u16>) -> BTreeSet<u16> {
        list.iter().filter_map(port).filter(|port| *port != 0).collect()
    }
    match data {
        InfoData::Vxlan(list) => all(list, |one| if let InfoVxlan::Port(port) = one { Some(*port) } else { None }),
        InfoData::Geneve(list) => all(list, |one| if let InfoGeneve::Port(port) = one { Some(*port) } else { None }),
        InfoData::BareUdp(list) => all(list, |one| if let InfoBareUdp::Port(port) = one { Some(*port) } else { None }),
        InfoData::Amt(list) => all(list, |one| match one {
            InfoAmt::RelayPort(port) | InfoAmt::GatewayPort(port) => Some(*port),
            _ => None,
        }),
        _ => BTreeSet::new(),
    }
}

/// The ports of foo-over-UDP and of generic UDP encapsulation (`ip fou`), for the calling thread's network namespace. Nobody is told when one comes or
/// goes. Needs no privilege, and loads no module: where it is not loaded there are none.
///
/// # Errors
/// When the kernel does not answer.
pub fn fou() -> io::Result<BTreeSet<UdpTunnel>> {
    let mut found = BTreeSet::new();
    dump("fou", FOU_GET, |payload| found.extend(fou_from(payload)))?;
    Ok(found)
}

fn fou_from(payload: &[u8]) -> Option<UdpTunnel> {
    let (mut port, mut kind) = (None, "fou");
    for (attribute, value) in attributes(payload) {
        match attribute {
            FOU_PORT => port = value.try_into().ok().map(u16::from_be_bytes),
            FOU_TYPE if value == [FOU_TYPE_GUE] => kind = "gue",
            _ => {}
        }
    }
    Some(UdpTunnel { device: None, kind: kind.to_owned(), port: port? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::snapshot;
    use nodewall_testbed::{in_own_namespace_async, ip, try_ip};

    /// What Linux 6.1 said after `ip fou add port 5556 ipproto 4`, `… port 5557 gue` and `… port 5558 -6 ipproto 41`.
    const FOU: [&[u8]; 3] = [
        &[
            5, 0, 2, 0, 2, 0, 0, 0, 6, 0, 1, 0, 0x15, 0xb4, 0, 0, 6, 0, 10, 0, 0, 0, 0, 0, 5, 0, 3, 0, 4, 0, 0, 0, 5,
            0, 4, 0, 1, 0, 0, 0, 8, 0, 11, 0, 0, 0, 0, 0, 8, 0, 6, 0, 0, 0, 0, 0, 8, 0, 8, 0, 0, 0, 0, 0,
        ],
        &[
            5, 0, 2, 0, 2, 0, 0, 0, 6, 0, 1, 0, 0x15, 0xb5, 0, 0, 6, 0, 10, 0, 0, 0, 0, 0, 5, 0, 3, 0, 0, 0, 0, 0, 5,
            0, 4, 0, 2, 0, 0, 0, 8, 0, 11, 0, 0, 0, 0, 0, 8, 0, 6, 0, 0, 0, 0, 0, 8, 0, 8, 0, 0, 0, 0, 0,
        ],
        &[
            5, 0, 2, 0, 10, 0, 0, 0, 6, 0, 1, 0, 0x15, 0xb6, 0, 0, 6, 0, 10, 0, 0, 0, 0, 0, 5, 0, 3, 0, 0x29, 0, 0, 0,
            5, 0, 4, 0, 1, 0, 0, 0, 8, 0, 11, 0, 0, 0, 0, 0, 20, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            0, 20, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ],
    ];

    #[test]
    fn the_kernels_words_about_foo_over_udp() {
        let read: Vec<_> = FOU.iter().filter_map(|payload| fou_from(payload)).collect();
        let expected = [("fou", 5556), ("gue", 5557), ("fou", 5558)];
        assert_eq!(read.iter().map(|tunnel| (tunnel.kind.as_str(), tunnel.port)).collect::<Vec<_>>(), expected);
        assert_eq!(read[1].to_string(), "foo-over-UDP (gue)");
        // Cut off anywhere, it is another port at no place.
        for payload in FOU {
            for end in 0..payload.len() {
                let port = fou_from(&payload[..end]).map(|tunnel| tunnel.port);
                assert!(port.is_none_or(|port| expected.iter().any(|(_, known)| *known == port)), "{end}");
            }
        }
        assert_eq!(fou_from(&[]), None);
    }

    #[test]
    fn ports_of_devices() {
        let of = |data: InfoData| ports_of(&data).into_iter().collect::<Vec<_>>();
        assert_eq!(of(InfoData::Vxlan(vec![InfoVxlan::Id(7), InfoVxlan::Port(5555)])), [5555]);
        assert_eq!(of(InfoData::Geneve(vec![InfoGeneve::CollectMetadata, InfoGeneve::Port(6082)])), [6082]);
        assert_eq!(of(InfoData::BareUdp(vec![InfoBareUdp::Port(6635)])), [6635]);
        assert_eq!(of(InfoData::Amt(vec![InfoAmt::GatewayPort(2269), InfoAmt::RelayPort(2268)])), [2268, 2269]);
        // Where it sends from is no port that it opens.
        assert_eq!(of(InfoData::Vxlan(vec![InfoVxlan::PortRange((40_000, 50_000))])), [0_u16; 0]);
    }

    #[test]
    fn this_kernels_devices_say_their_ports() {
        in_own_namespace_async(async || {
            ip("link add va type veth peer name vb");
            assert_eq!(snapshot().await.unwrap().udp_tunnels().count(), 0);
            let mut expected = Vec::new();
            for (name, how, port) in [
                ("t0", "type vxlan id 7 dstport 5555", 5555),
                ("t1", "type vxlan external dstport 5556", 5556),
                ("t2", "type geneve id 7 remote 192.0.2.1 dstport 5557", 5557),
                ("t3", "type geneve external dstport 5558", 5558),
                ("t4", "type bareudp dstport 5559 ethertype ip", 5559),
            ] {
                // Down, as it was made. A kernel that has none of a kind says so.
                if try_ip(&format!("link add {name} {how}")) {
                    expected.push((name.to_owned(), port));
                }
            }
            let network = snapshot().await.unwrap();
            let found: Vec<_> = network.udp_tunnels().map(|tunnel| (tunnel.device.unwrap(), tunnel.port)).collect();
            assert_eq!(found, expected);
            assert_eq!(network.udp_tunnels_unread(), None);
        });
    }
}
