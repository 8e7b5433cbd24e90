//! The text of `iptables-save` and `ip6tables-save` -> tables. Knows iptables' options; must not judge packets.

use std::net::IpAddr;
use std::slice::Iter;

use ipnet::IpNet;

use super::rule::{Chain, End, Rule, Table, Target, Test, What};
use crate::net::nat::split_words;
use crate::net::ranges;
use crate::net::sockets::Transport;

/// Whether the tool that wrote this keeps its rules in nftables' tables (iptables-nft), where `nft` shows them as well.
pub(super) fn is_nft_backed(text: &str) -> bool {
    text.lines().filter(|line| line.starts_with('#')).any(|line| line.contains("(nf_tables)"))
}

/// All tables. `tool` goes before each rule's text and tells the family.
pub(super) fn parse(tool: &str, text: &str) -> Vec<Table> {
    let mut tables: Vec<Table> = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('*') {
            tables.push(Table {
                name: name.to_owned(),
                only_version4: Some(!tool.starts_with("ip6")),
                prerouting: vec!["PREROUTING".to_owned()],
                input: vec!["INPUT".to_owned()],
                ..Table::default()
            });
            continue;
        }
        let Some(table) = tables.last_mut() else { continue };
        if let Some(chain) = line.strip_prefix(':') {
            let mut words = chain.split_whitespace();
            let (Some(name), policy) = (words.next(), words.next()) else { continue };
            let shown = format!("{tool}: *{} {name}", table.name);
            let chain = Chain { name: shown, rules: Vec::new(), refuses: policy == Some("DROP") };
            table.chains.insert(name.to_owned(), chain);
        } else if let Some(rule) = line.strip_prefix("-A ") {
            let words = split_words(rule);
            let Some((name, options)) = words.split_first() else { continue };
            let rule = rule_from(options, format!("{tool}: {line}"));
            table.chains.entry(name.clone()).or_default().rules.push(rule);
        }
    }
    tables
}

fn rule_from(options: &[String], text: String) -> Rule {
    let mut rule = Rule { tests: Vec::new(), partly_read: false, target: Target::Continue, text };
    let (mut words, mut not) = (options.iter(), false);
    while let Some(option) = words.next() {
        if option == "!" {
            not = true;
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
                let plain = ["tcp", "udp", "multiport", "comment", "conntrack", "state"];
                rule.partly_read |= !words.next().is_some_and(|name| plain.contains(&name.as_str()));
            }
            "--comment" => drop(words.next()),
            _ => match condition(option, &mut words) {
                Some(what) => rule.tests.push(Test { not, what }),
                None => rule.partly_read = true,
            },
        }
        not = false;
    }
    rule
}

/// A condition that can be read; takes its argument from `words`.
fn condition(option: &str, words: &mut Iter<'_, String>) -> Option<What> {
    match option {
        "-p" | "--protocol" => Some(protocol(words.next()?)),
        "-s" | "--source" => Some(What::Sources(vec![net(words.next()?)?])),
        "-i" | "--in-interface" => Some(What::Interfaces(vec![words.next()?.clone()])),
        "--dport" | "--destination-port" | "--dports" | "--destination-ports" => {
            let ports = words.next()?.split(',').map(ranges::parse_range);
            Some(What::Ports(ports.collect::<Option<_>>()?))
        }
        "--ctstate" | "--state" => {
            let states = words.next()?;
            // Of the virtual states it depends on NAT whether they hold.
            let known = ["NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED"];
            if !states.split(',').all(|state| known.contains(&state)) {
                return None;
            }
            Some(What::Constant(states.split(',').any(|state| state == "NEW")))
        }
        "--syn" => Some(What::Constant(true)),
        "--tcp-flags" => {
            let (mask, wanted) = (words.next()?, words.next()?);
            let looks_at_syn = mask == "ALL" || mask.split(',').any(|flag| flag == "SYN");
            Some(What::Constant(if looks_at_syn { wanted == "SYN" } else { wanted == "NONE" }))
        }
        _ => None,
    }
}

fn protocol(name: &str) -> What {
    match name {
        "tcp" | "6" => What::Transports(vec![Transport::Tcp]),
        "udp" | "17" => What::Transports(vec![Transport::Udp]),
        "all" | "0" => What::Constant(true),
        // Of another protocol, whichever: neither TCP nor UDP.
        _ => What::Transports(Vec::new()),
    }
}

fn net(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

fn target(name: &str, options: &mut Iter<'_, String>) -> Target {
    match name {
        "ACCEPT" => Target::End(End::Accept),
        "DROP" | "REJECT" => Target::End(End::Refuse),
        "RETURN" => Target::Return,
        "REDIRECT" => match port_behind("--to-ports", options) {
            Some(port) => Target::End(End::Port(port)),
            // To the same port of this host.
            None if options.len() == 0 => Target::End(End::Accept),
            None => Target::Unread,
        },
        "DNAT" => Target::End(End::Elsewhere),
        "LOG" | "NFLOG" | "ULOG" | "MARK" | "CONNMARK" | "CONNSECMARK" | "SECMARK" | "CT" | "NOTRACK" | "TRACE"
        | "AUDIT" | "CHECKSUM" | "CLASSIFY" | "TCPMSS" | "SET" | "TOS" | "DSCP" | "TTL" | "HL" => Target::Continue,
        "NFQUEUE" | "QUEUE" | "TPROXY" | "SYNPROXY" | "NETMAP" | "TEE" | "HMARK" | "CLUSTERIP" => Target::Unread,
        chain => Target::Jump(chain.to_owned()),
    }
}

/// One port behind the option; nothing for a range.
fn port_behind(option: &str, options: &mut Iter<'_, String>) -> Option<u16> {
    options.as_slice().windows(2).find_map(|pair| match pair {
        [name, port] if name == option => port.parse().ok(),
        _ => None,
    })
}
