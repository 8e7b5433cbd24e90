//! What drives each interface, and what that driver can do for XDP: its name, offloads and queues (ethtool), and the XDP
//! features that it announces (netlink family `netdev`, Linux 6.3). Asks only; attaches and sets nothing.

mod announced;
mod driver;
mod ethtool;

use std::collections::BTreeMap;

use super::links::{Link, Network};

pub use driver::{Driver, Queues, XdpFeatures};

/// The drivers of all interfaces of `network`, which must be of the calling thread's network namespace, by index. Needs no privilege.
pub fn drivers(network: &Network) -> BTreeMap<u32, Driver> {
    // Kernels before 6.3 announce nothing.
    let announced = announced::xdp_features().unwrap_or_default();
    let ethtool = ethtool::EthtoolSocket::new().ok();
    let driver = |link: &Link| {
        let mut driver = ethtool.as_ref().map(|socket| socket.driver(&link.name)).unwrap_or_default();
        driver.xdp = announced.get(&link.index).copied();
        (link.index, driver)
    };
    network.links().map(driver).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::snapshot;
    use nodewall_testbed::{in_own_namespace_async, ip, try_ip};

    #[test]
    fn a_veth_announces_xdp_and_a_bridge_does_not() {
        in_own_namespace_async(async || {
            ip("link add va type veth peer name vb");
            ip("link add br0 type bridge");
            // One queue more than one receives by: the other end could send by more than it has.
            let queues =
                try_ip("link add vc numrxqueues 3 numtxqueues 2 type veth peer name vd numrxqueues 2 numtxqueues 3");
            let network = snapshot().await.unwrap();
            let drivers = drivers(&network);
            let of = |name: &str| &drivers[&network.by_name(name).unwrap().index];
            assert_eq!(of("va").name.as_deref(), Some("veth"));
            assert_eq!(of("br0").name.as_deref(), Some("bridge"));
            assert!(of("va").gro.is_some() && of("va").lro == Some(false), "{:?}", of("va"));
            if queues {
                assert_eq!(of("vc").queues.unwrap().receive(), 3);
            }
            assert_eq!(of("lo").name, None, "lo has no driver that ethtool knows");
            match announced::xdp_features() {
                Ok(_) => {
                    assert!(of("va").xdp.unwrap().native(), "{:?}", of("va"));
                    assert!(!of("br0").xdp.unwrap().native(), "{:?}", of("br0"));
                }
                // Linux before 6.3.
                Err(why) => assert!(why.to_string().contains("netdev"), "{why}"),
            }
        });
    }

    #[test]
    fn offloads_are_asked_and_not_assumed() {
        in_own_namespace_async(async || {
            ip("link add va type veth peer name vb");
            let network = snapshot().await.unwrap();
            let index = network.by_name("va").unwrap().index;
            let gro = || drivers(&network)[&index].gro.unwrap();
            for (word, expected) in [("on", true), ("off", false), ("on", true)] {
                let set = std::process::Command::new("ethtool").args(["-K", "va", "gro", word]).output();
                assert!(set.as_ref().unwrap().status.success(), "{set:?}");
                assert_eq!(gro(), expected);
            }
        });
    }
}
