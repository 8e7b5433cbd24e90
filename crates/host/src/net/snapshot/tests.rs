//! Tests of `snapshot`; its own words say what it owns.
use nodewall_testbed::{in_own_namespace_async, ip, try_ip};

use super::*;

#[test]
fn lists_only_the_calling_threads_namespace() {
    in_own_namespace_async(async || {
        let network = snapshot().await.unwrap();
        // A new namespace has nothing but lo, and the tunnels that loaded modules bring along (sit0, tunl0, …).
        assert!(network.links().all(|link| link.loopback || !link.ethernet() || !link.kind.is_empty()));
        let lo = network.by_name("lo").unwrap();
        assert!(lo.loopback && !lo.ethernet() && !lo.up && !lo.addressed());
        assert_eq!((lo.arphrd, lo.mtu, lo.kind.as_str()), (772, 65536, ""));

        ip("link set lo up");
        let lo = snapshot().await.unwrap().by_name("lo").unwrap().clone();
        assert!(lo.up);
        assert_eq!(lo.addresses, ["127.0.0.1/8".parse().unwrap(), "::1/128".parse().unwrap()]);
    });
}

#[test]
fn bridge_ports_veths_and_addresses() {
    in_own_namespace_async(async || {
        ip("link add br0 type bridge");
        ip("link add va type veth peer name vb");
        ip("link set va master br0");
        ip("link set vb mtu 1400 up");
        ip("link property add dev vb altname uplink-of-the-node");
        ip("address add 192.0.2.1/24 dev br0");
        ip("address add 198.51.100.1 peer 198.51.100.2/32 dev vb");
        ip("-6 address add 2001:db8::1/64 dev vb nodad");
        let network = snapshot().await.unwrap();
        let (bridge, port, end) =
            (network.by_name("br0").unwrap(), network.by_name("va").unwrap(), network.by_name("vb").unwrap());

        assert_eq!(bridge.kind, "bridge");
        assert_eq!(bridge.addresses, ["192.0.2.1/24".parse().unwrap()]);
        assert_eq!(port.master, Some(bridge.index));
        assert_eq!(port.master_kind.as_deref(), Some("bridge"));
        assert_eq!(network.ports_of(bridge.index).map(|port| port.name.as_str()).collect::<Vec<_>>(), ["va"]);

        assert!(end.kind == "veth" && !end.container_veth);
        assert_eq!((end.parent, end.master, end.mtu, end.up, end.ethernet()), (None, None, 1400, true, true));
        // Of a point-to-point address the near end is ours.
        assert!(end.addresses.contains(&"198.51.100.1/32".parse().unwrap()), "{:?}", end.addresses);
        assert!(end.addresses.contains(&"2001:db8::1/64".parse().unwrap()), "{:?}", end.addresses);
        assert_eq!(network.by_name("uplink-of-the-node"), Some(end));
        assert_eq!(network.by_index(end.index), Some(end));
    });
}

#[test]
fn a_veth_with_its_peer_elsewhere() {
    in_own_namespace_async(async || {
        // The other namespace is that of a process of our own, which ends when its input is closed.
        let mut other = std::process::Command::new("unshare")
            .args(["-n", "sh", "-c", "echo ready; read _"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(other.stdout.as_mut().unwrap()), &mut ready).unwrap();
        // So that the peer's index over there (2) is another link's index here.
        ip("link add other type bridge");
        ip(&format!("link add here type veth peer name there netns {}", other.id()));
        let network = snapshot().await.unwrap();
        drop(other.stdin.take());
        other.wait().unwrap();

        assert!(network.by_name("there").is_none());
        let here = network.by_name("here").unwrap();
        assert!(here.kind == "veth" && here.container_veth);
        assert_eq!(here.parent, None);
    });
}

#[test]
fn devices_that_this_kernel_may_have() {
    in_own_namespace_async(async || {
        ip("tuntap add tun0 mode tun");
        ip("tuntap add tap0 mode tap");
        let bond = try_ip("link add bond0 type bond");
        let dummy = try_ip("link add dummy0 type dummy");
        let slave = bond && dummy && try_ip("link set dummy0 master bond0");
        let vlan = try_ip("link add link tap0 name tap0.5 type vlan id 5");
        let macvlan = try_ip("link add link tap0 name mac0 type macvlan");
        let network = snapshot().await.unwrap();
        let link = |name: &str| network.by_name(name).unwrap_or_else(|| panic!("{name} is missing"));

        assert_eq!((link("tun0").kind.as_str(), link("tun0").ethernet()), ("tun", false));
        assert_eq!((link("tap0").kind.as_str(), link("tap0").ethernet()), ("tun", true));
        if bond {
            assert_eq!(link("bond0").kind, "bond");
        }
        if dummy {
            assert_eq!(link("dummy0").kind, "dummy");
        }
        if slave {
            assert_eq!(network.bond_of(link("dummy0")), Some(link("bond0")));
        }
        if vlan {
            assert_eq!((link("tap0.5").kind.as_str(), link("tap0.5").parent), ("vlan", Some(link("tap0").index)));
        }
        if macvlan {
            assert_eq!(network.carrier_of(link("mac0")), Some(link("tap0")));
        }
    });
}

#[test]
fn xdp_attributes() {
    use link::XdpAttached as Kernel;
    let native = [LinkXdp::Attached(Kernel::Driver), LinkXdp::ProgId(7), LinkXdp::DrvProgId(7)];
    assert_eq!(xdp_from(&native), Some(XdpAttached { program_id: 7, mode: AttachMode::Native }));
    let both = [LinkXdp::Attached(Kernel::Multiple), LinkXdp::SkbProgId(9), LinkXdp::DrvProgId(8)];
    assert_eq!(xdp_from(&both), Some(XdpAttached { program_id: 8, mode: AttachMode::Native }));
    assert_eq!(xdp_from(&[LinkXdp::Attached(Kernel::None)]), None);
    assert_eq!(xdp_from(&[]), None);
}

#[test]
fn many_links_are_listed_whole_while_others_come_and_go() {
    in_own_namespace_async(async || {
        for number in 0..150 {
            ip(&format!("link add b{number} type bridge"));
            ip(&format!("address add 10.{number}.0.1/24 dev b{number}"));
        }
        let mut churn = std::process::Command::new("sh")
            .args(["-c", "for turn in $(seq 400); do ip link add churn type bridge; ip address add 192.0.2.1/24 dev churn; ip link del churn; done"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let mut whole = 0;
        for _ in 0..20 {
            match snapshot().await {
                Ok(network) => {
                    let listed = network.links().filter(|link| link.name.starts_with('b') && link.addressed()).count();
                    assert_eq!(listed, 150);
                    whole += 1;
                }
                Err(NetError::Unsettled { .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
        churn.kill().unwrap();
        churn.wait().unwrap();
        assert!(whole > 0, "not one list was consistent");
    });
}

#[test]
fn addresses_that_stand_behind_another_are_told() {
    in_own_namespace_async(async || {
        ip("link add va type veth peer name vb");
        for address in ["192.0.2.1/24", "192.0.2.5/24", "198.51.100.1/24"] {
            ip(&format!("address add {address} dev va"));
        }
        let link = snapshot().await.unwrap().by_name("va").unwrap().clone();
        assert_eq!(link.addresses.len(), 3);
        assert_eq!(link.secondary, ["192.0.2.5/24".parse().unwrap()]);
    });
}

/// The kernel takes any bytes in a name. Such a link, and the address that has the name for a label, must not take the others out of the list.
#[test]
fn a_name_that_is_no_text_hides_nothing() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, process::Command};
    in_own_namespace_async(async || {
        let named = |words: &[&str], name: &[u8], rest: &[&str]| {
            let mut command = Command::new("ip");
            command.args(words).arg(OsStr::from_bytes(name)).args(rest);
            assert!(command.status().unwrap().success(), "{command:?}");
        };
        for name in [&b"b\x80z"[..], b"b\x81z"] {
            named(&["link", "add", "name"], name, &["type", "bridge"]);
        }
        named(&["link", "set", "dev"], b"b\x81z", &["alias", "x"]);
        named(&["link", "property", "add", "dev"], b"b\x81z", &["altname", "other"]);
        named(&["address", "add", "192.0.2.1/24", "dev"], b"b\x80z", &[]);
        ip("link add v0 type bridge");
        let network = snapshot().await.unwrap();
        let found: Vec<&Link> = network.links().filter(|link| link.kind == "bridge").collect();
        let names: Vec<&str> = found.iter().map(|link| link.name.as_str()).collect();
        // Told apart, although what can be shown of them is the same.
        let expected = [0, 1].map(|n| format!("b\u{fffd}z#{}", found[n].index));
        assert_eq!(names, [&expected[0], &expected[1], "v0"]);
        assert_eq!(found[0].addresses, ["192.0.2.1/24".parse().unwrap()]);
        assert_eq!(network.by_name("other"), Some(found[1]));
    });
}
