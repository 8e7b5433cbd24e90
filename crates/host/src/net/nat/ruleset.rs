//! The chains of `nft -j list ruleset` that see what leaves -> [`Table`]. Knows nftables' JSON; must not judge packets.

use std::{collections::BTreeMap, net::IpAddr};

use serde_json::Value;

use super::rule::{Condition, Home, Place, Question, Rule, SourceNat, Table, Target};
use crate::net::nft::{self, Left, left, net};
use nodewall_policy::config::Protocol;

/// One table for each of nftables'. `told_elsewhere`: tables (family, name) whose iptables rules another tool lists better.
pub(super) fn tables(json: &str, told_elsewhere: &[(&str, String)], unread: &mut Vec<String>) -> Vec<Table> {
    let (rules, chains) = match (nft::objects(json, "rule"), nft::objects(json, "chain")) {
        (Ok(rules), Ok(chains)) => (rules, chains),
        (Err(error), _) | (_, Err(error)) => {
            unread.push(error);
            return Vec::new();
        }
    };
    let of = |object: &Value| (nft::text(object, "family").to_owned(), nft::text(object, "table").to_owned());
    let mut found: BTreeMap<(String, String), Table> = BTreeMap::new();
    let mut names = Vec::new();
    for rule in &rules {
        let (family, table) = of(rule);
        let foreign = || nft::statements(rule).any(|statement| statement.get("xt").is_some());
        if told_elsewhere.iter().any(|(f, t)| (*f, t) == (&*family, &table)) && foreign() {
            continue;
        }
        let chain = nft::text(rule, "chain").to_owned();
        if !names.contains(&(family.clone(), table.clone())) {
            names.push((family.clone(), table.clone()));
        }
        let only_v6 = match family.as_str() {
            "ip" => Some(false),
            "ip6" => Some(true),
            _ => None,
        };
        let table = found.entry((family, table)).or_insert_with(|| Table {
            home: Home::Nft,
            only_v6,
            entries: Vec::new(),
            chains: BTreeMap::new(),
            order: Vec::new(),
        });
        let name = chain_name(rule, &chain);
        if !table.chains.contains_key(&name) {
            table.order.push(name.clone());
        }
        let read = read(rule, &name, unread);
        table.chains.entry(name).or_default().push(read);
    }
    let mut entries: Vec<(i64, &Value)> = chains
        .iter()
        .filter(|chain| nft::text(chain, "hook") == "postrouting" && nft::text(chain, "type") == "nat")
        .map(|chain| (chain.get("prio").and_then(Value::as_i64).unwrap_or(100), chain))
        .collect();
    entries.sort_by_key(|(priority, _)| *priority);
    for (_, chain) in entries {
        if let Some(table) = found.get_mut(&of(chain)) {
            table.entries.push(chain_name(chain, nft::text(chain, "name")));
        }
    }
    names.iter().filter_map(|name| found.remove(name)).collect()
}

/// Family, table and chain: as `nft` takes them.
fn chain_name(object: &Value, chain: &str) -> String {
    format!("{} {} {chain}", nft::text(object, "family"), nft::text(object, "table"))
}

fn read(rule: &Value, chain: &str, unread: &mut Vec<String>) -> Rule {
    let handle = rule.get("handle").and_then(Value::as_u64).unwrap_or(0);
    let (mut conditions, mut words) = (Vec::new(), Some(Vec::new()));
    let (mut unread_words, mut target, mut verb) = (Vec::new(), Target::Continue, "");
    for statement in nft::statements(rule) {
        let nat = ["masquerade", "snat"].into_iter().find_map(|verb| Some((verb, statement.get(verb)?)));
        let jump = |key: &str| Some(statement.get(key)?.get("target")?.as_str()?.to_owned());
        let table = chain.rsplit_once(' ').map_or(chain, |(table, _)| table);
        if let Some(condition) = statement.get("match") {
            let read = question(condition);
            unread_words.extend(read.is_none().then(|| condition.to_string()));
            conditions.extend(read);
            words = words.zip(text(condition)).map(|(mut words, text)| {
                words.push(text);
                words
            });
        } else if let Some((name, nat)) = nat {
            verb = name;
            let name = format!("nft {chain} handle {handle}: {verb}");
            target = source_nat(nat, &name, unread).map_or(Target::Unread, Target::SourceNat);
        } else if statement.get("accept").is_some() || statement.get("drop").is_some() {
            target = Target::Accept;
        } else if statement.get("return").is_some() {
            target = Target::Return;
        } else if let Some(to) = jump("jump") {
            target = Target::Jump(format!("{table} {to}"));
        } else if let Some(to) = jump("goto") {
            target = Target::Goto(format!("{table} {to}"));
        } else if let Some(foreign) = statement.get("xt") {
            // Of a tool that is not there to say more.
            let name = nft::text(foreign, "name");
            if matches!(name, "MASQUERADE" | "SNAT") {
                unread.push(format!("nft {chain} handle {handle}: iptables' {name}"));
                target = Target::Unread;
            } else {
                unread_words.push(foreign.to_string());
                words = None;
            }
        } else if !["counter", "log", "mangle", "limit"].iter().any(|plain| statement.get(plain).is_some()) {
            unread_words.push(statement.to_string());
            words = None;
        }
    }
    let random =
        matches!(&target, Target::SourceNat(nat) if !nat.flags.is_empty() && nat.ports == Some(super::any_port()));
    let shown = format!("nft {chain} handle {handle}: {verb}{}", if random { " random" } else { "" });
    let asks_for = |condition: &Condition| match &condition.question {
        Question::Protocols(named) => !named.is_empty() && !condition.negated,
        Question::DestinationPorts(_) => true,
        _ => false,
    };
    let for_protocol = conditions.iter().any(asks_for);
    let conditions_text = words.map(|words| words.join(" "));
    let place = Place::Nft { chain: chain.to_owned(), handle, conditions: conditions_text, for_protocol };
    Rule { conditions, unread: unread_words, target, shown, place }
}

/// `masquerade` or `snat`. `None`: to what cannot be read.
fn source_nat(nat: &Value, name: &str, unread: &mut Vec<String>) -> Option<SourceNat> {
    let flags: Vec<String> = match nat.get("flags") {
        Some(Value::Array(flags)) => flags.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Some(Value::String(flag)) => vec![flag.clone()],
        _ => Vec::new(),
    };
    let ports = match nat.get("port").map(|expression| (nft::ports(expression), expression)) {
        Some((Some(ports), _)) => Some(ports),
        Some((None, expression)) => {
            unread.push(format!("{name} to ports that could not be read: {expression}"));
            return None;
        }
        None if flags.iter().any(|flag| flag.ends_with("random")) => Some(super::any_port()),
        None => None,
    };
    let address = |value: &Value| value.as_str()?.parse::<IpAddr>().ok();
    let addresses = match nat.get("addr") {
        None => None,
        Some(to) => {
            let range = to.get("range").and_then(Value::as_array).map(Vec::as_slice);
            match range {
                Some([first, last]) => address(first).zip(address(last)),
                _ => address(to).map(|one| (one, one)),
            }
        }
    };
    if nat.get("addr").is_some() && addresses.is_none() {
        unread.push(format!("{name} to addresses that could not be read"));
        return None;
    }
    Some(SourceNat { addresses, ports, flags })
}

/// A condition that can be read.
fn question(condition: &Value) -> Option<Condition> {
    let negated = match nft::text(condition, "op") {
        "==" | "in" => false,
        "!=" => true,
        _ => return None,
    };
    let right = condition.get("right")?;
    let each = || right.get("set").and_then(Value::as_array).map_or_else(|| vec![right], |set| set.iter().collect());
    let nets = || each().into_iter().map(net).collect::<Option<Vec<_>>>();
    let names = || each().into_iter().map(|name| name.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>();
    let question = match left(condition)? {
        Left::Payload("ip" | "ip6", "saddr") => Question::Source(nets()?),
        Left::Payload("ip" | "ip6", "daddr") => Question::Destination(nets()?),
        Left::Meta("oifname" | "oif") => Question::LeavesBy(names()?),
        Left::Meta("iifname" | "iif") => Question::Arrived,
        Left::Payload("ip", "protocol") | Left::Payload("ip6", "nexthdr") | Left::Meta("l4proto") => {
            let known = |name: &String| match name.as_str() {
                "tcp" => Some(Protocol::Tcp),
                "udp" => Some(Protocol::Udp),
                _ => None,
            };
            Question::Protocols(names()?.iter().filter_map(known).collect())
        }
        Left::Payload("tcp" | "th", "dport") => Question::DestinationPorts(nft::ports(right)?),
        Left::Payload("udp", _) => Question::Protocols(vec![Protocol::Udp]),
        Left::Meta("nfproto") => Question::IsV6(right.as_str()? == "ipv6"),
        Left::Meta("mark") => Question::Mark(u32::try_from(right.as_u64()?).ok()?),
        _ => return None,
    };
    Some(Condition { question, negated })
}

/// The condition as `nft` takes it. `None`: it is of a kind that is not written here.
fn text(condition: &Value) -> Option<String> {
    let (left, quoted) = match left(condition)? {
        Left::Payload(protocol, field) => (format!("{protocol} {field}"), false),
        Left::Meta(key @ ("oifname" | "iifname" | "oif" | "iif")) => (key.to_owned(), true),
        Left::Meta(key @ ("l4proto" | "nfproto")) => (format!("meta {key}"), false),
        Left::Meta(_) => return None,
    };
    let operator = match nft::text(condition, "op") {
        "==" | "in" => "",
        "!=" => "!= ",
        _ => return None,
    };
    Some(format!("{left} {operator}{}", value_text(condition.get("right")?, quoted)?))
}

fn value_text(value: &Value, quoted: bool) -> Option<String> {
    let list = |values: &[Value]| values.iter().map(|value| value_text(value, quoted)).collect::<Option<Vec<_>>>();
    if let Some(set) = value.get("set").and_then(Value::as_array) {
        return Some(format!("{{ {} }}", list(set)?.join(", ")));
    }
    if let Some(range) = value.get("range").and_then(Value::as_array) {
        return Some(list(range)?.join("-"));
    }
    if value.get("prefix").is_some() {
        return net(value).map(|net| net.to_string());
    }
    match value {
        Value::String(text) if quoted => Some(format!("\"{text}\"")),
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
