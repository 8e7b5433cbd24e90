//! Source NAT rules that may give a connection a port of the policy: its replies would be dropped. Lists rules with the
//! system's own tools (`nft`, `iptables-save` and kin) and changes none; parsing is pure.

mod tools;

use serde_json::Value;

use super::ranges::{self, PortRange};

pub use tools::{Listing, listings, masquerade_ranges, masquerade_ranges_in};

/// What the kernel chooses from when a rule asks for a random port and names no range (`nf_nat_l4proto_unique_tuple`).
const ANY_PORT: PortRange = (1024, 65535);

/// The ports that one source NAT rule may give to a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatRange {
    /// Both ends included.
    pub ports: (u16, u16),
    /// The rule: `nft ip nat post handle 3: masquerade`, or iptables' own line.
    pub rule: String,
}

/// All source NAT rules with ports of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NatReport {
    /// What the rules may hand out.
    pub ranges: Vec<NatRange>,
    /// What could not be read: a tool without the privilege, a rule that computes its ports. Empty when all was read.
    /// A tool that is not installed is not mentioned.
    pub unread: Vec<String>,
}

/// Ports of the policy that a source NAT rule may give to a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatOverlap {
    /// The rule and its range.
    pub range: NatRange,
    /// The ports in both. Sorted, inclusive.
    pub ports: Vec<(u16, u16)>,
}

impl std::fmt::Display for NatOverlap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "source NAT hands out ports {} and so ports of the policy ({}): replies to those connections would be dropped; \
             give the rule a port range outside the policy (ip_local_reserved_ports does not help here): {}",
            ranges::render(&[self.range.ports]),
            ranges::render(&self.ports),
            self.range.rule
        )
    }
}

/// The rules of `report` that overlap `policy` (inclusive ranges, any order).
pub fn masquerade_overlaps(report: &NatReport, policy: impl IntoIterator<Item = (u16, u16)>) -> Vec<NatOverlap> {
    let policy = ranges::normalise(policy);
    let mut overlaps = Vec::new();
    for range in &report.ranges {
        let ports = ranges::intersect(&policy, &[range.ports]);
        if !ports.is_empty() {
            overlaps.push(NatOverlap { range: range.clone(), ports });
        }
    }
    overlaps
}

/// Reads the output of `nft -j list ruleset` (libnftables-json(5)): `masquerade` and `snat` statements.
///
/// A statement without ports keeps a connection's own port and is left out, unless it asks for a random one. Rules made by
/// iptables-nft show here without their ports; [`parse_iptables_save`] has those.
pub fn parse_nft(json: &str) -> NatReport {
    let mut report = NatReport::default();
    let parsed: Value = match serde_json::from_str(json) {
        Ok(parsed) => parsed,
        Err(error) => {
            report.unread.push(format!("nft -j list ruleset: not JSON: {error}"));
            return report;
        }
    };
    for rule in parsed.get("nftables").and_then(Value::as_array).into_iter().flatten().filter_map(|o| o.get("rule")) {
        for statement in rule.get("expr").and_then(Value::as_array).into_iter().flatten() {
            for verb in ["masquerade", "snat"] {
                if let Some(nat) = statement.get(verb) {
                    nft_statement(rule, verb, nat, &mut report);
                }
            }
        }
    }
    report
}

fn nft_statement(rule: &Value, verb: &str, nat: &Value, report: &mut NatReport) {
    let text = |key: &str| rule.get(key).and_then(Value::as_str).unwrap_or("?");
    let handle = rule.get("handle").and_then(Value::as_u64).unwrap_or(0);
    let name = format!("nft {} {} {} handle {handle}: {verb}", text("family"), text("table"), text("chain"));
    match nat.get("port") {
        Some(expression) => {
            let mut ports = Vec::new();
            if nft_ports(expression, &mut ports) {
                report.ranges.extend(ports.into_iter().map(|ports| NatRange { ports, rule: name.clone() }));
            } else {
                report.unread.push(format!("{name} to ports that could not be read: {expression}"));
            }
        }
        None if nft_random(nat) => report.ranges.push(NatRange { ports: ANY_PORT, rule: format!("{name} random") }),
        None => {}
    }
}

/// A port, a range, or a map whose values are such. `false` when it is anything else.
fn nft_ports(expression: &Value, ports: &mut Vec<PortRange>) -> bool {
    let port = |value: &Value| value.as_u64().and_then(|port| u16::try_from(port).ok());
    if let Some(port) = port(expression) {
        ports.push((port, port));
        return true;
    }
    if let Some([first, last]) = expression.get("range").and_then(Value::as_array).map(Vec::as_slice) {
        let Some(range) = port(first).zip(port(last)) else { return false };
        ports.push(range);
        return true;
    }
    let elements = expression.get("map").and_then(|map| map.get("data")).and_then(|data| data.get("set"));
    let Some(elements) = elements.and_then(Value::as_array) else { return false };
    elements.iter().all(|element| element.get(1).is_some_and(|value| nft_ports(value, ports)))
}

fn nft_random(nat: &Value) -> bool {
    let random = |flag: &Value| matches!(flag.as_str(), Some("random" | "fully-random"));
    match nat.get("flags") {
        Some(Value::Array(flags)) => flags.iter().any(random),
        Some(flag) => random(flag),
        None => false,
    }
}

/// Reads the output of `iptables-save` or `ip6tables-save`: `MASQUERADE` and `SNAT` rules of the nat table.
///
/// `tool` goes before each rule's text. A rule without ports keeps a connection's own port and is left out, unless it
/// asks for a random one.
pub fn parse_iptables_save(tool: &str, text: &str) -> NatReport {
    let mut report = NatReport::default();
    let mut in_nat = false;
    for line in text.lines().map(str::trim) {
        if let Some(table) = line.strip_prefix('*') {
            in_nat = table == "nat";
        } else if in_nat && line.starts_with("-A ") {
            iptables_rule(tool, line, &mut report);
        }
    }
    report
}

fn iptables_rule(tool: &str, line: &str, report: &mut NatReport) {
    let words = split_words(line);
    let mut words = words.iter().map(String::as_str);
    // Options behind the target are the target's.
    let target = loop {
        match words.next() {
            Some("-j" | "--jump") => break words.next(),
            Some(_) => {}
            None => return,
        }
    };
    if !matches!(target, Some("MASQUERADE" | "SNAT")) {
        return;
    }
    let rule = format!("{tool}: {line}");
    let (mut named, mut random) = (false, false);
    while let Some(option) = words.next() {
        let ports = match option {
            "--to-ports" => words.next(),
            // 192.0.2.1-192.0.2.4:1024-65535, [2001:db8::1]:6000-6100, or addresses alone.
            "--to-source" => words.next().and_then(|to| match to.rsplit_once(']') {
                Some((_, behind)) => behind.strip_prefix(':'),
                None if to.matches(':').count() == 1 => to.split_once(':').map(|(_, ports)| ports),
                None => None,
            }),
            "--random" | "--random-fully" => {
                random = true;
                None
            }
            _ => None,
        };
        // `1024-65535/7` would be an offset for port shifting; the range is what comes first.
        match ports.map(|ports| (ports, ranges::parse_range(ports.split('/').next().unwrap_or(ports)))) {
            Some((_, Some(ports))) => {
                named = true;
                report.ranges.push(NatRange { ports, rule: rule.clone() });
            }
            Some((text, None)) => {
                named = true;
                report.unread.push(format!("ports {text:?} of {rule}"));
            }
            None => {}
        }
    }
    if random && !named {
        report.ranges.push(NatRange { ports: ANY_PORT, rule });
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

#[cfg(test)]
mod tests;
