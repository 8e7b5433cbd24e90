//! The nat table as `iptables-save` and its kin write it -> [`Table`]. Knows iptables' options; must not judge packets.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;

use super::rule::{Condition, Home, Place, Question, Rule, SourceNat, Table, Target};
use crate::net::{
    iptables::{self, split_words},
    ports::parse_ports,
};
use nodewall_policy::config::Protocol;

/// The rules of one tool, if it has any. `unread` gets what could not be read.
pub(super) fn table(tool: &str, text: &str, unread: &mut Vec<String>) -> Option<Table> {
    let command = tool.strip_suffix("-save").unwrap_or(tool).to_owned();
    let (mut chains, mut order) = (BTreeMap::<String, Vec<Rule>>::new(), Vec::new());
    for line in iptables::lines(text, "nat") {
        let words = split_words(line);
        let Some(chain) = words.get(1).cloned() else { continue };
        let rules = chains.entry(chain.clone()).or_insert_with(|| {
            order.push(chain.clone());
            Vec::new()
        });
        let shown = format!("{tool}: {line}");
        let mut rule = rule(&words, shown, unread);
        let mut protocols =
            rule.conditions.iter().filter(|condition| matches!(condition.question, Question::Protocols(_)));
        let (for_protocol, leaves_room) = protocols.next().map_or((false, true), |named| (true, !named.negated));
        let conditions = leaves_room.then(|| conditions_of(line, &chain).to_owned());
        rule.place =
            Place::Iptables { command: command.clone(), chain, number: rules.len() + 1, conditions, for_protocol };
        rules.push(rule);
    }
    let entries = vec!["POSTROUTING".to_owned()];
    let only_v6 = Some(command.starts_with("ip6"));
    (!order.is_empty()).then_some(Table { home: Home::Iptables(command), only_v6, entries, chains, order })
}

/// What stands between the chain and the target.
fn conditions_of<'l>(line: &'l str, chain: &str) -> &'l str {
    let behind = line.strip_prefix("-A ").and_then(|line| line.strip_prefix(chain)).unwrap_or_default();
    [" -j ", " -g "]
        .iter()
        .find_map(|target| behind.rfind(target))
        .map_or("", |at| behind.get(..at).unwrap_or(""))
        .trim()
}

fn rule(words: &[String], shown: String, unread: &mut Vec<String>) -> Rule {
    let nowhere = Place::Nft { chain: String::new(), handle: 0, conditions: None, for_protocol: false };
    let mut rule = Rule { conditions: Vec::new(), unread: Vec::new(), target: Target::Continue, shown, place: nowhere };
    let (mut words, mut negated) = (words.iter().skip(2).map(String::as_str), false);
    while let Some(option) = words.next() {
        match option {
            "!" => {
                negated = true;
                continue;
            }
            // Options behind the target are the target's.
            "-j" | "--jump" => {
                let name = words.next().unwrap_or_default();
                rule.target = target(name, &words.collect::<Vec<_>>(), &rule.shown, unread);
                break;
            }
            "-g" | "--goto" => {
                rule.target = Target::Goto(words.next().unwrap_or_default().to_owned());
                break;
            }
            "-m" | "--match" => {
                let plain = ["tcp", "udp", "multiport", "comment", "mark"];
                rule.unread.extend(words.next().filter(|name| !plain.contains(name)).map(str::to_owned));
            }
            "--comment" => drop(words.next()),
            _ if !READ.contains(&option) => {
                rule.unread.extend(negated.then(|| "!".to_owned()));
                rule.unread.push(option.to_owned());
            }
            _ => {
                let told = words.next().unwrap_or_default();
                match question(option, told) {
                    Some(question) => rule.conditions.push(Condition { question, negated }),
                    None => rule.unread.push(format!("{option} {told}")),
                }
            }
        }
        negated = false;
    }
    rule
}

/// Options with one word behind them that [`question`] reads. What another one is told is taken for a further option.
const READ: [&str; 15] = [
    "-s",
    "--source",
    "-d",
    "--destination",
    "-o",
    "--out-interface",
    "-i",
    "--in-interface",
    "-p",
    "--protocol",
    "--dport",
    "--destination-port",
    "--dports",
    "--destination-ports",
    "--mark",
];

/// A question that can be read.
fn question(option: &str, told: &str) -> Option<Question> {
    let net = || told.parse::<IpNet>().ok().or_else(|| told.parse::<IpAddr>().ok().map(IpNet::from));
    Some(match option {
        "-s" | "--source" => Question::Source(vec![net()?]),
        "-d" | "--destination" => Question::Destination(vec![net()?]),
        "-o" | "--out-interface" => Question::LeavesBy(vec![told.to_owned()]),
        "-i" | "--in-interface" => Question::Arrived,
        "-p" | "--protocol" => match told {
            "tcp" | "6" => Question::Protocols(vec![Protocol::Tcp]),
            "udp" | "17" => Question::Protocols(vec![Protocol::Udp]),
            _ => Question::Protocols(Vec::new()),
        },
        "--dport" | "--destination-port" | "--dports" | "--destination-ports" => {
            Question::DestinationPorts(parse_ports(told)?)
        }
        "--mark" => {
            let number = |text: &str| match text.strip_prefix("0x") {
                Some(digits) => u32::from_str_radix(digits, 16).ok(),
                None => text.parse().ok(),
            };
            Question::Mark(number(told.split_once('/').map_or(told, |(value, _mask)| value))?)
        }
        _ => return None,
    })
}

fn target(name: &str, options: &[&str], shown: &str, unread: &mut Vec<String>) -> Target {
    match name {
        "MASQUERADE" | "SNAT" => source_nat(options, shown, unread).map_or(Target::Unread, Target::SourceNat),
        // A packet that is dropped or rejected here does not leave at all.
        "ACCEPT" | "DROP" | "REJECT" => Target::Accept,
        "RETURN" => Target::Return,
        "LOG" | "NFLOG" | "MARK" | "CONNMARK" | "TRACE" => Target::Continue,
        "NETMAP" | "NFQUEUE" | "QUEUE" | "SET" => Target::Unread,
        chain => Target::Jump(chain.to_owned()),
    }
}

/// `None`: it names what cannot be read.
fn source_nat(options: &[&str], shown: &str, unread: &mut Vec<String>) -> Option<SourceNat> {
    let (mut nat, mut random) = (SourceNat::default(), false);
    let mut words = options.iter().copied();
    while let Some(option) = words.next() {
        let ports = match option {
            "--to-ports" => words.next(),
            // 192.0.2.1-192.0.2.4:1024-65535, [2001:db8::1]:6000-6100, or addresses alone.
            "--to-source" => {
                let (addresses, ports) = split_source(words.next().unwrap_or_default());
                nat.addresses = addresses.or(nat.addresses);
                ports
            }
            flag => {
                random |= matches!(flag, "--random" | "--random-fully");
                nat.flags.push(flag.to_owned());
                None
            }
        };
        let Some(text) = ports else { continue };
        // `1024-65535/7` would be an offset for port shifting; the range is what comes first.
        let ports = parse_ports(text.split('/').next().unwrap_or(text)).filter(|ports| !ports.is_empty());
        if ports.is_none() {
            unread.push(format!("ports {text:?} of {shown}"));
            return None;
        }
        nat.ports = ports;
    }
    if random && nat.ports.is_none() {
        nat.ports = Some(super::any_port());
    }
    Some(nat)
}

/// First and last address, and the ports.
fn split_source(to: &str) -> (Option<(IpAddr, IpAddr)>, Option<&str>) {
    let (addresses, ports) = match to.rsplit_once(']') {
        Some((addresses, behind)) => (addresses.trim_start_matches('['), behind.strip_prefix(':')),
        None if to.matches(':').count() == 1 => to.split_once(':').map_or((to, None), |(a, ports)| (a, Some(ports))),
        None => (to, None),
    };
    let (first, last) = addresses.split_once('-').unwrap_or((addresses, addresses));
    let address = |text: &str| text.trim_matches(['[', ']']).parse().ok();
    (address(first).zip(address(last)), ports)
}
