//! Rules of `nft -j list ruleset` -> [`Rule`]. Knows nftables' JSON; must not judge packets.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    nft::{self, Left, left},
    rule::{Condition, Rule, Target},
};
use nodewall_policy::config::Protocol;

/// The rules of one table's chains, whichever families it has, and the chains of it that see what comes to this host.
pub(super) struct Read {
    /// Each chain with its table's family before its name, as [`Rule::chain`] and what jumps there have it.
    pub(super) rules: Vec<Rule>,
    pub(super) entries: Vec<String>,
}

/// The tables of this name.
///
/// # Errors
/// When the text is not JSON.
pub(super) fn rules(json: &str, table: &str) -> Result<Read, String> {
    let wanted = |object: &&Value| {
        nft::text(object, "table") == table && matches!(nft::text(object, "family"), "inet" | "ip" | "ip6")
    };
    let (rules, chains, sets) = (nft::objects(json, "rule")?, nft::objects(json, "chain")?, sets(json, table)?);
    let is_entry = |chain: &&Value| (nft::text(chain, "type"), nft::text(chain, "hook")) == ("filter", "input");
    Ok(Read {
        rules: rules.iter().filter(wanted).map(|rule| read(rule, &sets)).collect(),
        entries: chains
            .iter()
            .filter(wanted)
            .filter(is_entry)
            .map(|chain| named(chain, nft::text(chain, "name")))
            .collect(),
    })
}

/// What each set holds, by the name that rules call it by.
fn sets(json: &str, table: &str) -> Result<BTreeMap<String, Value>, String> {
    let sets = nft::objects(json, "set")?;
    let of_table = sets.iter().filter(|set| nft::text(set, "table") == table);
    let elements = |set: &Value| {
        // An element with a time-out or a counter has its value inside.
        let bare = |one: &Value| one.get("elem").and_then(|inner| inner.get("val")).unwrap_or(one).clone();
        set.get("elem").and_then(Value::as_array).into_iter().flatten().map(bare).collect::<Vec<_>>()
    };
    Ok(of_table
        .map(|set| (format!("@{}", named(set, nft::text(set, "name"))), serde_json::json!({ "set": elements(set) })))
        .collect())
}

fn named(object: &Value, name: &str) -> String {
    format!("{} {name}", nft::text(object, "family"))
}

fn read(json: &Value, sets: &BTreeMap<String, Value>) -> Rule {
    let handle = json.get("handle").and_then(Value::as_u64).unwrap_or(0);
    let (family, table, chain) = (nft::text(json, "family"), nft::text(json, "table"), nft::text(json, "chain"));
    let mut rule = Rule {
        chain: named(json, chain),
        conditions: Vec::new(),
        exceptions: Vec::new(),
        partly_read: false,
        target: Target::Continue,
        shown: format!("nft {family} {table} {chain} handle {handle}"),
    };
    match family {
        "ip" => rule.conditions.push(Condition::IsV6(false)),
        "ip6" => rule.conditions.push(Condition::IsV6(true)),
        _ => {}
    }
    for statement in nft::statements(json) {
        let to = |verb: &str| Some(named(json, statement.get(verb)?.get("target")?.as_str()?));
        let is = |verbs: &[&str]| verbs.iter().any(|verb| statement.get(verb).is_some());
        if let Some(asked) = statement.get("match") {
            let read = |right| condition(asked, right);
            let right = asked.get("right");
            let set = right.and_then(Value::as_str).and_then(|name| {
                let name = name.strip_prefix('@')?;
                sets.get(&format!("@{}", named(json, name)))
            });
            match (set.or(right).and_then(read), nft::text(asked, "op")) {
                (Some(condition), "==" | "in") => rule.conditions.push(condition),
                (Some(condition), "!=") => rule.exceptions.push(condition),
                _ => rule.partly_read = true,
            }
        } else if is(&["accept"]) {
            rule.target = Target::Accept;
        } else if is(&["drop", "reject"]) {
            rule.target = Target::Refuse;
        } else if is(&["return"]) {
            rule.target = Target::Return;
        } else if let Some(chain) = to("jump") {
            rule.target = Target::Jump(chain);
        } else if let Some(chain) = to("goto") {
            rule.target = Target::Goto(chain);
        } else if !is(&["counter", "log", "mangle"]) {
            rule.partly_read = true;
            if is(&["vmap", "queue", "redirect", "dnat", "tproxy"]) {
                rule.target = Target::Unread;
            }
        }
    }
    rule
}

/// A condition that can be read; `right`: what it compares with.
fn condition(asked: &Value, right: &Value) -> Option<Condition> {
    let each = || match right.get("set").unwrap_or(right) {
        Value::Array(each) => each.iter().collect(),
        one => vec![one],
    };
    let names = || each().into_iter().map(Value::as_str).collect::<Option<Vec<_>>>();
    if let Some(kind) = asked.get("left").and_then(|left| left.get("ct")) {
        return match (nft::text(kind, "key"), &*names()?) {
            ("state", states) => Some(Condition::Constant(states.contains(&"new"))),
            // As iptables' virtual states.
            ("status", ["dnat" | "snat"]) => Some(Condition::Constant(false)),
            _ => None,
        };
    }
    Some(match left(asked)? {
        Left::Payload("ip" | "ip6", "saddr") => {
            Condition::Sources(each().into_iter().map(nft::nets).collect::<Option<Vec<_>>>()?.concat())
        }
        Left::Payload("tcp" | "th", "dport") => Condition::DestinationPorts(nft::ports(right)?),
        Left::Payload("udp", _) => Condition::Protocols(vec![Protocol::Udp]),
        Left::Payload("ip", "protocol") | Left::Payload("ip6", "nexthdr") | Left::Meta("l4proto") => {
            let known = |name: &str| match name {
                "tcp" => Some(Protocol::Tcp),
                "udp" => Some(Protocol::Udp),
                _ => None,
            };
            Condition::Protocols(names()?.into_iter().filter_map(known).collect())
        }
        Left::Meta("iifname" | "iif") => match *names()? {
            [name] => Condition::Interface(name.replace('*', "+")),
            _ => return None,
        },
        Left::Meta("nfproto") => Condition::IsV6(right.as_str()? == "ipv6"),
        _ => return None,
    })
}
