//! The ground: a node that is as willing as Linux gets, its tunnels, sockets on every port, an outsider's wire, and the filter on and off. It must not know
//! what is sent.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
};

use super::ask::{NODE, NODE_MAC, NODE_SECOND, NODE6, NODE6_SECOND, OUTSIDER, OUTSIDER_MAC, OUTSIDER6};
use crate::guest;
use node_ebpf_common::{Shape, counter::Counter};
use nodewall_datapath::{self as datapath, Buffers, DatapathError, Layer, Loaded, Maps, Mode, PinDir, Target};
use nodewall_policy::{
    Compiled, Facts, Policy, RowTable, compile,
    config::{Access, Config},
};
use nodewall_testbed::{
    Catcher, Host, Lab, NetNs, RawSender,
    cleanup::{self, Guard},
};

/// Ports that everybody may reach: one that the policy makes public, one that it does not name.
pub(crate) const OPEN_PORTS: [u16; 2] = [443, 12_345];
/// The MAC address of tunnel devices that have one.
pub(crate) const INNER_MAC: [u8; 6] = [2, 0, 0, 0x77, 1, 1];
const CONFIG: &str = "mode = \"enforce\"\n[peers]\nstatic = [\"10.77.213.166\", \"fd77::c3a5:9966\", \"192.0.2.99\"]\n";
const INTERFACE: &str = "eth0";
const PINS_BELOW: &str = "/sys/fs/bpf";
/// Multi-buffer XDP.
pub(crate) const FRAGS: (u32, u32) = (5, 18);

/// What makes a kernel take more than it would by itself: per interface, and per namespace.
const WILLING_V4: [(&str, &str); 6] = [
    ("rp_filter", "0"),
    ("accept_local", "1"),
    ("route_localnet", "1"),
    ("accept_source_route", "1"),
    ("accept_redirects", "0"),
    ("drop_unicast_in_l2_multicast", "0"),
];
const WILLING_V6: [(&str, &str); 6] = [
    ("accept_source_route", "1"),
    ("seg6_enabled", "1"),
    ("rpl_seg_enabled", "1"),
    ("accept_dad", "0"),
    ("accept_redirects", "0"),
    ("accept_ra", "0"),
];
const WILLING: [(&str, &str); 8] = [
    // Halves of datagrams are plenty here: mutations, and what follows a first fragment that was dropped.
    ("ipv4.ipfrag_high_thresh", "1073741824"),
    ("ipv4.ipfrag_max_dist", "0"),
    ("ipv6.ip6frag_high_thresh", "1073741824"),
    ("ipv6.max_dst_opts_number", "100000"),
    ("ipv6.max_hbh_opts_number", "100000"),
    ("ipv4.icmp_ratemask", "0"),
    ("ipv4.tcp_syncookies", "0"),
    ("ipv4.tcp_max_syn_backlog", "65536"),
];

/// Tunnel devices: what they are called here, and how `ip link add` makes them.
const DEVICES: [(&str, &str); 11] = [
    ("vlan", "link eth0 name w0 type vlan id 7"),
    ("vxlan", "w1 address 02:00:00:77:01:01 type vxlan id 5 dstport 4789 local 10.77.0.1"),
    ("vxlan-8472", "w2 address 02:00:00:77:01:01 type vxlan id 5 dstport 8472 local 10.77.0.1"),
    ("vxlan-5555", "wa address 02:00:00:77:01:01 type vxlan id 5 dstport 5555 local 10.77.0.1"),
    ("geneve", "w3 address 02:00:00:77:01:01 type geneve id 5 remote 10.77.0.11"),
    ("ipip", "w4 type ipip local 10.77.0.1"),
    ("sit", "w5 type sit local 10.77.0.1"),
    ("gre", "w6 type gre local 10.77.0.1"),
    ("gretap", "w7 address 02:00:00:77:01:01 type gretap local 10.77.0.1 remote 10.77.0.11"),
    ("ip6tnl", "w8 type ip6tnl mode any local fd77::1 remote fd77::11"),
    ("ip6gre", "w9 type ip6gre local fd77::1 remote fd77::11"),
];

/// Of their ports those that no table of usual ones has: the policy is told of them.
const OWN_TUNNEL_PORT: u16 = 5555;

/// A tunnel device of the node's.
pub(crate) struct Device {
    pub(crate) kind: &'static str,
    /// Why this kernel has none.
    pub(crate) missing: Option<String>,
}

/// The ground that frames are sent on.
pub(crate) struct Rig {
    pub(crate) catcher: Catcher,
    pub(crate) wire: RawSender,
    pub(crate) bridge: RawSender,
    pub(crate) devices: Vec<Device>,
    pub(crate) compiled: Compiled,
    /// Ports for peers, or for nobody.
    pub(crate) closed_ports: Vec<u16>,
    pub(crate) mtu: usize,
    lab: Lab,
}

impl Rig {
    pub(crate) fn new(mtu: usize) -> Self {
        let lab = Lab::builder().direct_pair().mtu(mtu as u32).build().unwrap();
        assert_eq!((lab.node().ipv4(), lab.node().ipv6(), lab.node().mac()), (NODE, NODE6, NODE_MAC));
        let outsider = lab.peer1().unwrap();
        assert_eq!(outsider.mac(), OUTSIDER_MAC);
        let netns = lab.node().netns();
        make_willing(netns);
        netns.ip_batch("addr add 10.77.0.2/24 dev eth0\naddr add fd77::2/64 dev eth0 nodad\n").unwrap();
        let devices = DEVICES.iter().map(|(kind, how)| make_device(netns, kind, how)).collect();
        let bridge = make_bridge(outsider, mtu);
        make_quiet(netns, outsider.netns());
        let wire = outsider.netns().raw_sender(INTERFACE).unwrap();
        let policy = Policy::from_config(&Config::parse(CONFIG, "oracle.toml").unwrap()).unwrap();
        let own_addresses: Vec<IpAddr> = vec![NODE.into(), NODE6.into(), NODE_SECOND.into(), NODE6_SECOND.into()];
        let tunnel_ports = [OWN_TUNNEL_PORT].into();
        let facts = Facts { generation: 1, own_addresses, tunnel_ports, ..Facts::default() };
        let compiled = compile(&policy, RowTable::default(), &facts).unwrap();
        let closed_ports = closed_ports(&policy);
        let ports: Vec<u16> = closed_ports.iter().chain(&OPEN_PORTS).copied().collect();
        let catcher = Catcher::open(netns, &ports).unwrap();
        Self { catcher, wire, bridge, devices, compiled, closed_ports, mtu, lab }
    }

    /// SYNs that reached a listener, each as the listener's port and the sender's.
    pub(crate) fn half_open(&self) -> Vec<(u16, u16)> {
        self.lab.node().netns().half_open().unwrap()
    }

    /// On both ends of the wire.
    pub(crate) fn set_vlan_offload(&self, on: bool) {
        for host in [self.lab.node(), self.lab.peer1().unwrap()] {
            host.netns().set_vlan_offload(INTERFACE, on).unwrap();
        }
    }

    /// Puts the filter on the node's interface; `None` where the kernel has no such program.
    pub(crate) fn filter(&self, mode: Mode, buffers: Buffers) -> Option<Filter> {
        let root = pin_root();
        let remove = root.clone();
        let guard = cleanup::guard(move || remove_pins(&remove));
        let if_index = 100 + u32::from(NODE.octets()[3]);
        let compiled = &self.compiled;
        let attached = self.lab.node().netns().run(|| {
            let pins = PinDir::create(&root)?;
            let mut loaded = Loaded::new(Some(&pins), Shape::PLAIN)?;
            loaded.load_for(buffers)?;
            loaded.maps.write_rows(&[], compiled.rows.records())?;
            loaded.maps.swap(&compiled.image)?;
            let target = Target { name: INTERFACE.into(), if_index, layer: Layer::Ethernet };
            datapath::attach(&mut loaded, &pins, &target, mode).map(drop)
        });
        match attached.unwrap() {
            Ok(()) => Some(Filter { root, _guard: guard }),
            Err(DatapathError::Load { .. }) if buffers == Buffers::Frags && guest::version() < FRAGS => None,
            Err(error) => panic!("{mode:?}, {buffers:?}: {error:?}"),
        }
    }
}

fn closed_ports(policy: &Policy) -> Vec<u16> {
    let mut ports: Vec<u16> = policy
        .classes
        .iter()
        .filter(|class| class.access != Access::Public)
        .flat_map(|class| &class.ports)
        .flat_map(|entry| (0..=u16::MAX).filter(|port| entry.ports.contains(*port)))
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

fn make_willing(netns: &NetNs) {
    // Settings that a kernel does not have make it no less willing.
    let set = |key: String, value: &str| drop(netns.sysctl(&[(key.as_str(), value)]));
    for interface in ["all", "default", INTERFACE] {
        for (key, value) in WILLING_V4 {
            set(format!("ipv4.conf.{interface}.{key}"), value);
        }
        for (key, value) in WILLING_V6 {
            set(format!("ipv6.conf.{interface}.{key}"), value);
        }
    }
    for (key, value) in WILLING {
        set(key.to_owned(), value);
    }
}

fn make_device(netns: &NetNs, kind: &'static str, how: &str) -> Device {
    let words: Vec<&str> = ["link", "add"].into_iter().chain(how.split_whitespace()).collect();
    let missing = match netns.ip(&words) {
        Ok(_) => None,
        Err(error) => {
            let text = error.to_string();
            let unknown = ["Unknown device type", "Operation not supported", "Not supported"];
            assert!(unknown.iter().any(|words| text.contains(words)), "{kind}: {text}");
            Some(format!("this kernel has no device of type {}", kind.split('-').next().unwrap_or(kind)))
        }
    };
    if missing.is_none() {
        let name = words.iter().find(|word| word.len() == 2 && word.starts_with('w')).unwrap();
        netns.ip(&["link", "set", name, "up"]).unwrap();
    }
    Device { kind, missing }
}

/// Nothing ends a half-open connection: the outsider answers nothing, and the node needs not ask who has the outsider's addresses. (An
/// unanswered question would end it after 3 s, which a slow machine's phase is longer than.)
fn make_quiet(node: &NetNs, outsider: &NetNs) {
    outsider.ip(&["addr", "flush", "dev", INTERFACE]).unwrap();
    let mac = OUTSIDER_MAC.map(|byte| format!("{byte:02x}")).join(":");
    for address in [IpAddr::from(OUTSIDER), OUTSIDER6.into()] {
        let address = address.to_string();
        node.ip(&["neigh", "replace", &address, "lladdr", &mac, "dev", INTERFACE, "nud", "permanent"]).unwrap();
    }
}

/// A bridge at the outsider's end of the wire; frames sent into it go where the wire goes.
fn make_bridge(outsider: &Host, mtu: usize) -> RawSender {
    let netns = outsider.netns();
    netns
        .ip_batch(&format!(
            "link add send0 index 210 mtu {mtu} type veth peer name port0 mtu {mtu} index 211\n\
             link add br0 index 212 mtu {mtu} type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n\
             link set dev eth0 master br0\nlink set dev port0 master br0\n\
             link set dev send0 up\nlink set dev port0 up\nlink set dev br0 up\n"
        ))
        .unwrap();
    netns.raw_sender("send0").unwrap()
}

fn pin_root() -> PathBuf {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    Path::new(PINS_BELOW).join(format!("nwt-{}-oracle{}", process::id(), COUNTER.fetch_add(1, Ordering::Relaxed)))
}

fn remove_pins(root: &Path) {
    if let Ok(Some(pins)) = PinDir::open(root) {
        let _ = pins.remove();
    }
    let _ = fs::remove_dir_all(root);
}

pub(crate) fn kernel_release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap().trim().to_owned()
}

/// The filter, as long as this lives.
pub(crate) struct Filter {
    root: PathBuf,
    _guard: Guard,
}

impl Filter {
    /// All that it has counted.
    pub(crate) fn counted(&self) -> Counter {
        let (_, maps) = Maps::live(&self.root).unwrap().unwrap();
        let cells = maps.cells(&maps.rows().unwrap()).unwrap();
        cells.iter().fold(Counter::default(), |sum, cell| Counter {
            packets: sum.packets + cell.counter.packets,
            bytes: sum.bytes + cell.counter.bytes,
        })
    }
}
