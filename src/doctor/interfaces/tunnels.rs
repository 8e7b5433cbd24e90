//! What takes packets out of packets on this host: whether the policy judges what it unpacks, and who may send it. It must not look by itself.

use super::facts::InterfaceFacts;
use crate::doctor::finding::{Findings, Status};
use nodewall_host::net::{Link, UdpTunnel};
use nodewall_policy::config::Tunnels;

/// `linux/if_arp.h`
const ARPHRD_PPP: u16 = 512;

/// How the policy treats what a device unpacks.
enum Judged {
    /// As a tunnel, by the packets around.
    Outside,
    /// Not at all: nobody can look into what it unpacks.
    Opaque,
}

fn judged(link: &Link) -> Option<Judged> {
    match link.kind.as_str() {
        "ipip" | "sit" | "gre" | "gretap" | "ip6gre" | "ip6gretap" | "ip6tnl" | "vxlan" | "geneve" | "bareudp"
        | "amt" | "erspan" | "ip6erspan" => Some(Judged::Outside),
        "wireguard" | "tun" | "ovpn" | "ppp" | "xfrm" | "vti" | "vti6" | "l2tp" | "l2tp_eth" | "gtp" => {
            Some(Judged::Opaque)
        }
        _ if link.arphrd == ARPHRD_PPP => Some(Judged::Opaque),
        _ => None,
    }
}

/// Judges them.
pub(super) fn tunnels(interfaces: &InterfaceFacts<'_>, findings: &mut Findings) {
    let open = |link: &&Link| link.udp_ports.iter().any(|port| interfaces.open_tunnels.contains_key(port));
    for link in interfaces.network.links().filter(|link| link.up || open(link)) {
        match judged(link) {
            Some(Judged::Outside) => by_the_outside(interfaces, &device(link), &link.udp_ports, findings),
            Some(Judged::Opaque) => findings
                .add(Status::Note, "tunnel", device(link))
                .because("what comes out of it crossed the wire inside packets that nodewall can not look into: it is not filtered by port")
                .advice("let only hosts that you trust like peers send through it"),
            None => {}
        }
    }
    for UdpTunnel { kind, port, .. } in interfaces.network.udp_tunnels().filter(|tunnel| tunnel.device.is_none()) {
        let found = format!("foo-over-UDP ({kind}) unpacks UDP port {port}");
        by_the_outside(interfaces, &found, &[port], findings);
    }
    if let Some(why) = interfaces.network.udp_tunnels_unread() {
        findings
            .add(Status::Degraded, "tunnel", format!("which UDP ports foo-over-UDP unpacks cannot be read: {why}"))
            .because("what it unpacks may go round the filter")
            .advice("look at `ip fou show`, and take away what is not needed (`ip fou del port N`)");
    }
}

/// What is judged by the packets around. `ports`: the UDP ports that they are sent to.
fn by_the_outside<'p>(
    interfaces: &InterfaceFacts<'_>,
    found: &str,
    ports: impl IntoIterator<Item = &'p u16>,
    findings: &mut Findings,
) {
    let open = ports.into_iter().find_map(|port| Some((port, interfaces.open_tunnels.get(port)?)));
    match (interfaces.tunnels, open) {
        (Tunnels::All, _) => findings
            .add(Status::Degraded, "tunnel", found)
            .because("tunnels = \"all\": anyone may send packets that come out of it, for any port")
            .advice("set tunnels = \"peers\", or take the device down"),
        (Tunnels::Peers, Some((port, Some(class)))) => findings
            .add(Status::Degraded, "tunnel", found)
            .because(format!(
                "the rule {class:?} opens UDP port {port}: anyone may send packets that come out of it, for any port"
            ))
            .advice("give the rule access = \"cluster\", or the tunnel another port"),
        (Tunnels::Peers, Some((port, None))) => findings
            .add(Status::Degraded, "tunnel", found)
            .because(format!(
                "the policy in force does not know of UDP port {port}: anyone may send packets that come out of it, for any port"
            ))
            .advice("`nodewall apply`; a running agent does that by itself when such a port comes or goes"),
        (Tunnels::Peers, None) => findings
            .add(Status::Note, "tunnel", found)
            .because("only peers may send such packets to this host; what is inside them is not judged again")
            .advice("nothing; name other hosts that tunnel to this node as peers"),
    }
}

fn device(link: &Link) -> String {
    let kind = if link.kind.is_empty() { "ppp" } else { &link.kind };
    let mut found = format!("{} is a tunnel ({kind}) that is {}", link.name, if link.up { "up" } else { "down" });
    let list = |all: Vec<String>| all.join(", ");
    if !link.addresses.is_empty() {
        found += &format!(", addressed ({})", list(link.addresses.iter().map(ToString::to_string).collect()));
    }
    if !link.udp_ports.is_empty() {
        found += &format!(", on UDP port {}", list(link.udp_ports.iter().map(ToString::to_string).collect()));
    }
    found
}
