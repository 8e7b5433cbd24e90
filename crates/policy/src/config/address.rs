//! Addresses and prefixes: what may be a peer, what may be allowed, what may bound learnt peers.
//!
//! Owns the refusals. Must not resolve names or look at the machine's addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::error::ValueError;

/// The widest peer prefix for IPv4, in bits.
pub const MIN_PEER_PREFIX_V4_BITS: u8 = 8;
/// The widest peer prefix for IPv6, in bits.
pub const MIN_PEER_PREFIX_V6_BITS: u8 = 32;

/// Addresses that no packet from a neighbour has as its source, each with why it is refused.
static SPECIAL: [(IpNet, &str); 8] = [
    (v4([0, 0, 0, 0], 32), "the unspecified address is nobody's"),
    (v4([127, 0, 0, 0], 8), "loopback never comes from another host"),
    (v4([224, 0, 0, 0], 4), "multicast is never a packet's source"),
    (v4([255, 255, 255, 255], 32), "broadcast is never a packet's source"),
    (v6(0, 128), "the unspecified address is nobody's"),
    (v6(1, 128), "loopback never comes from another host"),
    (v6(0xffff_0000_0000, 96), "an IPv4-mapped IPv6 address never stands for the IPv4 host"),
    (v6(0xff << 120, 8), "multicast is never a packet's source"),
];

const fn v4([a, b, c, d]: [u8; 4], bits: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), bits))
}

const fn v6(address: u128, bits: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::from_bits(address), bits))
}

/// Reads an address or a prefix. A plain address becomes a prefix of full length; host bits are refused.
pub fn parse_prefix(text: &str) -> Result<IpNet, ValueError> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address));
    }
    let Ok(net) = text.parse::<IpNet>() else {
        let message = format!(
            "{text:?} is not an address or prefix; expected such as \"10.0.0.11\", \"10.0.0.0/24\" or \"2001:db8:1::/64\""
        );
        return Err(ValueError { message, help: hint(text).map(str::to_owned), denied: false });
    };
    if net.addr() != net.network() {
        return Err(ValueError::new(format!(
            "{text:?} has bits set beyond its prefix length; expected \"{}\"",
            net.trunc()
        ))
        .help(format!("for the one host write \"{}\"", net.addr())));
    }
    Ok(net)
}

/// What the operator may have meant by something that is no address.
fn hint(text: &str) -> Option<&'static str> {
    if text.contains('%') {
        return Some("leave out the zone: a packet's source does not name an interface");
    }
    let (host, suffix) = text.split_once('/').unwrap_or((text, ""));
    if host.parse::<IpAddr>().is_ok() {
        return Some(if suffix.contains('.') {
            "write the prefix length, not the netmask: /24 for 255.255.255.0"
        } else {
            "a prefix length is 0 to 32 for IPv4 and 0 to 128 for IPv6"
        });
    }
    let bracketed = host.trim_start_matches('[').split(']').next().is_some_and(|inner| inner.parse::<IpAddr>().is_ok());
    if bracketed || host.parse::<SocketAddr>().is_ok() {
        return Some("leave out the port and the brackets");
    }
    let name = host.bytes().any(|byte| byte.is_ascii_alphabetic()) && !host.contains(':');
    name.then_some("write the host's addresses: names are not looked up here; [peers] dns is for them")
}

/// Reads a peer: a cluster node's address, or a prefix of nodes.
///
/// Refused: everything, loopback, multicast, unspecified, IPv4-mapped, and prefixes wider than /8 (IPv6 /32).
pub fn parse_peer(text: &str) -> Result<IpNet, ValueError> {
    let net = parse_prefix(text)?;
    judge_peer(text, net)?;
    Ok(net)
}

/// The same for a peer that was not read from text: may `net` be one?
pub fn check_peer(net: IpNet) -> Result<(), ValueError> {
    judge_peer(&show(&net), net)
}

fn judge_peer(text: &str, net: IpNet) -> Result<(), ValueError> {
    if net.prefix_len() == 0 {
        return Err(ValueError::new(format!("{text:?} would make every address a peer"))
            .help("name the cluster nodes' own addresses"));
    }
    refuse_special(text, net, |special| special.contains(&net) || net.contains(special))?;
    let (least_bits, family) = match net {
        IpNet::V4(_) => (MIN_PEER_PREFIX_V4_BITS, "IPv4"),
        IpNet::V6(_) => (MIN_PEER_PREFIX_V6_BITS, "IPv6"),
    };
    if net.prefix_len() < least_bits {
        return Err(ValueError::new(format!(
            "{text:?} is too wide for a peer; expected a prefix of /{least_bits} or longer for {family}"
        ))
        .help("name the cluster nodes' own addresses, or their network"));
    }
    Ok(())
}

/// Reads a source that a rule lets in besides its access. As wide as wanted, but not everything.
pub fn parse_allowed(text: &str) -> Result<IpNet, ValueError> {
    parse_part(text, ValueError::new(format!("{text:?} would let everyone in; use access = \"public\"")))
}

/// Reads a source to block: anything but everything, and but what no genuine packet comes from.
pub fn parse_blocked(text: &str) -> Result<IpNet, ValueError> {
    let everyone = ValueError::new(format!("{text:?} would block everyone"));
    parse_part(text, everyone.help("to close ports to everyone, use rules with access = \"closed\""))
}

/// Reads a bound for learnt peers.
pub fn parse_bound(text: &str) -> Result<IpNet, ValueError> {
    let everyone = ValueError::new(format!("{text:?} bounds nothing"));
    parse_part(text, everyone.help("name the networks in which the cluster's nodes are"))
}

/// Reads a prefix of any width but all addresses, for which `everyone` is the refusal.
fn parse_part(text: &str, everyone: ValueError) -> Result<IpNet, ValueError> {
    let net = parse_prefix(text)?;
    if net.prefix_len() == 0 {
        return Err(everyone);
    }
    refuse_special(text, net, |special| special.contains(&net))?;
    Ok(net)
}

fn refuse_special(text: &str, net: IpNet, meets: impl Fn(&IpNet) -> bool) -> Result<(), ValueError> {
    let Some((range, why)) = SPECIAL.iter().find(|(range, _)| meets(range)) else {
        return Ok(());
    };
    let message = if range.contains(&net) {
        format!("{text:?} is refused: {why}")
    } else {
        format!("{text:?} is refused because it holds {}: {why}", show(range))
    };
    let help = mapped_v4(&net).map(|inner| format!("write the IPv4 form: \"{}\"", show(&inner)));
    Err(ValueError { message, help, denied: false })
}

/// The IPv4 prefix inside an IPv4-mapped IPv6 one.
fn mapped_v4(net: &IpNet) -> Option<IpNet> {
    let IpNet::V6(net) = net else { return None };
    let address = net.addr().to_ipv4_mapped()?;
    let bits = net.prefix_len().checked_sub(96)?;
    Ipv4Net::new(address, bits).ok().map(IpNet::V4)
}

/// A prefix as an operator writes it: a full-length one as a plain address.
pub fn show(net: &IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() }
}

/// An address that a host may have.
pub(super) fn host_address(text: &str) -> Result<IpAddr, ValueError> {
    let Ok(address) = text.parse::<IpAddr>() else {
        return Err(ValueError::new(format!("{text:?} is not an address; expected such as \"52.5.224.56\""))
            .help("names are not looked up here, and a prefix is nobody's address"));
    };
    check_peer(IpNet::from(address))
        .map_err(|_| ValueError::new(format!("\"{}\" is no host's address", show(&IpNet::from(address)))))?;
    Ok(address)
}
