//! Source NAT rules that may give a connection a port of the policy: its replies would be dropped. Reads what the system's own tools
//! listed and changes nothing.

use serde_json::Value;

use super::{
    iptables,
    listing::{Listing, listings},
    nft,
    ports::parse_ports,
};
use nodewall_policy::config::{PortRange, PortSet};

/// What the kernel chooses from when a rule asks for a random port and names no range (`nf_nat_l4proto_unique_tuple`).
fn any_port() -> PortSet {
    PortRange::new(1024, u16::MAX).into_iter().collect()
}

/// The ports that one source NAT rule may give to a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatRange {
    /// Never empty.
    pub ports: PortSet,
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
    /// The ports in both.
    pub ports: PortSet,
}

impl std::fmt::Display for NatOverlap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "source NAT hands out ports {} and so ports of the policy ({}): replies to those connections would be dropped; \
             give the rule a port range outside the policy (ip_local_reserved_ports does not help here): {}",
            self.range.ports, self.ports, self.range.rule
        )
    }
}

/// The rules of `report` that overlap the ports of a policy.
pub fn masquerade_overlaps(report: &NatReport, policy: &PortSet) -> Vec<NatOverlap> {
    let overlap = |range: &NatRange| NatOverlap { range: range.clone(), ports: range.ports.intersection(policy) };
    report.ranges.iter().map(overlap).filter(|overlap| !overlap.ports.is_empty()).collect()
}

/// The source NAT rules of the calling thread's network namespace that hand out ports of their own.
///
/// Blocks as [`listings`] does. What could not be read is in [`NatReport::unread`].
pub fn masquerade_ranges() -> NatReport {
    masquerade_ranges_in(&listings())
}

/// The same, of what was listed before.
pub fn masquerade_ranges_in(listings: &[Listing]) -> NatReport {
    let mut report = NatReport::default();
    let mut seen = Vec::new();
    for Listing { tool, answer } in listings {
        match answer {
            Ok(json) if *tool == "nft" => read_nft(json, &mut report),
            Ok(text) if seen.contains(&text) => {}
            Ok(text) => {
                iptables::lines(text, "nat").for_each(|line| read_iptables_rule(tool, line, &mut report));
                seen.push(text);
            }
            Err(why) if *tool == "nft" => report.unread.push(format!("nft -j list ruleset: {why}")),
            Err(why) => report.unread.push(format!("{tool}: {why}")),
        }
    }
    report
}

/// `masquerade` and `snat` statements. One without ports keeps a connection's own port and is left out, unless it asks for a random one.
/// Rules made by iptables-nft show here without their ports; `iptables-save` has those.
fn read_nft(json: &str, report: &mut NatReport) {
    let rules = match nft::objects(json, "rule") {
        Ok(rules) => rules,
        Err(error) => return report.unread.push(error),
    };
    for rule in &rules {
        for statement in nft::statements(rule) {
            let verbs = ["masquerade", "snat"].into_iter().filter_map(|verb| Some((verb, statement.get(verb)?)));
            verbs.for_each(|(verb, nat)| nft_statement(rule, verb, nat, report));
        }
    }
}

fn nft_statement(rule: &Value, verb: &str, nat: &Value, report: &mut NatReport) {
    let text = |key| nft::text(rule, key);
    let handle = rule.get("handle").and_then(Value::as_u64).unwrap_or(0);
    let name = format!("nft {} {} {} handle {handle}: {verb}", text("family"), text("table"), text("chain"));
    match nat.get("port").map(|expression| (nft::ports(expression), expression)) {
        Some((Some(ports), _)) => report.add(ports, name),
        Some((None, expression)) => {
            report.unread.push(format!("{name} to ports that could not be read: {expression}"));
        }
        None if nft_random(nat) => report.add(any_port(), format!("{name} random")),
        None => {}
    }
}

fn nft_random(nat: &Value) -> bool {
    let random = |flag: &Value| matches!(flag.as_str(), Some("random" | "fully-random"));
    match nat.get("flags") {
        Some(Value::Array(flags)) => flags.iter().any(random),
        Some(flag) => random(flag),
        None => false,
    }
}

/// A `MASQUERADE` or `SNAT` rule of the nat table; `tool` goes before the rule's text. One without ports keeps a connection's own port and is left out, unless
/// it asks for a random one.
fn read_iptables_rule(tool: &str, line: &str, report: &mut NatReport) {
    let words = iptables::split_words(line);
    // Options behind the target are the target's.
    let mut words = words.iter().map(String::as_str).skip_while(|word| !matches!(*word, "-j" | "--jump")).skip(1);
    if !matches!(words.next(), Some("MASQUERADE" | "SNAT")) {
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
        let Some(text) = ports else { continue };
        named = true;
        // `1024-65535/7` would be an offset for port shifting; the range is what comes first.
        match parse_ports(text.split('/').next().unwrap_or(text)).filter(|ports| !ports.is_empty()) {
            Some(ports) => report.add(ports, rule.clone()),
            None => report.unread.push(format!("ports {text:?} of {rule}")),
        }
    }
    if random && !named {
        report.add(any_port(), rule);
    }
}

impl NatReport {
    /// The same rule may be listed by two tools.
    fn add(&mut self, ports: PortSet, rule: String) {
        let range = NatRange { ports, rule };
        if !self.ranges.contains(&range) {
            self.ranges.push(range);
        }
    }
}

#[cfg(test)]
mod tests;
