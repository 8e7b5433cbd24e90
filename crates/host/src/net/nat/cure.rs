//! The lines that make a source NAT rule harmless, as a shell takes them. It must not judge rules.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;

use super::rule::{Home, Place, SourceNat};
use nodewall_policy::config::{PortRange, show};

/// The lines after which the rule at `place` hands out ports of `free` alone. Protocols without ports it treats as before. None: the rule's own
/// conditions cannot be written down.
pub(super) fn ports(place: &Place, nat: &SourceNat, free: PortRange) -> Vec<String> {
    match place {
        Place::Iptables { command, chain, number, conditions, for_protocol } => {
            let (Some(conditions), Some(to)) = (conditions, iptables_target(nat, free)) else { return Vec::new() };
            let line = |verb: &str, protocol: &str| {
                let words = [command, "-t nat", verb, chain, &number.to_string(), protocol, conditions, &to];
                words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
            };
            if *for_protocol {
                vec![line("-R", "")]
            } else {
                ["-p tcp", "-p udp"].map(|protocol| line("-I", protocol)).into()
            }
        }
        Place::Nft { chain, handle, conditions, for_protocol } => {
            let Some(conditions) = conditions else { return Vec::new() };
            let (verb, protocol) =
                if *for_protocol { ("replace", "") } else { ("insert", "meta l4proto { tcp, udp }") };
            let to = nft_target(nat, free);
            let place = format!("{verb} rule {chain} handle {handle}");
            let words = [place.as_str(), conditions, protocol, &to];
            let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
            vec![format!("nft '{}'", words.join(" "))]
        }
    }
}

/// The line after which what this host sends from these addresses to those leaves as it is. `entry`: the chain that the kernel calls.
pub(super) fn spare(home: &Home, entry: &str, sources: &BTreeSet<IpAddr>, to: &BTreeSet<IpNet>) -> String {
    let sources: Vec<String> = sources.iter().map(ToString::to_string).collect();
    let is_v6 = to.iter().any(|net| net.addr().is_ipv6());
    let to: Vec<String> = to.iter().map(show).collect();
    match home {
        Home::Iptables(command) => {
            format!("{command} -t nat -I {entry} 1 -s {} -d {} -j ACCEPT", sources.join(","), to.join(","))
        }
        Home::Nft => {
            let ip = if is_v6 { "ip6" } else { "ip" };
            let set = |all: Vec<String>| format!("{{ {} }}", all.join(", "));
            format!("nft 'insert rule {entry} {ip} saddr {} {ip} daddr {} accept'", set(sources), set(to))
        }
    }
}

fn iptables_target(nat: &SourceNat, free: PortRange) -> Option<String> {
    let flags: String = nat.flags.iter().map(|flag| format!(" {flag}")).collect();
    let to = match nat.addresses {
        None => format!("-j MASQUERADE --to-ports {free}"),
        Some((first, last)) if first.is_ipv4() && first == last => format!("-j SNAT --to-source {first}:{free}"),
        Some((first, last)) if first.is_ipv4() => format!("-j SNAT --to-source {first}-{last}:{free}"),
        Some((first, last)) if first == last => format!("-j SNAT --to-source [{first}]:{free}"),
        // How a range of these goes together with ports has changed.
        Some(_) => return None,
    };
    Some(to + &flags)
}

fn nft_target(nat: &SourceNat, free: PortRange) -> String {
    let flags = if nat.flags.is_empty() { String::new() } else { format!(" {}", nat.flags.join(",")) };
    let one = |address: IpAddr| if address.is_ipv6() { format!("[{address}]") } else { address.to_string() };
    let to = match nat.addresses {
        None => return format!("masquerade to :{free}{flags}"),
        Some((first, last)) if first == last => one(first),
        Some((first, last)) => format!("{}-{}", one(first), one(last)),
    };
    let family = if nat.addresses.is_some_and(|(first, _)| first.is_ipv6()) { "ip6" } else { "ip" };
    format!("snat {family} to {to}:{free}{flags}")
}
