//! Interfaces: how each is or could be filtered, what of its driver stands in the way, and the ways into this host that nothing covers.

mod driver;
mod facts;

use std::collections::{BTreeMap, BTreeSet};

use super::finding::{Finding, Findings, Status, Subject};
use nodewall_host::net::{self, Driver, Link, Uncovered};
use nodewall_policy::config::{AttachMode, Tunnels};

pub use facts::InterfaceFacts;

/// Judges them.
pub fn findings(interfaces: &InterfaceFacts<'_>) -> Vec<Finding> {
    let mut findings = Findings::of(Subject::Interfaces);
    let none = BTreeMap::new();
    let filtered = interfaces.filtered.as_ref().unwrap_or(&none);
    let attached: BTreeSet<u32> = filtered.keys().copied().collect();
    let mut wanted = attached.clone();
    match &interfaces.selection {
        Ok(selection) => {
            wanted.extend(selection.attach.iter().map(|selected| selected.index));
            for name in &selection.missing {
                findings
                    .add(Status::Degraded, "missing", format!("interface {name} does not exist"))
                    .because("the configuration names it, and nothing is filtered there")
                    .advice("nothing, if it will appear (a running agent attaches it then); else correct `interfaces`");
            }
        }
        Err(why) => {
            let (found, advice) = why.rsplit_once("; ").unwrap_or((why, "correct `interfaces`"));
            findings.add(Status::Degraded, "selection", found).because("`apply` is refused like this").advice(advice);
        }
    }
    for link in wanted.iter().filter_map(|index| interfaces.network.by_index(*index)) {
        one(interfaces, link, filtered, &mut findings);
    }
    if interfaces.in_force {
        for Uncovered { name, why } in net::uncovered(interfaces.network, &attached) {
            findings
                .add(Status::Degraded, "uncovered", format!("{name} is not filtered: {why}"))
                .because("whoever reaches this host through it reaches the cluster's ports")
                .advice(format!(
                    "add {name:?} (or what carries it) to `interfaces` and `nodewall apply`; or take its address away"
                ));
        }
    }
    for link in interfaces.network.links().filter(|link| link.up) {
        tunnel(interfaces, link, &mut findings);
    }
    findings.into_vec()
}

/// One interface that is filtered or is to be.
fn one(interfaces: &InterfaceFacts<'_>, link: &Link, filtered: &BTreeMap<u32, u32>, findings: &mut Findings) {
    let unknown = Driver::default();
    let driver = interfaces.drivers.get(&link.index).unwrap_or(&unknown);
    let (name, mtu) = (&link.name, link.mtu);
    let of = driver.name.as_deref().map_or_else(|| "driver unknown".to_owned(), |driver| format!("driver {driver}"));
    let ours = |program: u32| filtered.get(&link.index) == Some(&program);
    match &link.xdp {
        // Not knowing what is ours, nothing is called foreign.
        Some(xdp) if !ours(xdp.program_id) && interfaces.filtered.is_some() => {
            let id = xdp.program_id;
            findings
                .add(
                    Status::Degraded,
                    "foreign-program",
                    format!("{name}: another XDP program is attached (id {id}, {})", xdp.mode),
                )
                .because("nodewall does not share an interface, and is not attached beside it")
                .advice(format!("`bpftool prog show id {id}` tells whose it is; remove it, or leave {name} out"));
        }
        Some(xdp) if xdp.mode == AttachMode::Generic => {
            let gro = if driver.gro == Some(true) { "; GRO is on" } else { "" };
            findings
                .add(Status::Note, "generic", format!("{name}: generic mode, {of}, MTU {mtu}{gro}"))
                .because("the filter runs in the kernel's stack: slower, and with GRO it counts aggregates of several packets as one")
                .advice(if driver::native(driver) == Some(true) {
                    "the driver has native XDP: set attach_mode = \"native\"".to_owned()
                } else {
                    format!("nothing; `ethtool -K {name} gro off` makes counts exact and costs throughput")
                });
        }
        Some(xdp) => findings.ok("attached", format!("{name}: {}, {of}, MTU {mtu}", xdp.mode)),
        // That it is not attached is said under the data path or as uncovered.
        None if interfaces.in_force || interfaces.attach_mode == AttachMode::Generic => {}
        None => driver::could_be_attached(interfaces, link, driver, &of, findings),
    }
}

/// Devices that take packets out of packets, or out of no Ethernet frame at all.
fn tunnel(interfaces: &InterfaceFacts<'_>, link: &Link, findings: &mut Findings) {
    let kind = link.kind.as_str();
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
    let (status, why, advice) = match interfaces.tunnels {
        _ if opaque => (
            Status::Note,
            "what comes out of it crossed the wire inside packets that nodewall can not look into: it is not filtered by port",
            "let only hosts that you trust like peers send through it",
        ),
        _ if !judged => return,
        Tunnels::Peers => (
            Status::Note,
            "only peers may send such packets to this host; what is inside them is not judged again",
            "nothing; name other hosts that tunnel to this node as peers",
        ),
        Tunnels::All => (
            Status::Degraded,
            "tunnels = \"all\": anyone may send packets that come out of it, for any port",
            "set tunnels = \"peers\", or take the device down",
        ),
    };
    let addresses: Vec<String> = link.addresses.iter().map(ToString::to_string).collect();
    let addressed =
        if addresses.is_empty() { String::new() } else { format!(", addressed ({})", addresses.join(", ")) };
    let what = if kind.is_empty() { "ppp" } else { kind };
    let found = format!("{} is a tunnel ({what}) that is up{addressed}", link.name);
    findings.add(status, "tunnel", found).because(why).advice(advice);
}

/// `linux/if_arp.h`
const ARPHRD_PPP: u16 = 512;

#[cfg(test)]
mod tests;
