//! Interfaces: how each is or could be filtered, what of its driver stands in the way, and the ways into this host that nothing covers.

mod driver;

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, Status, Subject};
use nodewall_host::net::{self, Driver, Drivers, Link, Network, Selection, XdpMode};
use nodewall_policy::config::{AttachMode, Tunnels};

/// What the checks of interfaces need to know.
#[derive(Debug)]
pub struct Interfaces<'a> {
    /// The links.
    pub network: &'a Network,
    /// Their drivers.
    pub drivers: &'a Drivers,
    /// A policy is in force.
    pub in_force: bool,
    /// Interfaces where our program runs, by index, with the program's id; `None`: what is in force could not be looked at.
    pub filtered: Option<BTreeMap<u32, u32>>,
    /// What the configuration selects; or why it selects nothing.
    pub selection: Result<Selection, String>,
    /// How it would be attached.
    pub attach_mode: AttachMode,
    /// The kernel takes the filter for frames of many buffers.
    pub multi_buffer: bool,
    /// Who may send tunnelled traffic.
    pub tunnels: Tunnels,
    /// Processors.
    pub cpus: u32,
}

/// Judges them.
pub fn findings(interfaces: &Interfaces<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let none = BTreeMap::new();
    let filtered = interfaces.filtered.as_ref().unwrap_or(&none);
    let mut wanted: BTreeSet<u32> = filtered.keys().copied().collect();
    match &interfaces.selection {
        Ok(selection) => {
            wanted.extend(selection.attach.iter().map(|selected| selected.index));
            findings.extend(selection.missing.iter().map(|name| {
                new(Status::Degraded, "missing", format!("interface {name} does not exist"))
                    .because("the configuration names it, and nothing is filtered there")
                    .advice("nothing, if it will appear (a running agent attaches it then); else correct `interfaces`")
            }));
        }
        Err(why) => {
            let (found, advice) = why.rsplit_once("; ").unwrap_or((why, "correct `interfaces`"));
            findings.push(
                new(Status::Degraded, "selection", found.to_owned())
                    .because("`apply` is refused like this")
                    .advice(advice),
            );
        }
    }
    let links = || wanted.iter().filter_map(|index| interfaces.network.by_index(*index));
    for link in links() {
        findings.extend(one(interfaces, link, filtered));
    }
    if interfaces.in_force {
        let attached: BTreeSet<u32> = filtered.keys().copied().collect();
        findings.extend(net::uncovered(interfaces.network, &attached).into_iter().map(|open| {
            new(Status::Degraded, "uncovered", format!("{} is not filtered: {}", open.name, open.why))
                .because("whoever reaches this host through it reaches the cluster's ports")
                .advice(format!(
                    "add {:?} (or what carries it) to `interfaces` and `nodewall apply`; or take its address away",
                    open.name
                ))
        }));
    }
    findings.extend(interfaces.network.links().filter(|link| link.up).filter_map(|link| tunnel(interfaces, link)));
    findings
}

fn new(status: Status, check: &'static str, found: String) -> Finding {
    Finding::new(Subject::Interfaces, status, check, found)
}

/// One interface that is filtered or is to be.
fn one(interfaces: &Interfaces<'_>, link: &Link, filtered: &BTreeMap<u32, u32>) -> Vec<Finding> {
    let unknown = Driver::default();
    let driver = interfaces.drivers.of(link.index).unwrap_or(&unknown);
    let name = &link.name;
    let of = driver.name.as_deref().map_or_else(|| "driver unknown".to_owned(), |driver| format!("driver {driver}"));
    let ours = |program: u32| filtered.get(&link.index) == Some(&program);
    match &link.xdp {
        // Not knowing what is ours, nothing is called foreign.
        Some(xdp) if !ours(xdp.program_id) && interfaces.filtered.is_some() => vec![
            new(
                Status::Degraded,
                "foreign-program",
                format!("{name}: another XDP program is attached (id {}, {})", xdp.program_id, xdp.mode),
            )
            .because("nodewall does not share an interface, and is not attached beside it")
            .advice(format!(
                "`bpftool prog show id {}` tells whose it is; remove it, or leave {name} out",
                xdp.program_id
            )),
        ],
        Some(xdp) if xdp.mode == XdpMode::Generic => {
            let gro = if driver.gro == Some(true) { "; GRO is on" } else { "" };
            vec![
                new(Status::Note, "generic", format!("{name}: generic mode, {of}, MTU {}{gro}", link.mtu))
                    .because("the filter runs in the kernel's stack: slower, and with GRO it counts aggregates of several packets as one")
                    .advice(if driver::native(driver) == Some(true) {
                        "the driver has native XDP: set attach_mode = \"native\"".to_owned()
                    } else {
                        format!("nothing; `ethtool -K {name} gro off` makes counts exact and costs throughput")
                    }),
            ]
        }
        Some(xdp) => {
            vec![Finding::ok(Subject::Interfaces, "attached", format!("{name}: {}, {of}, MTU {}", xdp.mode, link.mtu))]
        }
        None if interfaces.in_force || interfaces.attach_mode == AttachMode::Generic => {
            // That it is not attached is said under the data path or as uncovered.
            Vec::new()
        }
        None => driver::could_be_attached(interfaces, link, driver, &of),
    }
}

/// Devices that take packets out of packets, or out of no Ethernet frame at all.
fn tunnel(interfaces: &Interfaces<'_>, link: &Link) -> Option<Finding> {
    let kind = link.kind.name();
    let judged = matches!(
        kind,
        "ipip"
            | "sit"
            | "gre"
            | "gretap"
            | "ip6gre"
            | "ip6gretap"
            | "ip6tnl"
            | "vxlan"
            | "geneve"
            | "erspan"
            | "ip6erspan"
    );
    let opaque = matches!(
        kind,
        "wireguard" | "tun" | "ovpn" | "ppp" | "xfrm" | "vti" | "vti6" | "l2tp" | "l2tp_eth" | "bareudp" | "gtp"
    ) || link.arphrd == ARPHRD_PPP;
    if !judged && !opaque {
        return None;
    }
    let addresses: Vec<String> = link.addresses.iter().map(ToString::to_string).collect();
    let addressed =
        if addresses.is_empty() { String::new() } else { format!(", addressed ({})", addresses.join(", ")) };
    let what = if kind.is_empty() { "ppp" } else { kind };
    let found = format!("{} is a tunnel ({what}) that is up{addressed}", link.name);
    if opaque {
        return Some(
            new(Status::Note, "tunnel", found)
                .because("what comes out of it crossed the wire inside packets that nodewall can not look into: it is not filtered by port")
                .advice("let only hosts that you trust like peers send through it"),
        );
    }
    Some(match interfaces.tunnels {
        Tunnels::Peers => new(Status::Note, "tunnel", found)
            .because("only peers may send such packets to this host; what is inside them is not judged again")
            .advice("nothing; name other hosts that tunnel to this node as peers"),
        Tunnels::All => new(Status::Degraded, "tunnel", found)
            .because("tunnels = \"all\": anyone may send packets that come out of it, for any port")
            .advice("set tunnels = \"peers\", or take the device down"),
    })
}

/// `linux/if_arp.h`
const ARPHRD_PPP: u16 = 512;

#[cfg(test)]
mod tests;
