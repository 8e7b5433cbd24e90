//! The text of `iptables-save` and `ip6tables-save` -> rules. Knows iptables' options; must not judge packets.

use std::net::IpAddr;
use std::slice::Iter;

use ipnet::IpNet;

use super::{
    listing::Listing,
    ports::parse_ports,
    rule::{Condition, Rule, Target},
};
use nodewall_policy::config::Protocol;

/// Whether the tool that wrote this keeps its rules in nftables' tables (iptables-nft), where `nft` shows them as well.
pub(super) fn is_nft_backed(text: &str) -> bool {
    text.lines().filter(|line| line.starts_with('#')).any(|line| line.contains("(nf_tables)"))
}

/// The tables of nftables that iptables keeps its rules in: family and name. `nft` shows them, too, and less clearly.
pub(super) fn own_tables(listings: &[Listing]) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    for listing in listings.iter().filter(|listing| listing.tool != "nft") {
        let Some(text) = listing.answer.as_deref().ok().filter(|text| is_nft_backed(text)) else { continue };
        let family = if listing.tool.starts_with("ip6") { "ip6" } else { "ip" };
        found.extend(text.lines().filter_map(|line| Some((family, line.strip_prefix('*')?.to_owned()))));
    }
    found
}

/// The lines of one table (`filter`, `nat`) that add a rule, from `-A` on.
pub(super) fn lines<'a>(text: &'a str, table: &'a str) -> impl Iterator<Item = &'a str> {
    let mut wanted = false;
    text.lines().map(str::trim).filter(move |line| {
        if let Some(name) = line.strip_prefix('*') {
            wanted = name == table;
        }
        wanted && line.starts_with("-A ")
    })
}

/// The rules of one table, in the tool's order.
pub(super) fn rules<'a>(text: &'a str, table: &'a str) -> impl Iterator<Item = Rule> + 'a {
    lines(text, table).filter_map(|line| rule(&split_words(line), line))
}

fn rule(words: &[String], shown: &str) -> Option<Rule> {
    let [_, chain, options @ ..] = words else { return None };
    let mut rule = Rule {
        chain: chain.clone(),
        conditions: Vec::new(),
        exceptions: Vec::new(),
        partly_read: false,
        target: Target::Continue,
        shown: shown.to_owned(),
    };
    let (mut words, mut negated) = (options.iter(), false);
    while let Some(option) = words.next() {
        if option == "!" {
            negated = true;
            continue;
        }
        match option.as_str() {
            // What stands behind the target is the target's.
            "-j" | "--jump" => {
                rule.target = words.next().map_or(Target::Unread, |name| target(name, &mut words));
                break;
            }
            "-g" | "--goto" => {
                rule.target = words.next().map_or(Target::Unread, |name| Target::Goto(name.clone()));
                break;
            }
            "-m" | "--match" => {
                let plain = ["tcp", "udp", "multiport", "comment", "conntrack", "state", "addrtype"];
                rule.partly_read |= !words.next().is_some_and(|name| plain.contains(&name.as_str()));
            }
            "--comment" => drop(words.next()),
            _ => match condition(option, &mut words) {
                Some(condition) if negated => rule.exceptions.push(condition),
                Some(condition) => rule.conditions.push(condition),
                None => rule.partly_read = true,
            },
        }
        negated = false;
    }
    Some(rule)
}

/// A condition that can be read; takes its argument from `words`.
fn condition(option: &str, words: &mut Iter<'_, String>) -> Option<Condition> {
    match option {
        "-p" | "--protocol" => Some(protocol(words.next()?)),
        "-s" | "--source" => Some(Condition::Sources(vec![net(words.next()?)?])),
        "-i" | "--in-interface" => Some(Condition::Interface(words.next()?.clone())),
        // `--ports` is either of the two. Whoever opens a connection has a port that nobody chose, so it is the destination's.
        "--dport" | "--destination-port" | "--dports" | "--destination-ports" | "--ports" => {
            Some(Condition::DestinationPorts(parse_ports(words.next()?)?))
        }
        "--ctstate" | "--state" => {
            let states = words.next()?;
            // The virtual states are those of what was sent to another address or port: not of what comes for a port as it is on the wire.
            let known = ["NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED", "DNAT", "SNAT"];
            if !states.split(',').all(|state| known.contains(&state)) {
                return None;
            }
            Some(Condition::Constant(states.split(',').any(|state| state == "NEW")))
        }
        "--src-type" => unicast(words.next()?).map(Condition::Constant),
        // Of what comes to this host.
        "--dst-type" => Some(Condition::Constant(words.next()?.split(',').any(|kind| kind == "LOCAL"))),
        "--syn" => Some(Condition::Constant(true)),
        "--tcp-flags" => {
            let (mask, wanted) = (words.next()?, words.next()?);
            let looks_at_syn = mask == "ALL" || mask.split(',').any(|flag| flag == "SYN");
            Some(Condition::Constant(if looks_at_syn { wanted == "SYN" } else { wanted == "NONE" }))
        }
        _ => None,
    }
}

/// Whether the address of another host is of one of these kinds (`LOCAL,UNICAST`): it is unicast, and never this host's own. `None`: its route decides.
fn unicast(kinds: &str) -> Option<bool> {
    let never = ["LOCAL", "BROADCAST", "ANYCAST", "MULTICAST", "UNSPEC"];
    match kinds.split(',').find(|kind| !never.contains(kind)) {
        None => Some(false),
        Some(_) => kinds.split(',').any(|kind| kind == "UNICAST").then_some(true),
    }
}

fn protocol(name: &str) -> Condition {
    match name {
        "tcp" | "6" => Condition::Protocols(vec![Protocol::Tcp]),
        "udp" | "17" => Condition::Protocols(vec![Protocol::Udp]),
        "all" | "0" => Condition::Constant(true),
        // Of another protocol, whichever: neither TCP nor UDP.
        _ => Condition::Protocols(Vec::new()),
    }
}

fn net(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

fn target(name: &str, options: &mut Iter<'_, String>) -> Target {
    match name {
        "ACCEPT" => Target::Accept,
        "DROP" | "REJECT" => Target::Refuse,
        "RETURN" => Target::Return,
        // To one port; a range, or the same port of this host, leads nowhere that can be named.
        "REDIRECT" => match options.as_slice() {
            [option, port, ..] if option == "--to-ports" => port.parse().map_or(Target::Unread, Target::Redirect),
            _ => Target::Unread,
        },
        "LOG" | "NFLOG" | "ULOG" | "MARK" | "CONNMARK" | "CONNSECMARK" | "SECMARK" | "CT" | "NOTRACK" | "TRACE"
        | "AUDIT" | "CHECKSUM" | "CLASSIFY" | "TCPMSS" | "SET" | "TOS" | "DSCP" | "TTL" | "HL" => Target::Continue,
        "DNAT" | "NFQUEUE" | "QUEUE" | "TPROXY" | "SYNPROXY" | "NETMAP" | "TEE" | "HMARK" | "CLUSTERIP" => {
            Target::Unread
        }
        chain => Target::Jump(chain.to_owned()),
    }
}

/// Words as iptables-save quotes them: double quotes around, backslash before a quote or a backslash.
pub(super) fn split_words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quoted, mut open) = (String::new(), false, false);
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => {
                quoted = !quoted;
                open = true;
            }
            '\\' if quoted => word.extend(letters.next()),
            ' ' if !quoted => {
                if open {
                    words.push(std::mem::take(&mut word));
                }
                open = false;
            }
            other => {
                word.push(other);
                open = true;
            }
        }
    }
    if open {
        words.push(word);
    }
    words
}
