//! Tests of `nat`; its own words say what it owns.
use std::io::Write;
use std::process::{Command, Stdio};

use nodewall_testbed::in_own_namespace;

use super::*;

/// What `nft -j list ruleset` (1.0.6) printed for [`RULESET`].
const NFT_JSON: &str = include_str!("tests/nft.json");
/// What `iptables-save` (1.8.9, `nf_tables`) printed.
const IPTABLES_SAVE: &str = include_str!("tests/iptables-save.txt");
/// What `ip6tables-save` printed.
const IP6TABLES_SAVE: &str = include_str!("tests/ip6tables-save.txt");
/// The rules behind [`NFT_JSON`].
const RULESET: &str = include_str!("tests/ruleset.nft");

/// The ports of [`RULESET`], in its order.
const NFT_PORTS: [&str; 9] =
    ["7000-7300", "9000", "1024-65535", "5000-5800", "40000-50000", "9042", "6000-6100", "8018-8022", "7000,9200"];

fn parse_nft(json: &str) -> NatReport {
    masquerade_ranges_in(&[Listing { tool: "nft", answer: Ok(json.to_owned()) }])
}

fn parse_iptables_save(tool: &'static str, text: &str) -> NatReport {
    masquerade_ranges_in(&[Listing { tool, answer: Ok(text.to_owned()) }])
}

fn ports(report: &NatReport) -> Vec<String> {
    report.ranges.iter().map(|range| range.ports.to_string()).collect()
}

#[test]
fn nft_rules() {
    let report = parse_nft(NFT_JSON);
    assert_eq!(ports(&report), NFT_PORTS);
    assert_eq!(report.ranges[0].rule, "nft ip nat post handle 3: masquerade");
    assert_eq!(report.unread, Vec::<String>::new());
}

#[test]
fn iptables_rules() {
    let report = parse_iptables_save("iptables-save", IPTABLES_SAVE);
    assert_eq!(ports(&report), ["7000-7300", "9042", "1024-65535", "1024-65535"]);
    assert_eq!(
        report.ranges[0].rule,
        "iptables-save: -A POSTROUTING -o eth9 -p tcp -j MASQUERADE --to-ports 7000-7300"
    );
    assert_eq!(report.unread, Vec::<String>::new());
    let report = parse_iptables_save("ip6tables-save", IP6TABLES_SAVE);
    assert_eq!(ports(&report), ["6000-6100"]);
}

#[test]
fn a_comment_is_not_an_option_and_another_table_is_not_nat() {
    let of = |text: &str| ports(&parse_iptables_save("t", text));
    assert!(of("*mangle\n-A POSTROUTING -j MASQUERADE --to-ports 7000\nCOMMIT").is_empty());
    let comment = r#"-A POSTROUTING -m comment --comment "x \" -j SNAT --to-ports 1-2 y" -j ACCEPT"#;
    assert!(of(&format!("*nat\n{comment}\nCOMMIT")).is_empty());
    assert!(of("*nat\n-A POSTROUTING -j SNAT --to-source 2001:db8::1\nCOMMIT").is_empty());
    assert!(of("*nat\n-A PREROUTING -p tcp -j REDIRECT --to-ports 8022\nCOMMIT").is_empty());
    assert_eq!(of("*nat\n-A POSTROUTING -j SNAT --to-source 192.0.2.1:9042\nCOMMIT"), ["9042"]);
    assert_eq!(of("*nat\n-A KUBE-POSTROUTING -j MASQUERADE --random-fully\nCOMMIT"), ["1024-65535"]);
}

#[test]
fn what_can_not_be_read_is_said() {
    assert!(parse_nft("not json").unread[0].contains("not JSON"));
    let computed = r#"{"nftables": [{"rule": {"family": "ip", "table": "t", "chain": "c", "handle": 1,
        "expr": [{"masquerade": {"port": {"map": {"key": 1, "data": "@named"}}}}]}}]}"#;
    let report = parse_nft(computed);
    assert!(report.ranges.is_empty());
    assert!(report.unread[0].contains("nft ip t c handle 1: masquerade"), "{:?}", report.unread);
    let report = parse_iptables_save("t", "*nat\n-A POSTROUTING -j MASQUERADE --to-ports 70000\nCOMMIT");
    assert_eq!((report.ranges.len(), report.unread.len()), (0, 1));
}

#[test]
fn overlaps_name_the_rule_and_the_way_out() {
    let policy = parse_ports("9042,7000-7001,7199,443").unwrap();
    let overlaps = masquerade_overlaps(&parse_iptables_save("iptables-save", IPTABLES_SAVE), &policy);
    assert_eq!(overlaps.len(), 4);
    assert_eq!(overlaps[0].ports.to_string(), "7000-7001,7199");
    let text = overlaps[0].to_string();
    assert!(text.contains("7000-7300") && text.contains("7000-7001,7199") && text.contains("does not help"), "{text}");
    assert!(masquerade_overlaps(&parse_nft(NFT_JSON), &parse_ports("443").unwrap()).is_empty());
}

#[test]
fn the_installed_tools_say_the_same() {
    in_own_namespace(|| {
        let mut nft = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
        nft.stdin.take().unwrap().write_all(RULESET.as_bytes()).unwrap();
        assert!(nft.wait().unwrap().success(), "nft refused the rules");
        let found = ports(&masquerade_ranges());
        for expected in NFT_PORTS {
            assert!(found.iter().any(|ports| ports == expected), "{expected:?} is not among {found:?}");
        }

        assert!(Command::new("nft").args(["flush", "ruleset"]).status().unwrap().success());
        assert_eq!(masquerade_ranges(), NatReport::default(), "listing rules leaves none behind");

        let rule = "-t nat -A POSTROUTING -p tcp -o eth9 -j MASQUERADE --to-ports 7000-7300";
        assert!(Command::new("iptables").args(rule.split(' ')).status().unwrap().success());
        let found = masquerade_ranges();
        assert!(ports(&found).contains(&"7000-7300".to_owned()), "{found:?}");
    });
}
