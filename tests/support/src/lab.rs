//! The lab: a node, two peers and an outsider, each in a namespace with one interface, joined by a bridge in a namespace
//! of its own. It owns names, addresses and links; who listens and who probes is decided by the tests.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::netns::NetNs;
use crate::wait::PATIENCE;
use crate::{Family, ip};

/// Every host's one interface, beside `lo`.
const INTERFACE: &str = "eth0";
const NODE: &str = "node";
const PEER1: &str = "peer1";
const PEER2: &str = "peer2";
const OUTSIDER: &str = "outsider";

const POLL_EVERY: Duration = Duration::from_millis(2);

/// Settings of every host, before its interface exists. No duplicate address detection: addresses work at once. No limit
/// on ICMP errors: each closed UDP port answers, not only the first few. The masks are needed too: what they name also draws from
/// one bucket of 50 for all destinations, by lot (`icmp_global_consume`). No router solicitations: nothing moves unasked.
/// No tail loss probes: they repeat a FIN after two round trips, whatever [`RETRANSMIT_AFTER`] says.
const HOST_SETTINGS: [(&str, &str); 8] = [
    ("ipv6.conf.default.accept_dad", "0"),
    ("ipv6.conf.default.dad_transmits", "0"),
    ("ipv6.conf.default.router_solicitations", "0"),
    ("ipv6.icmp.ratelimit", "0"),
    ("ipv6.icmp.ratemask", "0"),
    ("ipv4.icmp_ratelimit", "0"),
    ("ipv4.icmp_ratemask", "0"),
    ("ipv4.tcp_early_retrans", "0"),
];

/// Least time until a TCP segment is sent again.
const RETRANSMIT_AFTER: &str = "2s";

/// One host: a namespace with `lo` and `eth0`.
#[derive(Debug)]
pub struct Host {
    name: String,
    number: u8,
    netns: NetNs,
}

impl Host {
    /// `node`, `peer1`, …
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its namespace.
    pub fn netns(&self) -> &NetNs {
        &self.netns
    }

    /// The name of its interface.
    pub fn interface(&self) -> &'static str {
        INTERFACE
    }

    /// 10.77.0.N, in 10.77.0.0/24.
    pub fn ipv4(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, self.number)
    }

    /// `fd77::N`, in `fd77::/64`, with N's decimal digits: `fd77::11` belongs to 10.77.0.11.
    pub fn ipv6(&self) -> Ipv6Addr {
        Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, decimal_digits_as_hex(self.number))
    }

    /// Its address of the family.
    pub fn address(&self, family: Family) -> IpAddr {
        match family {
            Family::V4 => self.ipv4().into(),
            Family::V6 => self.ipv6().into(),
        }
    }

    /// Its address of the family with a port.
    pub fn socket(&self, family: Family, port: u16) -> SocketAddr {
        SocketAddr::new(self.address(family), port)
    }

    /// Its interface's Ethernet address, 02:00:00:77:00:N.
    pub fn mac(&self) -> [u8; 6] {
        [2, 0, 0, 0x77, 0, self.number]
    }

    fn mac_text(&self) -> String {
        self.mac().map(|byte| format!("{byte:02x}")).join(":")
    }

    /// Whether the interface carries frames and all its addresses may be used.
    fn is_up(&self) -> Result<bool> {
        let shown = self.netns.ip(&["addr", "show", "dev", INTERFACE])?;
        Ok(shown.contains("state UP") && !shown.contains("tentative"))
    }
}

/// 11 becomes 0x11, so that the two families' addresses read alike.
fn decimal_digits_as_hex(number: u8) -> u16 {
    let number = u16::from(number);
    (number / 100) * 0x100 + (number / 10 % 10) * 0x10 + number % 10
}

/// Hosts that reach one another. Dropping it removes their namespaces, and the links with them.
#[derive(Debug)]
pub struct Lab {
    node: Host,
    others: Vec<Host>,
    switch: Option<NetNs>,
}

impl Lab {
    /// The usual lab: node (.1), peer1 (.11), peer2 (.12) and outsider (.66) on one bridge. It returns when every link
    /// carries frames.
    pub fn new() -> Result<Self> {
        Self::builder().build()
    }

    /// A lab of another shape.
    pub fn builder() -> LabBuilder {
        LabBuilder::default()
    }

    /// The node, on whose interface the filter goes.
    pub fn node(&self) -> &Host {
        &self.node
    }

    /// The host of this name, which the lab was built with.
    pub fn host(&self, name: &str) -> Result<&Host> {
        let found = self.hosts().find(|host| host.name == name);
        found.ok_or_else(|| Error::BadLab(format!("it has no host named {name}")))
    }

    /// The first peer.
    pub fn peer1(&self) -> Result<&Host> {
        self.host(PEER1)
    }

    /// The second peer.
    pub fn peer2(&self) -> Result<&Host> {
        self.host(PEER2)
    }

    /// The host that is no peer.
    pub fn outsider(&self) -> Result<&Host> {
        self.host(OUTSIDER)
    }

    /// All hosts, the node first.
    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        std::iter::once(&self.node).chain(&self.others)
    }

    /// The namespace of the bridge `br0`, whose ports are named `to-<host>`; none in a direct pair.
    pub fn switch(&self) -> Option<&NetNs> {
        self.switch.as_ref()
    }

    fn wait_for_links(&self) -> Result<()> {
        let started = Instant::now();
        loop {
            let missing = self.links_missing()?;
            if missing.is_empty() {
                return Ok(());
            }
            if started.elapsed() > PATIENCE {
                return Err(Error::LinksDown { waited: started.elapsed(), missing: missing.join(", ") });
            }
            thread::sleep(POLL_EVERY);
        }
    }

    fn links_missing(&self) -> Result<Vec<String>> {
        let mut missing = Vec::new();
        if let Some(switch) = &self.switch {
            let shown = switch.ip(&["-d", "-o", "link", "show", "master", "br0"])?;
            for port in shown.lines().filter(|port| !port.contains("state forwarding")) {
                missing.push(format!("bridge port {}", port.split_whitespace().nth(1).unwrap_or("?")));
            }
        }
        for host in self.hosts() {
            if !host.is_up()? {
                missing.push(format!("{INTERFACE} of {}", host.name));
            }
        }
        Ok(missing)
    }
}

/// How a lab is to look.
#[derive(Debug)]
pub struct LabBuilder {
    hosts: Vec<(String, u8)>,
    mtu_bytes: Option<u32>,
    direct: bool,
}

impl Default for LabBuilder {
    fn default() -> Self {
        let hosts = [(NODE, 1), (PEER1, 11), (PEER2, 12), (OUTSIDER, 66)];
        Self { hosts: hosts.map(|(name, number)| (name.to_owned(), number)).into(), mtu_bytes: None, direct: false }
    }
}

impl LabBuilder {
    /// One more host, with its number in the addresses (1 to 254).
    #[must_use]
    pub fn host(mut self, name: &str, number: u8) -> Self {
        self.hosts.push((name.to_owned(), number));
        self
    }

    /// The MTU of every link, in bytes; 1500 unless said. IPv6 needs at least 1280.
    #[must_use]
    pub fn mtu(mut self, bytes: u32) -> Self {
        self.mtu_bytes = Some(bytes);
        self
    }

    /// Only the node and peer1, on the two ends of one veth pair, without a bridge.
    #[must_use]
    pub fn direct_pair(mut self) -> Self {
        self.direct = true;
        self.hosts = vec![(NODE.to_owned(), 1), (PEER1.to_owned(), 11)];
        self
    }

    /// Makes it, and waits until every link carries frames.
    pub fn build(self) -> Result<Lab> {
        self.check()?;
        let mut labels: Vec<&str> = self.hosts.iter().map(|(name, _)| name.as_str()).collect();
        if !self.direct {
            labels.push("switch");
        }
        let mut namespaces = NetNs::create_many(&labels)?;
        let switch = if self.direct { None } else { namespaces.pop() };
        let named = self.hosts.iter().zip(namespaces);
        let mut hosts: Vec<Host> =
            named.map(|((name, number), netns)| Host { name: name.clone(), number: *number, netns }).collect();
        for host in &hosts {
            host.netns.sysctl(&HOST_SETTINGS)?;
        }
        self.link(&hosts, switch.as_ref())?;
        let node = hosts.remove(0);
        let lab = Lab { node, others: hosts, switch };
        lab.wait_for_links()?;
        Ok(lab)
    }

    fn check(&self) -> Result<()> {
        for (position, (name, number)) in self.hosts.iter().enumerate() {
            if self.hosts.iter().take(position).any(|(other, used)| other == name || used == number) {
                return Err(Error::BadLab(format!("the name {name} or the number {number} is there twice")));
            }
            // A bridge port is named after its host, and an interface's name has at most 15 bytes.
            let clean = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            if !clean || name.is_empty() || name.len() > 12 || !(1..=254).contains(number) {
                return Err(Error::BadLab(format!(
                    "host {name}, number {number}: use up to 12 letters and digits, and a number from 1 to 254"
                )));
            }
        }
        if self.direct && self.hosts.len() != 2 {
            return Err(Error::BadLab("a direct pair has just the node and peer1".into()));
        }
        Ok(())
    }

    /// Makes links inside the namespaces from the start, so that none shows up in the machine's own.
    fn link(&self, hosts: &[Host], switch: Option<&NetNs>) -> Result<()> {
        let mtu = self.mtu_bytes.map(|bytes| format!("mtu {bytes} ")).unwrap_or_default();
        // The kernel reports a veth's carrier at once only when its two ends have different numbers; else it may take a
        // second. Without saying so, both ends of a pair can be number 2.
        let near = |host: &Host| {
            let (mac, index) = (host.mac_text(), 100 + u32::from(host.number));
            format!("{INTERFACE} {mtu}index {index} address {mac} netns {}", host.netns.name())
        };
        let mut pairs = Vec::new();
        let mut ports = vec!["link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0".to_owned()];
        match (switch, hosts) {
            (Some(switch), _) => {
                for host in hosts {
                    let far = format!("to-{} {mtu}netns {}", host.name, switch.name());
                    pairs.push(format!("link add {} type veth peer name {far}", near(host)));
                    ports.push(format!("link set dev to-{} master br0 up", host.name));
                }
                ports.push("link set dev br0 up".to_owned());
            }
            (None, [one, two]) => pairs.push(format!("link add {} type veth peer name {}", near(one), near(two))),
            (None, _) => return Err(Error::BadLab("without a bridge there are just two hosts".into())),
        }
        ip::batch(None, &pairs.join("\n"))?;
        for host in hosts {
            let (v4, v6) = (host.ipv4(), host.ipv6());
            // Links lose nothing: a segment is repeated only because a slow machine answers late, and the acknowledgement of a repeated FIN
            // is nobody's any more, though a filter counts it.
            host.netns.ip_batch(&format!(
                "addr add {v4}/24 dev {INTERFACE}\naddr add {v6}/64 dev {INTERFACE} nodad\nlink set dev {INTERFACE} up\n\
                 route replace {}/24 dev {INTERFACE} proto kernel scope link src {v4} rto_min {RETRANSMIT_AFTER}\n\
                 route replace {}/64 dev {INTERFACE} proto kernel metric 256 rto_min {RETRANSMIT_AFTER}\n",
                Ipv4Addr::from_bits(v4.to_bits() & 0xffff_ff00),
                Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)),
            ))?;
        }
        switch.map_or(Ok(()), |switch| switch.ip_batch(&ports.join("\n")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_families_addresses_read_alike() {
        for (number, text) in [(1, 0x1), (11, 0x11), (66, 0x66), (254, 0x254)] {
            assert_eq!(decimal_digits_as_hex(number), text);
        }
    }

    #[test]
    fn a_lab_that_makes_no_sense_is_refused_before_anything_is_made() {
        for builder in [
            Lab::builder().host("peer1", 99),
            Lab::builder().host("other", 66),
            Lab::builder().host("zero", 0),
            Lab::builder().host("a name that is long", 9),
            Lab::builder().direct_pair().host("third", 3),
        ] {
            assert!(matches!(builder.check(), Err(Error::BadLab(_))), "{builder:?}");
        }
    }
}
