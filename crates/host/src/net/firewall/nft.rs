//! The output of `nft -j list ruleset` (libnftables-json(5)) -> tables. Knows nftables' expressions; must not judge packets.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use super::rule::{End, Rule, Table, Target, Test, What};
use crate::net::sockets::Transport;

/// Elements of named sets, by table and set.
type Sets = BTreeMap<(String, String), Vec<Value>>;

/// The tables for IP, but those that `known` says are known already (family, name); and what could not be read.
pub(super) fn parse(json: &str, known: impl Fn(&str, &str) -> bool) -> Result<(Vec<Table>, Vec<String>), String> {
    let parsed: Value = serde_json::from_str(json).map_err(|e| format!("nft -j list ruleset: not JSON: {e}"))?;
    let objects = || parsed.get("nftables").and_then(Value::as_array).into_iter().flatten();
    let mut tables: BTreeMap<(String, String), Table> = BTreeMap::new();
    let (mut sets, mut unread) = (Sets::new(), Vec::new());
    for set in objects().filter_map(|object| object.get("set")) {
        let elements = set.get("elem").and_then(Value::as_array).cloned().unwrap_or_default();
        sets.insert((table_key(set), text(set, "name")), elements);
    }
    for object in objects() {
        let Some(kind) = object.get("chain").or_else(|| object.get("rule")) else { continue };
        let (family, name) = (text(kind, "family"), text(kind, "table"));
        let is_chain = object.get("chain").is_some();
        if !matches!(family.as_str(), "ip" | "ip6" | "inet") {
            if is_chain && family == "netdev" {
                unread.push(format!("nft netdev {name} {}: a chain at an interface, before IP", text(kind, "name")));
            }
            continue;
        }
        if known(&family, &name) {
            continue;
        }
        let table = tables.entry((family.clone(), name.clone())).or_insert_with(|| Table {
            name: name.clone(),
            only_version4: match family.as_str() {
                "ip" => Some(true),
                "ip6" => Some(false),
                _ => None,
            },
            ..Table::default()
        });
        if is_chain {
            add_chain(table, &family, kind);
        } else {
            let rule = rule_from(kind, &sets);
            table.chains.entry(text(kind, "chain")).or_default().rules.push(rule);
        }
    }
    Ok((tables.into_values().collect(), unread))
}

fn text(object: &Value, key: &str) -> String {
    object.get(key).and_then(Value::as_str).unwrap_or("?").to_owned()
}

fn table_key(object: &Value) -> String {
    format!("{} {}", text(object, "family"), text(object, "table"))
}

fn add_chain(table: &mut Table, family: &str, chain: &Value) {
    let name = text(chain, "name");
    let hooks = match chain.get("hook").and_then(Value::as_str) {
        Some("prerouting") => Some(&mut table.prerouting),
        Some("input") => Some(&mut table.input),
        _ => None,
    };
    if let Some(hooks) = hooks {
        hooks.push(name.clone());
    }
    let refuses = chain.get("policy").and_then(Value::as_str) == Some("drop");
    let shown = format!("nft {family} {} {name}", table.name);
    let known = table.chains.entry(name).or_default();
    (known.name, known.refuses) = (shown, refuses);
}

fn rule_from(object: &Value, sets: &Sets) -> Rule {
    let handle = object.get("handle").and_then(Value::as_u64).unwrap_or(0);
    let name = format!("nft {} {} handle {handle}", table_key(object), text(object, "chain"));
    let mut rule = Rule { tests: Vec::new(), partly_read: false, target: Target::Continue, text: name };
    let mut unread: Vec<String> = Vec::new();
    for statement in object.get("expr").and_then(Value::as_array).into_iter().flatten() {
        let Some((verb, value)) = statement.as_object().and_then(|object| object.iter().next()) else { continue };
        match verb.as_str() {
            "match" => match tests(value, &table_key(object), sets) {
                Some(tests) => rule.tests.extend(tests),
                None => unread.push(statement.to_string()),
            },
            "accept" => rule.target = Target::End(End::Accept),
            "drop" | "reject" => rule.target = Target::End(End::Refuse),
            "return" => rule.target = Target::Return,
            "jump" => rule.target = Target::Jump(text(value, "target")),
            "goto" => rule.target = Target::Goto(text(value, "target")),
            "redirect" => {
                let port = value.get("port").map(|port| port.as_u64().and_then(|port| u16::try_from(port).ok()));
                rule.target = match port {
                    None => Target::End(End::Accept),
                    Some(Some(port)) => Target::End(End::Port(port)),
                    Some(None) => Target::Unread,
                };
            }
            "dnat" => rule.target = Target::End(End::Elsewhere),
            "counter" | "log" | "comment" | "mangle" | "notrack" | "ct helper" | "meter" | "masquerade" | "snat" => {}
            _ => {
                unread.push(statement.to_string());
                // It could decide by itself, as a verdict map does.
                if matches!(verb.as_str(), "vmap" | "xt" | "queue" | "tproxy" | "synproxy" | "fwd") {
                    rule.target = Target::Unread;
                }
            }
        }
    }
    if !unread.is_empty() {
        rule.partly_read = true;
        rule.text = format!("{}: {}", rule.text, unread.join(" "));
    }
    rule
}

/// The conditions of one match statement; nothing when it could not be read.
fn tests(statement: &Value, table: &str, sets: &Sets) -> Option<Vec<Test>> {
    let (left, right) = (statement.get("left")?, statement.get("right")?);
    let not = match statement.get("op")?.as_str()? {
        "==" | "in" => false,
        "!=" => true,
        _ => return None,
    };
    let elements = elements(right, table, sets)?;
    let test = |what| Test { not, what };
    let always = |what| Test { not: false, what };
    let words = || elements.iter().map(|element| Some(element.as_str()?.to_owned())).collect::<Option<Vec<_>>>();
    if let Some(payload) = left.get("payload") {
        let (protocol, field) = (text(payload, "protocol"), text(payload, "field"));
        return match (protocol.as_str(), field.as_str()) {
            ("tcp" | "udp" | "th", "dport") => {
                let ports = elements.iter().map(ports).collect::<Option<_>>()?;
                let mut tests = vec![test(What::Ports(ports))];
                tests.extend((protocol != "th").then(|| always(What::Transports(transports(&[protocol])))));
                Some(tests)
            }
            ("ip" | "ip6", "saddr") => {
                let nets = elements.iter().map(net).collect::<Option<_>>()?;
                Some(vec![always(What::Version4(protocol == "ip")), test(What::Sources(nets))])
            }
            ("ip", "protocol") | ("ip6", "nexthdr") => {
                Some(vec![always(What::Version4(protocol == "ip")), test(What::Transports(transports(&words()?)))])
            }
            _ => None,
        };
    }
    if let Some(meta) = left.get("meta") {
        return match text(meta, "key").as_str() {
            "l4proto" => Some(vec![test(What::Transports(transports(&words()?)))]),
            "iifname" | "iif" => Some(vec![test(What::Interfaces(words()?))]),
            "nfproto" => match words()?.as_slice() {
                [one] => Some(vec![test(What::Version4(one == "ipv4"))]),
                _ => None,
            },
            _ => None,
        };
    }
    if left.get("ct").is_some_and(|ct| text(ct, "key") == "state") {
        return Some(vec![test(What::Constant(words()?.iter().any(|state| state == "new")))]);
    }
    None
}

/// The right side as a list: one value, a set, a list, or a named set.
fn elements(right: &Value, table: &str, sets: &Sets) -> Option<Vec<Value>> {
    let plain = |element: &Value| element.get("elem").and_then(|e| e.get("val")).unwrap_or(element).clone();
    if let Some(name) = right.as_str().and_then(|name| name.strip_prefix('@')) {
        return sets.get(&(table.to_owned(), name.to_owned())).map(|set| set.iter().map(plain).collect());
    }
    if let Some(list) = right.get("set").unwrap_or(right).as_array() {
        return Some(list.iter().map(plain).collect());
    }
    Some(vec![right.clone()])
}

fn ports(element: &Value) -> Option<(u16, u16)> {
    let port = |value: &Value| value.as_u64().and_then(|port| u16::try_from(port).ok());
    match element.get("range").and_then(Value::as_array).map(Vec::as_slice) {
        Some([first, last]) => port(first).zip(port(last)),
        Some(_) => None,
        None => port(element).map(|port| (port, port)),
    }
}

fn net(element: &Value) -> Option<IpNet> {
    if let Some(prefix) = element.get("prefix") {
        let bits = u8::try_from(prefix.get("len")?.as_u64()?).ok()?;
        return IpNet::new(prefix.get("addr")?.as_str()?.parse().ok()?, bits).ok();
    }
    element.as_str()?.parse::<IpAddr>().ok().map(IpNet::from)
}

/// Those of the protocols that have ports here; any other is neither.
fn transports(names: &[String]) -> Vec<Transport> {
    let one = |name: &String| match name.as_str() {
        "tcp" => Some(Transport::Tcp),
        "udp" => Some(Transport::Udp),
        _ => None,
    };
    names.iter().filter_map(one).collect()
}
