//! The host's links as plain values. Knows nothing of netlink (that is `snapshot`) or of which links to attach to (`select`).

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

/// `ARPHRD_ETHER` of `linux/if_arp.h`: frames begin with an Ethernet header.
const ARPHRD_ETHER: u16 = 1;

/// A parent of a parent of a parent…: more steps than any sane stack has, and an end to any loop.
pub(super) const MAX_STACK_DEPTH: usize = 16;

/// What a link is, from `IFLA_INFO_KIND`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkKind {
    /// No kind: a network card, a virtual machine's card, or loopback.
    Physical,
    /// A Linux bridge.
    Bridge,
    /// One end of a veth pair.
    Veth {
        /// The other end is in another network namespace: on a host this is how containers are wired.
        peer_in_other_namespace: bool,
    },
    /// An 802.1Q or 802.1ad device on top of [`Link::parent`].
    Vlan,
    /// A bond's master.
    Bond,
    /// A dummy: nothing ever arrives on it.
    Dummy,
    /// A tun (no Ethernet header) or tap (with one) device.
    Tun,
    /// Any other kind, by the kernel's name: `wireguard`, `vxlan`, `macvlan`, `team`, `vrf`, …
    Other(String),
}

impl LinkKind {
    /// The kernel's name for the kind; empty for [`LinkKind::Physical`].
    pub fn name(&self) -> &str {
        match self {
            Self::Physical => "",
            Self::Bridge => "bridge",
            Self::Veth { .. } => "veth",
            Self::Vlan => "vlan",
            Self::Bond => "bond",
            Self::Dummy => "dummy",
            Self::Tun => "tun",
            Self::Other(name) => name,
        }
    }
}

/// How an XDP program is attached to a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum XdpMode {
    /// In the driver (`XDP_ATTACHED_DRV`).
    Native,
    /// In the kernel's own receive path, after GRO (`XDP_ATTACHED_SKB`).
    Generic,
    /// On the card (`XDP_ATTACHED_HW`).
    Offload,
    /// Several programs in several modes at once (`XDP_ATTACHED_MULTI`).
    Multi,
}

impl std::fmt::Display for XdpMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Offload => "offload",
            Self::Multi => "multi",
        })
    }
}

/// An XDP program that is attached to a link, whoever attached it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct XdpAttached {
    /// The program's id; in [`XdpMode::Multi`] the driver's, else the first that the kernel names.
    pub program_id: u32,
    /// Where it runs.
    pub mode: XdpMode,
}

/// One network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// What the link is.
    pub kind: LinkKind,
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
}

impl Link {
    /// Frames on this link begin with an Ethernet header (`ARPHRD_ETHER`).
    pub fn ethernet(&self) -> bool {
        self.arphrd == ARPHRD_ETHER
    }

    /// The addresses that are this host's beyond doubt.
    pub fn own_addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.addresses.iter().filter(|net| !self.unconfirmed.contains(net)).map(IpNet::addr)
    }

    /// The link has at least one address. A link-local one counts: what listens on `[::]` answers there, too.
    pub fn addressed(&self) -> bool {
        !self.addresses.is_empty()
    }

    /// A veth whose other end is in another network namespace, as containers have it.
    pub fn container_veth(&self) -> bool {
        self.kind == LinkKind::Veth { peer_in_other_namespace: true }
    }

    /// What arrives here has crossed [`Link::parent`] before: VLANs, macvlans, ipvlans and their taps.
    pub fn rides_on_parent(&self) -> bool {
        match &self.kind {
            LinkKind::Vlan => true,
            LinkKind::Other(kind) => matches!(kind.as_str(), "macvlan" | "macvtap" | "ipvlan" | "ipvtap"),
            _ => false,
        }
    }

    /// No frame ever arrives from outside: dummies, VRF masters, and the devices that only watch or shape traffic.
    pub fn without_wire(&self) -> bool {
        match &self.kind {
            LinkKind::Dummy => true,
            LinkKind::Other(kind) => matches!(kind.as_str(), "vrf" | "ifb" | "nlmon"),
            _ => false,
        }
    }
}

/// All links of one network namespace, as they were at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    links: BTreeMap<u32, Link>,
}

impl Network {
    /// A network of the given links; of two with the same index the later one stays.
    pub fn new(links: impl IntoIterator<Item = Link>) -> Self {
        Self { links: links.into_iter().map(|link| (link.index, link)).collect() }
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
        (link.master_kind.as_deref() == Some("bond") || master.kind == LinkKind::Bond).then_some(master)
    }

    /// The link underneath, if what arrives on `link` has crossed it before.
    pub fn carrier_of(&self, link: &Link) -> Option<&Link> {
        if link.rides_on_parent() { self.by_index(link.parent?) } else { None }
    }
}
