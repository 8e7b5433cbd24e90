//! Rules that send what comes for one TCP port to another port of this host: a socket shows the port behind them, the filter judges the
//! one on the wire. A condition that can not be read is as if it were not there.

use serde_json::Value;

use super::{
    iptables::{self, own_tables},
    listing::Listing,
    nft,
    rule::{Condition, Rule, Target},
};
use nodewall_policy::config::{PortRange, PortSet, Protocol};

/// A rule that sends one port's packets to another port of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// The ports on the wire; every port where the rule names none.
    pub from: PortSet,
    /// The port that a socket sees.
    pub to: u16,
}

/// The redirects for TCP of iptables' nat table, and of nftables. What a tool could not list has none.
pub fn tcp_redirects(listings: &[Listing]) -> Vec<Redirect> {
    let answered = || listings.iter().filter_map(|listing| Some((listing.tool, listing.answer.as_deref().ok()?)));
    // Tables that iptables made show in nft, too, and less clearly.
    let own = own_tables(listings);
    let made_by_iptables = |rule: &Value| {
        let (family, table) = (nft::text(rule, "family"), nft::text(rule, "table"));
        own.iter().any(|(f, t)| (*f, t.as_str()) == (family, table))
    };
    let mut redirects = Vec::new();
    for (tool, text) in answered() {
        if tool == "nft" {
            let rules = nft::objects(text, "rule").unwrap_or_default();
            redirects.extend(rules.iter().filter(|rule| !made_by_iptables(rule)).filter_map(from_nft));
        } else {
            redirects.extend(iptables::rules(text, "nat").filter_map(|rule| from_iptables(&rule)));
        }
    }
    redirects
}

fn from_iptables(rule: &Rule) -> Option<Redirect> {
    let Target::Redirect(to) = rule.target else { return None };
    let mut from = PortSet::from(PortRange::ALL);
    for condition in &rule.conditions {
        match condition {
            Condition::Protocols(protocols) if !protocols.contains(&Protocol::Tcp) => return None,
            Condition::DestinationPorts(ports) => from.clone_from(ports),
            _ => {}
        }
    }
    Some(Redirect { from, to })
}

fn from_nft(rule: &Value) -> Option<Redirect> {
    let to = nft::statements(rule).find_map(|statement| nft::port(statement.get("redirect")?.get("port")?))?;
    let mut from = PortSet::from(PortRange::ALL);
    let conditions = nft::statements(rule).filter_map(|statement| statement.get("match"));
    for condition in conditions.filter(|condition| matches!(nft::text(condition, "op"), "==" | "in")) {
        let (Some(left), Some(right)) = (condition.get("left"), condition.get("right")) else { continue };
        let field = left.get("payload").map(|field| (nft::text(field, "protocol"), nft::text(field, "field")));
        let meta = left.get("meta").map(|meta| nft::text(meta, "key"));
        match (field, meta) {
            (Some(("udp", _)), _) => return None,
            (Some(("tcp" | "th", "dport")), _) => from = nft::ports(right).unwrap_or(from),
            (Some(("ip", "protocol") | ("ip6", "nexthdr")), _) | (_, Some("l4proto")) if !names_tcp(right) => {
                return None;
            }
            _ => {}
        }
    }
    Some(Redirect { from, to })
}

/// `tcp`, or a set with it.
fn names_tcp(value: &Value) -> bool {
    let set = value.get("set").unwrap_or(value).as_array();
    value.as_str() == Some("tcp") || set.is_some_and(|set| set.iter().any(|one| one.as_str() == Some("tcp")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redirects(tool: &'static str, text: &str) -> Vec<(String, u16)> {
        let listing = Listing { tool, answer: Ok(text.to_owned()) };
        tcp_redirects(&[listing]).into_iter().map(|redirect| (redirect.from.to_string(), redirect.to)).collect()
    }

    #[test]
    fn iptables() {
        let rules = "*nat\n:PREROUTING ACCEPT [0:0]\n\
            -A PREROUTING -p tcp -m tcp --dport 443 -j REDIRECT --to-ports 8022\n\
            -A PREROUTING -p udp -m udp --dport 443 -j REDIRECT --to-ports 8022\n\
            -A PREROUTING -p tcp -m comment --comment \"-j REDIRECT\" -j REDIRECT --to-ports 8023\n\
            -A PREROUTING -p tcp --dport 80 -j REDIRECT --to-ports 8000-8010\n\
            -A PREROUTING -p tcp --dport 8888 -j DNAT --to-destination 10.9.9.9:9042\nCOMMIT\n";
        let expected = [("443".to_owned(), 8022), ("1-65535".to_owned(), 8023)];
        assert_eq!(redirects("iptables-save", rules), expected);
        assert_eq!(redirects("ip6tables-save", rules), expected);
        assert_eq!(redirects("iptables-save", &rules.replace("*nat", "*mangle")), []);
    }

    #[test]
    fn nftables() {
        let rule = |conditions: &str| {
            let rule = format!(
                r#"{{"family": "ip", "table": "t", "chain": "pre", "expr": [{conditions} {{"redirect": {{"port": 8022}}}}]}}"#
            );
            redirects("nft", &format!(r#"{{"nftables": [{{"rule": {rule}}}]}}"#))
        };
        let payload = |protocol: &str, field: &str, right: &str| {
            format!(
                r#"{{"match": {{"op": "==", "left": {{"payload": {{"protocol": "{protocol}", "field": "{field}"}}}}, "right": {right}}}}},"#
            )
        };
        assert_eq!(rule(&payload("tcp", "dport", "443")), [("443".to_owned(), 8022)]);
        let set = r#"{"set": [443, {"range": [8000, 8010]}]}"#;
        assert_eq!(rule(&payload("th", "dport", set)), [("443,8000-8010".to_owned(), 8022)]);
        assert_eq!(rule(&payload("tcp", "dport", "\"@ports\"")), [("1-65535".to_owned(), 8022)]);
        assert_eq!(rule(&payload("udp", "dport", "443")), []);
        assert_eq!(rule(&payload("ip", "protocol", "\"udp\"")), []);
        assert_eq!(rule(&payload("ip", "protocol", r#"{"set": ["udp", "tcp"]}"#)), [("1-65535".to_owned(), 8022)]);
        // The same rule as iptables shows it, and as nft does.
        let saved = "# Generated by iptables-save v1.8.9 (nf_tables) on Sun\n*nat\n\
            -A PREROUTING -p tcp -m multiport --dports 443 -j REDIRECT --to-ports 8022\nCOMMIT\n";
        let shown =
            r#"{"nftables": [{"rule": {"family": "ip", "table": "nat", "expr": [{"redirect": {"port": 8022}}]}}]}"#;
        let both = [("iptables-save", saved), ("nft", shown)];
        let both = both.map(|(tool, text)| Listing { tool, answer: Ok(text.to_owned()) });
        assert_eq!(tcp_redirects(&both).len(), 1);
    }
}
