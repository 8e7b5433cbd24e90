//! Tests of `nat`; its own words say what it owns.
use std::io::Write;
use std::process::{Command, Stdio};

use nodewall_testbed::in_own_namespace;

use super::*;
use crate::net::ports::parse_ports;

/// What `nft -j list ruleset` (1.0.6) printed for [`RULESET`].
const NFT_JSON: &str = include_str!("tests/nft.json");
/// What `iptables-save` (1.8.9, `nf_tables`) printed.
const IPTABLES_SAVE: &str = include_str!("tests/iptables-save.txt");
/// What `ip6tables-save` printed.
const IP6TABLES_SAVE: &str = include_str!("tests/ip6tables-save.txt");
/// The rules behind [`NFT_JSON`].
const RULESET: &str = include_str!("tests/ruleset.nft");

/// The ports of [`RULESET`], in its order.
const NFT_PORTS: [&str; 11] = [
    "7000-7300",
    "kept",
    "9000",
    "1024-65535",
    "5000-5800",
    "kept",
    "40000-50000",
    "9042",
    "6000-6100",
    "8018-8022",
    "7000,9200",
];

fn parse_nft(json: &str) -> NatReport {
    source_nat_in(&[Listing { tool: "nft", answer: Ok(json.to_owned()) }])
}

fn parse_iptables_save(tool: &'static str, text: &str) -> NatReport {
    source_nat_in(&[Listing { tool, answer: Ok(text.to_owned()) }])
}

/// What the source NAT rules hand out, in their order; `kept`: a connection's own port, where it is free.
fn ports(report: &NatReport) -> Vec<String> {
    let rules = report.tables.iter().flat_map(Table::chains).flatten();
    let nats = rules.filter_map(|rule| if let Target::SourceNat(nat) = &rule.target { Some(nat) } else { None });
    nats.map(|nat| nat.ports.as_ref().map_or_else(|| "kept".to_owned(), PortSet::to_string)).collect()
}

/// The overlaps with these ports.
fn overlaps(report: &NatReport, policy: &str) -> Vec<NatOverlap> {
    report.overlaps(&parse_ports(policy).unwrap(), &BTreeSet::new())
}

#[test]
fn nft_rules() {
    let report = parse_nft(NFT_JSON);
    assert_eq!(ports(&report), NFT_PORTS);
    assert_eq!(overlaps(&report, "7000")[0].rule, "nft ip nat post handle 3: masquerade");
    assert_eq!(report.unread, Vec::<String>::new());
}

#[test]
fn iptables_rules() {
    let report = parse_iptables_save("iptables-save", IPTABLES_SAVE);
    assert_eq!(ports(&report), ["7000-7300", "9042", "1024-65535", "kept", "1024-65535"]);
    assert_eq!(
        overlaps(&report, "7000")[0].rule,
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
    assert_eq!(of("*nat\n-A POSTROUTING -j SNAT --to-source 2001:db8::1\nCOMMIT"), ["kept"]);
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
    assert!(ports(&report).is_empty());
    assert!(report.unread[0].contains("nft ip t c handle 1: masquerade"), "{:?}", report.unread);
    let report = parse_iptables_save("t", "*nat\n-A POSTROUTING -j MASQUERADE --to-ports 70000\nCOMMIT");
    assert_eq!((ports(&report).len(), report.unread.len()), (0, 1));
}

#[test]
fn overlaps_name_the_rule_and_the_way_out() {
    let found = overlaps(&parse_iptables_save("iptables-save", IPTABLES_SAVE), "9042,7000-7001,7199,443");
    assert_eq!(found.len(), 5);
    assert_eq!(found[0].ports.to_string(), "7000-7001,7199");
    let text = found[0].to_string();
    assert!(text.contains("7000-7300") && text.contains("7000-7001,7199") && text.contains("does not help"), "{text}");
    // Rules that keep a port may keep any.
    let rules: Vec<_> = overlaps(&parse_nft(NFT_JSON), "443").into_iter().map(|overlap| overlap.rule).collect();
    assert_eq!(rules, ["nft ip nat post handle 4: masquerade", "nft ip nat post handle 8: snat"]);
}

#[test]
fn the_cure_is_the_rule_itself_with_ports_that_are_free() {
    let cures = |text: &str| {
        let saved = parse_iptables_save("iptables-save", &format!("*nat\n{text}\nCOMMIT"));
        overlaps(&saved, "7000-7001,9042").into_iter().flat_map(|overlap| overlap.cure).collect::<Vec<_>>()
    };
    // Docker's: other protocols than those with ports are masqueraded as before.
    assert_eq!(
        cures("-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE"),
        [
            "iptables -t nat -I POSTROUTING 1 -p tcp -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE --to-ports 9043-65535",
            "iptables -t nat -I POSTROUTING 1 -p udp -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE --to-ports 9043-65535",
        ]
    );
    // libvirt's: it is for one protocol.
    let libvirt = "-A LIBVIRT_PRT -d 224.0.0.0/24 -j RETURN\n-A LIBVIRT_PRT -s 192.168.122.0/24 ! -d 192.168.122.0/24 -p tcp -j MASQUERADE --to-ports 1024-65535";
    assert_eq!(
        cures(libvirt),
        [
            "iptables -t nat -R LIBVIRT_PRT 2 -s 192.168.122.0/24 ! -d 192.168.122.0/24 -p tcp -j MASQUERADE --to-ports 9043-65535"
        ]
    );
    assert_eq!(
        cures("-A POSTROUTING -p udp -j SNAT --to-source 192.0.2.1-192.0.2.4:1024-65535 --random"),
        ["iptables -t nat -R POSTROUTING 1 -p udp -j SNAT --to-source 192.0.2.1-192.0.2.4:9043-65535 --random"]
    );
    // Only what cannot be for a port at all, and what never leaves, is left alone.
    assert!(cures("-A POSTROUTING -p icmp -j MASQUERADE").is_empty());
    assert!(
        cures("-A POSTROUTING -s 172.17.0.2/32 -d 172.17.0.2/32 -p tcp -m tcp --dport 80 -j MASQUERADE").is_empty()
    );
    let bridged = parse_iptables_save("iptables-save", "*nat\n-A POSTROUTING -o br0 -j MASQUERADE\nCOMMIT");
    let ports = parse_ports("9042").unwrap();
    assert_eq!(bridged.overlaps(&ports, &BTreeSet::new()).len(), 1);
    assert_eq!(bridged.overlaps(&ports, &["br0".to_owned()].into()), []);
    // With every port in the policy there is none to give, and the words say what is to do.
    let all = overlaps(&bridged, "1024-65535");
    assert!(all[0].cure.is_empty() && all[0].advice().contains("outside the policy"), "{all:?}");
}

#[test]
fn the_installed_tools_say_the_same() {
    in_own_namespace(|| {
        let mut nft = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
        nft.stdin.take().unwrap().write_all(RULESET.as_bytes()).unwrap();
        assert!(nft.wait().unwrap().success(), "nft refused the rules");
        let found = ports(&source_nat());
        for expected in NFT_PORTS {
            assert!(found.iter().any(|ports| ports == expected), "{expected:?} is not among {found:?}");
        }

        assert!(Command::new("nft").args(["flush", "ruleset"]).status().unwrap().success());
        assert_eq!(source_nat(), NatReport::default(), "listing rules leaves none behind");

        let rule = "-t nat -A POSTROUTING -p tcp -o eth9 -j MASQUERADE --to-ports 7000-7300";
        assert!(Command::new("iptables").args(rule.split(' ')).status().unwrap().success());
        let found = source_nat();
        assert!(ports(&found).contains(&"7000-7300".to_owned()), "{found:?}");
    });
}

/// Every cure is a line that the tools take, and after it the rules hand out nothing of the policy's.
#[test]
fn the_installed_tools_take_the_cures() {
    let run = |line: &str| {
        let done = Command::new("sh").args(["-ec", line]).output().unwrap();
        assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
    };
    let policy = parse_ports("443,5701-5711,7000-7001,8018-8022,9042,9200").unwrap();
    in_own_namespace(|| {
        for rules in [
            "iptables -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE",
            "iptables -t nat -N SITE; iptables -t nat -A POSTROUTING -j SITE; iptables -t nat -A SITE -d 224.0.0.0/4 -j RETURN; \
             iptables -t nat -A SITE -m comment --comment 'the \"site\" -j X' -p udp -j SNAT --to-source 192.0.2.1:1024-65535",
            "iptables -t nat -A POSTROUTING -m addrtype --src-type LOCAL -o eth9 -j MASQUERADE --random-fully",
            "ip6tables -t nat -A POSTROUTING -s 2001:db8::/64 -o eth9 -j SNAT --to-source 2001:db8:9::1",
            "iptables-legacy -t nat -A POSTROUTING -s 172.18.0.0/16 -o eth9 -j MASQUERADE",
            "nft 'table ip t { chain c { type nat hook postrouting priority srcnat; ip saddr 10.0.0.0/8 oifname \"eth9\" counter masquerade; }; }'",
            "nft 'table inet t { chain c { type nat hook postrouting priority srcnat; meta l4proto tcp oifname { \"eth8\", \"eth9\" } masquerade to :1024-65535 fully-random; }; }'",
            "nft 'table inet t { chain c { type nat hook postrouting priority srcnat; ip6 saddr 2001:db8::/32 snat ip6 to 2001:db8:9::1; }; }'",
            "nft 'table ip t { chain c { type nat hook postrouting priority srcnat; ip saddr != 10.0.0.0/8 tcp dport 1-1000 snat to 192.0.2.1-192.0.2.4:2000-9100; }; }'",
        ] {
            run(rules);
            let before = source_nat();
            let found = before.overlaps(&policy, &BTreeSet::new());
            assert_eq!((found.len(), &before.unread), (1, &Vec::new()), "{rules}: {found:?}");
            assert!(!found[0].cure.is_empty(), "{rules}");
            found[0].cure.iter().for_each(|line| run(line));
            let after = source_nat();
            assert_eq!(after.overlaps(&policy, &BTreeSet::new()), [], "{rules}: {:?}", found[0].cure);
            run(
                "iptables -t nat -F; iptables -t nat -X; ip6tables -t nat -F; iptables-legacy -t nat -F; nft flush ruleset",
            );
        }
    });
}
