//! The host's links as plain values. Knows nothing of netlink (that is `snapshot`) or of which links to attach to (`select`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::udp_tunnels::UdpTunnel;
use nodewall_policy::config::AttachMode;

/// `ARPHRD_ETHER` of `linux/if_arp.h`: frames begin with an Ethernet header.
const ARPHRD_ETHER: u16 = 1;

/// `ARPHRD_PPP`, `_RAWIP`, `_TUNNEL` (IPIP), `_TUNNEL6`, `_SIT`, `_IPGRE`, `_IP6GRE`, `_NONE` (tun, `WireGuard`).
const ARPHRD_LAYER_3: [u16; 8] = [512, 519, 768, 769, 776, 778, 823, 0xfffe];

/// A parent of a parent of a parent…: more steps than any sane stack has, and an end to any loop.
pub(super) const MAX_STACK_DEPTH: usize = 16;

/// An XDP program that is attached to a link, whoever attached it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct XdpAttached {
    /// The program's id; the driver's where there are several, else the first that the kernel names.
    pub program_id: u32,
    /// Where it runs. A program on the card itself is native, too.
    pub mode: AttachMode,
}

/// One network interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// The interface's index in its namespace.
    pub index: u32,
    /// The interface's name.
    pub name: String,
    /// Further names the interface goes by (`ip link property add altname`).
    pub alt_names: Vec<String>,
    /// Administratively up (`IFF_UP`); says nothing about the cable.
    pub up: bool,
    /// Loopback (`IFF_LOOPBACK`).
    pub loopback: bool,
    /// The hardware type, `ARPHRD_*`.
    pub arphrd: u16,
    /// What the link is, by the kernel's name (`IFLA_INFO_KIND`): `bridge`, `veth`, `vlan`, `bond`, `wireguard`, …; empty: a network card, a virtual machine's
    /// card, or loopback.
    pub kind: String,
    /// A veth whose other end is in another network namespace: on a host this is how containers are wired.
    pub container_veth: bool,
    /// The index of the bridge, bond, team or VRF that this link belongs to.
    pub master: Option<u32>,
    /// The kernel's name for the kind of master (`IFLA_INFO_SLAVE_KIND`): `bond`, `bridge`, `team`, `vrf`.
    pub master_kind: Option<String>,
    /// The index of the link underneath (`IFLA_LINK`), when that is in this namespace. A veth's peer is not a parent.
    pub parent: Option<u32>,
    /// The largest packet without the link's own header, in bytes.
    pub mtu: u32,
    /// The XDP program on this link.
    pub xdp: Option<XdpAttached>,
    /// The IPv4 and IPv6 addresses, each with its prefix length (host bits kept).
    pub addresses: Vec<IpNet>,
    /// Those of [`Self::addresses`] that duplicate address detection (RFC 4862) has not confirmed, or has found to be another host's.
    pub unconfirmed: Vec<IpNet>,
    /// Those of [`Self::addresses`] that stand behind another one of their network: the kernel chooses them only where a route names them. Of IPv6, the
    /// temporary ones (RFC 8981), which it prefers and which change every day.
    pub secondary: Vec<IpNet>,
    /// The UDP ports whose packets this device takes packets out of.
    pub udp_ports: BTreeSet<u16>,
}

impl Link {
    /// Frames on this link begin with an Ethernet header (`ARPHRD_ETHER`).
    pub fn ethernet(&self) -> bool {
        self.arphrd == ARPHRD_ETHER
    }

    /// What arrives on this link begins with its IP header: tun, `WireGuard`, PPP, the kernel's IP tunnels, modems.
    pub fn layer_3(&self) -> bool {
        !self.loopback && ARPHRD_LAYER_3.contains(&self.arphrd)
    }

    /// The addresses that are this host's beyond doubt.
    pub fn own_addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.addresses.iter().filter(|net| !self.unconfirmed.contains(net)).map(IpNet::addr)
    }

    /// The address that the kernel's masquerading gives to what leaves by this link (`inet_select_addr`, and for IPv6 the usual choice of a source,
    /// RFC 6724). `next_hop`: the gateway, or the destination itself.
    pub fn masquerades_as(&self, next_hop: IpAddr, destination: IpAddr) -> Option<IpAddr> {
        let global = |net: &&IpNet| {
            let local = match net.addr() {
                IpAddr::V4(address) => address.is_link_local(),
                IpAddr::V6(address) => address.is_unicast_link_local(),
            };
            net.addr().is_ipv4() == destination.is_ipv4() && !local && !self.secondary.contains(net)
        };
        let mut candidates = self.addresses.iter().filter(global);
        match destination {
            IpAddr::V4(_) => {
                let first = candidates.clone().next();
                candidates.find(|net| net.contains(&next_hop)).or(first).map(IpNet::addr)
            }
            IpAddr::V6(to) => {
                let shared = |net: &IpNet| match net.addr() {
                    IpAddr::V6(from) => (from.to_bits() ^ to.to_bits()).leading_zeros(),
                    IpAddr::V4(_) => 0,
                };
                // Of several that are as near, the first.
                candidates.rev().max_by_key(|net| shared(net)).map(IpNet::addr)
            }
        }
    }

    /// The link has at least one address. A link-local one counts: what listens on `[::]` answers there, too.
    pub fn addressed(&self) -> bool {
        !self.addresses.is_empty()
    }

    /// What arrives here has crossed [`Link::parent`] before: VLANs, macvlans, ipvlans and their taps.
    pub fn rides_on_parent(&self) -> bool {
        matches!(self.kind.as_str(), "vlan" | "macvlan" | "macvtap" | "ipvlan" | "ipvtap")
    }

    /// No frame ever arrives from outside: dummies, VRF masters, and the devices that only watch or shape traffic.
    pub fn without_wire(&self) -> bool {
        matches!(self.kind.as_str(), "dummy" | "vrf" | "ifb" | "nlmon")
    }

    /// What arrives here was taken out of packets that the filter judges as tunnels where they enter the host.
    pub fn carries_tunnel(&self) -> bool {
        matches!(self.kind.as_str(), "vxlan" | "geneve" | "gretap" | "ip6gretap" | "erspan" | "ip6erspan")
    }
}

/// All links of one network namespace, as they were at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    links: BTreeMap<u32, Link>,
    /// What no device stands for: foo-over-UDP.
    fou: BTreeSet<UdpTunnel>,
    fou_unread: Option<String>,
}

impl Network {
    /// A network of the given links; of two with the same index the later one stays.
    pub fn new(links: impl IntoIterator<Item = Link>) -> Self {
        Self { links: links.into_iter().map(|link| (link.index, link)).collect(), ..Self::default() }
    }

    /// The same with foo-over-UDP's ports; or with why they could not be read.
    #[must_use]
    pub fn with_fou(self, fou: Result<BTreeSet<UdpTunnel>, String>) -> Self {
        let (fou, fou_unread) = fou.map_or_else(|why| (BTreeSet::new(), Some(why)), |fou| (fou, None));
        Self { fou, fou_unread, ..self }
    }

    /// The UDP ports that the kernel takes packets out of, as far as they could be read.
    pub fn udp_tunnels(&self) -> impl Iterator<Item = UdpTunnel> + '_ {
        let of_devices = self.links().flat_map(|link| {
            let tunnel = |&port: &u16| UdpTunnel { device: Some(link.name.clone()), kind: link.kind.clone(), port };
            link.udp_ports.iter().map(tunnel)
        });
        of_devices.chain(self.fou.iter().cloned())
    }

    /// Why [`Self::udp_tunnels`] may not have all of them.
    pub fn udp_tunnels_unread(&self) -> Option<&str> {
        self.fou_unread.as_deref()
    }

    /// All links, by rising index.
    pub fn links(&self) -> impl Iterator<Item = &Link> {
        self.links.values()
    }

    /// The link with this index.
    pub fn by_index(&self, index: u32) -> Option<&Link> {
        self.links.get(&index)
    }

    /// The link with this name, or else with this alternative name.
    pub fn by_name(&self, name: &str) -> Option<&Link> {
        self.links()
            .find(|link| link.name == name)
            .or_else(|| self.links().find(|link| link.alt_names.iter().any(|alt| alt == name)))
    }

    /// The links that belong to this master, by rising index.
    pub fn ports_of(&self, master: u32) -> impl Iterator<Item = &Link> {
        self.links().filter(move |link| link.master == Some(master))
    }

    /// The bond that `link` is a slave of. `None` for any other kind of master.
    pub fn bond_of(&self, link: &Link) -> Option<&Link> {
        let master = self.by_index(link.master?)?;
        (link.master_kind.as_deref() == Some("bond") || master.kind == "bond").then_some(master)
    }

    /// The link underneath, if what arrives on `link` has crossed it before.
    pub fn carrier_of(&self, link: &Link) -> Option<&Link> {
        if link.rides_on_parent() { self.by_index(link.parent?) } else { None }
    }
}
