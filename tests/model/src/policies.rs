//! The policies that frames are judged by, as configuration texts, and from each the addresses and ports that are worth asking about: whatever it
//! names, and what lies just beside. Must not judge.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::cases::{self, PEERS, RULES};
use ipnet::IpNet;
use nodewall_policy::{Compiled, Facts, Policy, PortClass, RowTable, compile, config::Config};

/// The node's own addresses under every policy.
pub const OWN: [&str; 2] = ["10.0.0.1", "2001:db8::1"];

/// The interface that every frame comes in by. Its index is what the kernel's test run gives: that of `lo`, which has no such name to a policy.
pub const INTERFACE: &str = "eth1";
/// That index.
pub const IF_INDEX: u32 = 1;

const NO_PEER_HERE: &str = "[[interface]]\nname = \"eth1\"\npeers = \"none\"\n";
const SOME_PEERS_HERE: &str = "[[interface]]\nname = \"eth1\"\npeers = [\"10.9.0.0/17\", \"10.0.0.0/30\", \"2001:db8::/48\", \"198.51.100.0/25\"]\n\
                               [[interface]]\nname = \"eth2\"\npeers = \"none\"\n";

// No class but its own: the ends of the port space, one port with a class for each protocol, a tunnel port of the operator's, sources that are both
// peers and allowed.
const OWN_CLASSES: &str = r#"
[profile]
name = "none"
[[rule]]
name = "lowest"
ports = ["1-21"]
access = "closed"
also_allow = ["10.0.0.0/8", "2001:db8::/32"]
[[rule]]
name = "highest"
ports = ["65000-65535"]
access = "cluster"
also_allow = ["10.0.0.11", "2001:db8::11"]
[[rule]]
name = "split-tcp"
ports = ["500"]
protocols = ["tcp"]
access = "public"
[[rule]]
name = "split-udp"
ports = ["500"]
protocols = ["udp"]
access = "cluster"
[[rule]]
name = "own-vxlan"
ports = ["4789"]
protocols = ["udp"]
access = "cluster"
also_allow = ["192.0.2.0/24"]
[peers]
static = ["10.0.0.11", "10.0.0.12/30", "2001:db8::11"]
"#;

const CURRENT: &str = r#"
[profile]
name = "dynatrace-managed-current"
agent_port_8443 = "public"
web_port_8022 = "public"
[peers]
static = ["192.168.7.0/24", "192.168.7.9", "fd12:3456::/32"]
"#;

// More lengths than the image keeps apart without writing prefixes out, nested, in both families.
const MANY_LENGTHS: &str = r#"
later_fragments = "peers"
[[rule]]
name = "half-the-world"
ports = ["9200", "9300"]
access = "cluster"
also_allow = ["64.0.0.0/2", "160.0.0.0/3", "172.16.0.0/12", "172.20.4.0/22", "172.20.4.128/25", "172.20.4.200", "4000::/2", "2001:db8:c0::/44"]
[[rule]]
name = "narrow"
ports = ["7001"]
access = "closed"
also_allow = ["172.20.4.192/27", "11.22.33.40/30", "2001:db8:c0:1:2::/80"]
[peers]
static = [
    "11.0.0.0/8", "11.22.0.0/15", "11.22.32.0/19", "11.22.33.0/24", "11.22.33.44", "11.22.33.64/26", "11.22.33.66/31", "172.20.4.0/23",
    "2001:db8::/33", "2001:db8:c0::/46", "2001:db8:c0:1::/64", "2001:db8:c0:1:2::/79", "2001:db8:c0:1:2:3::/96", "2001:db8:c0:1:2:3:4:0/112",
    "2001:db8:c0:1:2:3:4:4/127", "2001:db8:c0:1:2:3:4:5",
]
"#;

// Around and inside of what the policies name, of every length, some in one another, an own address and what no wire has among them.
const MANY_BLOCKED: [&str; 16] = [
    "128.0.0.0/3",
    "10.0.0.0/13",
    "11.22.33.0/24",
    "11.22.33.44/30",
    "172.20.4.128/25",
    "172.20.4.200/32",
    "10.0.0.1/32",
    "224.0.0.0/4",
    "2000::/13",
    "2001:db8::/45",
    "2001:db8:c0::/47",
    "2001:db8:c0:1:2::/80",
    "2001:db8:c0:1:2:3:4:4/126",
    "2001:db8:c0:1:2:3:4:5/128",
    "::/16",
    "ff00::/9",
];

// Unnamed, usual, and own rules' of every access.
const UNPACKED: [u16; 6] = [5555, 4789, 8472, 500, 7, 65_001];

const BLOCKED: &[&str] = cases::Policy::Blocks.blocked();
const AUDIT: &str = "mode = \"audit\"\n";
const NO_PROFILE: &str = "[profile]\nname = \"none\"\n";

// Classes of every access that only audit, of the profile and of the operator; the tunnel port is the operator's.
const SOME_AUDITED: &str = r#"
[profile]
audit = ["cassandra", "agent", "https"]
[[rule]]
name = "eyed"
ports = ["9996", "20000-21000"]
access = "closed"
also_allow = ["198.51.100.0/24", "2001:db8:a::/48"]
mode = "audit"
[[rule]]
name = "eyed-vxlan"
ports = ["4789"]
protocols = ["udp"]
access = "cluster"
mode = "audit"
"#;

/// A name, a text by parts, what is blocked besides, and the UDP ports that the node unpacks.
type Text = (&'static str, &'static [&'static str], &'static [&'static str], &'static [u16]);

const TEXTS: [Text; 20] = [
    ("enforce", &[PEERS], &[], &[]),
    ("blocks", &[PEERS], BLOCKED, &[]),
    ("audit", &[AUDIT, PEERS], &[], &[]),
    ("audit-blocks", &[AUDIT, RULES, PEERS], BLOCKED, &[]),
    ("rules", &[RULES, PEERS], &[], cases::Policy::Rules.tunnel_ports()),
    ("some-audited", &[SOME_AUDITED, PEERS], &[], &[]),
    ("some-audited-blocks", &[SOME_AUDITED, PEERS], BLOCKED, &[]),
    ("audit-some-audited", &[AUDIT, SOME_AUDITED, PEERS], BLOCKED, &[]),
    ("own-classes", &[OWN_CLASSES], &[], &[]),
    ("own-classes-blocks", &[OWN_CLASSES], &["10.0.0.8/29", "192.0.2.0/24", "64.0.0.0/7", "2001:db8::/33"], &[]),
    ("current", &[CURRENT], &[], &[]),
    ("many-lengths", &[MANY_LENGTHS], &[], &[]),
    ("many-blocks", &[MANY_LENGTHS], &MANY_BLOCKED, &[]),
    ("nothing", &[AUDIT, NO_PROFILE], &[], &[]),
    ("nothing-but-blocks", &[NO_PROFILE], &["192.0.2.66/32", "2001:db8:ffff::66/128"], &[]),
    ("unpacking", &[PEERS], &[], cases::Policy::Unpacking.tunnel_ports()),
    ("no-peer-here", &[PEERS, NO_PEER_HERE], &[], &[]),
    ("some-peers-here", &[RULES, PEERS, SOME_PEERS_HERE], &[], &[]),
    ("some-peers-here-blocks", &[RULES, PEERS, SOME_PEERS_HERE], BLOCKED, &[]),
    ("unpacking-for-all", &["tunnels = \"all\"\n", OWN_CLASSES], &[], &UNPACKED),
];

/// How many policies there are.
pub const COUNT: usize = TEXTS.len();

/// What policy number `n` is called.
pub fn name(n: usize) -> &'static str {
    TEXTS[n].0
}

/// A policy in its two forms, who is blocked, and what to ask it about.
pub struct Case {
    pub name: &'static str,
    pub meaning: Policy,
    pub compiled: Compiled,
    pub own: Vec<IpAddr>,
    pub blocked: Vec<IpNet>,
    /// UDP ports that the node unpacks.
    pub tunnels: Vec<u16>,
    /// Everything named, mixed.
    pub anywhere: Aim,
    /// The same for each class alone, so that its own sources meet its own ports often enough.
    pub classes: Vec<Aim>,
}

/// Sources and ports at the edges of what a policy names.
#[derive(Clone, Default)]
pub struct Aim {
    pub v4: Vec<Ipv4Addr>,
    pub v6: Vec<Ipv6Addr>,
    pub ports: Vec<u16>,
}

impl Aim {
    fn at_sources<'n>(&mut self, nets: impl IntoIterator<Item = &'n IpNet>) {
        for net in nets {
            match net {
                IpNet::V4(net) => self.v4.extend(edges_v4(u32::from(net.network()), u32::from(net.broadcast()))),
                IpNet::V6(net) => self.v6.extend(edges_v6(u128::from(net.network()), u128::from(net.broadcast()))),
            }
        }
    }

    fn at_ports(&mut self, class: &PortClass) {
        self.ports.extend(class.ports.iter().flat_map(|entry| around(entry.ports.first(), entry.ports.last())));
    }
}

/// Compiles all of them.
pub fn all() -> Vec<Case> {
    TEXTS.iter().map(|(name, parts, blocked, tunnels)| case(name, &parts.concat(), blocked, tunnels)).collect()
}

fn case(name: &'static str, text: &str, blocked: &[&str], tunnels: &[u16]) -> Case {
    let config = Config::parse(text, name).unwrap_or_else(|errors| panic!("policy {name}: {errors}"));
    let meaning = Policy::from_config(&config).unwrap();
    let own: Vec<IpAddr> = OWN.iter().map(|a| a.parse().unwrap()).collect();
    let blocked: Vec<IpNet> = blocked.iter().map(|net| net.parse().unwrap()).collect();
    let facts = Facts {
        generation: 1,
        own_addresses: own.clone(),
        tunnel_ports: tunnels.iter().copied().collect(),
        blocked: blocked.clone(),
        interfaces: [(INTERFACE.to_owned(), [IF_INDEX].into())].into(),
        ..Facts::default()
    };
    let compiled = compile(&meaning, RowTable::default(), &facts).unwrap();
    let anywhere = anywhere(&meaning, &own, &blocked, tunnels);
    let classes = meaning.classes.iter().map(|c| of_class(c, &meaning, &blocked)).collect();
    Case { name, meaning, compiled, own, blocked, tunnels: tunnels.to_vec(), anywhere, classes }
}

fn anywhere(meaning: &Policy, own: &[IpAddr], blocked: &[IpNet], tunnels: &[u16]) -> Aim {
    let mut aim = Aim { v4: martians_v4(), v6: martians_v6(), ports: vec![0, 1, 22, 53, 68, 80, 65_535] };
    let own: Vec<IpNet> = own.iter().map(|address| IpNet::from(*address)).collect();
    aim.at_sources(blocked);
    aim.at_sources(meaning.peers.iter().chain(&own).chain(meaning.classes.iter().flat_map(|class| &class.also_allow)));
    // Each IPv4 address in the clothes of an IPv6 one: mapped, compatible, and in the wrong half.
    for address in &aim.v4 {
        let low = u128::from(address.to_bits());
        aim.v6.extend([0xffff_0000_0000 | low, low, low << 96, low << 64].map(Ipv6Addr::from_bits));
    }
    for class in &meaning.classes {
        aim.at_ports(class);
    }
    aim.ports.extend([4789, 8472, 6081].iter().chain(tunnels).flat_map(|port| around(*port, *port)));
    // The same bytes the wrong way round, for whoever forgets the byte order.
    aim.ports.extend(aim.ports.clone().iter().map(|port| port.swap_bytes()));
    aim
}

fn of_class(class: &PortClass, meaning: &Policy, blocked: &[IpNet]) -> Aim {
    let mut aim = Aim::default();
    // A class with sources of its own is about them, any other about the peers.
    aim.at_sources(if class.also_allow.is_empty() { &meaning.peers } else { &class.also_allow });
    aim.at_sources(blocked);
    aim.at_ports(class);
    aim
}

fn around(first: u16, last: u16) -> [u16; 6] {
    let middle = first + (last - first) / 2;
    [first.wrapping_sub(1), first, first.saturating_add(1), middle, last, last.wrapping_add(1)]
}

fn edges_v4(first: u32, last: u32) -> [Ipv4Addr; 5] {
    let middle = first + (last - first) / 2;
    [first.wrapping_sub(1), first, middle, last, last.wrapping_add(1)].map(Ipv4Addr::from_bits)
}

fn edges_v6(first: u128, last: u128) -> [Ipv6Addr; 5] {
    let middle = first + (last - first) / 2;
    [first.wrapping_sub(1), first, middle, last, last.wrapping_add(1)].map(Ipv6Addr::from_bits)
}

/// Sources that no wire has, their neighbours, and some outsiders.
fn martians_v4() -> Vec<Ipv4Addr> {
    let numbers = [
        0,
        1,
        0x00ff_ffff,
        0x0100_0000,
        0x7eff_ffff,
        0x7f00_0000,
        0x7f00_0001,
        0x7fff_ffff,
        0x8000_0000,
        0xdfff_ffff,
        0xe000_0000,
        0xefff_ffff,
        0xf000_0000,
        0xffff_fffe,
        0xffff_ffff,
        0xc000_0242,
        0xcb00_7105,
    ];
    numbers.map(Ipv4Addr::from_bits).to_vec()
}

fn martians_v6() -> Vec<Ipv6Addr> {
    let texts = [
        "::",
        "::1",
        "::2",
        "0:0:0:1::",
        "0:0:0:1::1",
        "::ffff:0:0",
        "::fffe:a00:b",
        "::ffff:0:a00:b",
        "1::ffff:a00:b",
        "::1:0:0",
        "fe80::1",
        "fec0::1",
        "feff:ffff::1",
        "ff00::",
        "ff02::1",
        "ffff::1",
        "64:ff9b::a00:b",
        "2001:db8:ffff::66",
    ];
    texts.map(|text| text.parse().unwrap()).to_vec()
}
