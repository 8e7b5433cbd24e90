//! The source `dns` against a real server: unbound, as Debian has it.

use std::{
    fmt::Write as _,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use nodewall::peers::{DnsName, Source as _};
use nodewall_testbed::{NetNs, find_tool, judge_time, skip_unless_privileged};
use rustix::{
    mount::{MountPropagationFlags, mount_bind, mount_change},
    thread::{UnshareFlags, unshare_unsafe},
};

use super::{ask, block_on, unbound::Unbound};

/// The cluster's zone: what it does not have does not exist.
const ZONE: &str = "  extended-statistics: yes\n  local-zone: \"cluster.example.\" static\n";

fn data(record: &str) -> String {
    format!("  local-data: \"{record}\"\n")
}

/// So many A records of one name, from 10.0.0.0 on.
fn many(name: &str, first: u32, count: u32) -> String {
    (0..count).map(|n| data(&format!("{name} 60 IN A {}", Ipv4Addr::from(0x0a00_0000 + first + n)))).collect()
}

/// What the server says of the name, in order, and the seconds that it counts for.
fn look_up(server: SocketAddr, name: &str) -> Result<(Vec<String>, u64), String> {
    block_on(async {
        let (peers, valid_for) = ask(&mut DnsName::new(name, Some(server))).await?;
        Ok((peers, valid_for.expect("a time to live").as_secs()))
    })
}

fn error_of(server: SocketAddr, name: &str) -> String {
    let error = look_up(server, name).unwrap_err();
    assert!(error.starts_with(&format!("{name}: ")) && error.contains(&format!("DNS server {server}")), "{error}");
    error
}

#[test]
fn addresses_of_both_families_and_the_least_time_to_live_within_bounds() {
    let mut zone = ZONE.to_owned();
    for record in [
        "both.cluster.example. 300 IN A 10.0.0.1",
        "both.cluster.example. 300 IN A 10.0.0.2",
        "both.cluster.example. 20 IN AAAA fd00::1",
        "four.cluster.example. 40 IN A 10.0.0.4",
        "six.cluster.example. 50 IN AAAA fd00::6",
        "hasty.cluster.example. 0 IN A 10.0.0.5",
        "lazy.cluster.example. 86400 IN A 10.0.0.6",
        "alias.cluster.example. 30 IN CNAME four.cluster.example.",
        "deep.cluster.example. 700 IN CNAME alias.cluster.example.",
    ] {
        zone.push_str(&data(record));
    }
    let unbound = Unbound::start(&zone, "");
    for (name, peers, seconds) in [
        ("both.cluster.example", &["10.0.0.1", "10.0.0.2", "fd00::1"][..], 20),
        ("BOTH.cluster.example", &["10.0.0.1", "10.0.0.2", "fd00::1"], 20),
        ("four.cluster.example", &["10.0.0.4"], 40),
        ("six.cluster.example", &["fd00::6"], 50),
        ("hasty.cluster.example", &["10.0.0.5"], 5),
        ("lazy.cluster.example", &["10.0.0.6"], 3_600),
        ("alias.cluster.example", &["10.0.0.4"], 30),
        ("deep.cluster.example", &["10.0.0.4"], 30),
    ] {
        assert_eq!(
            look_up(unbound.address, name).unwrap(),
            (peers.iter().map(ToString::to_string).collect(), seconds),
            "{name}"
        );
    }
}

#[test]
fn a_change_in_the_zone_is_in_the_next_answer() {
    let unbound = Unbound::start(&format!("{ZONE}{}", data("nodes.cluster.example. 60 IN A 10.0.0.1")), "");
    block_on(async {
        let mut source = DnsName::new("nodes.cluster.example", Some(unbound.address));
        assert_eq!(ask(&mut source).await.unwrap().0, ["10.0.0.1"]);
        // A node joins.
        unbound.control(&["local_data", "nodes.cluster.example. 60 IN A 10.0.0.2"]);
        assert_eq!(ask(&mut source).await.unwrap().0, ["10.0.0.1", "10.0.0.2"]);
        // Another cluster takes over the name.
        unbound.control(&["local_data_remove", "nodes.cluster.example."]);
        unbound.control(&["local_data", "nodes.cluster.example. 60 IN AAAA fd00::9"]);
        assert_eq!(ask(&mut source).await.unwrap().0, ["fd00::9"]);
        // Nothing is left of it.
        unbound.control(&["local_data_remove", "nodes.cluster.example."]);
        let error = ask(&mut source).await.unwrap_err();
        assert!(error.contains("NXDOMAIN") || error.contains("neither A nor AAAA"), "{error}");
    });
}

#[test]
fn what_brings_no_address_is_an_error_of_its_own() {
    // Held, so that nobody answers there.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let zone = format!(
        "{ZONE}{}  local-zone: \"refused.example.\" refuse\n  local-zone: \"silent.example.\" deny\n",
        data("mail.cluster.example. 60 IN MX 10 mx.cluster.example.")
    );
    // Unbound does not ask its own host for a zone: it can not find out.
    let stub = format!(
        "stub-zone:\n  name: \"broken.example.\"\n  stub-addr: 127.0.0.1@{}\n",
        UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    );
    let unbound = Unbound::start(&zone, &stub);
    for (name, told, help) in [
        ("none.cluster.example", "no such name (NXDOMAIN)", "search domains are not tried"),
        ("mail.cluster.example", "neither A nor AAAA records", "give the name its addresses"),
        ("refused.example", "(REFUSED)", "let this host ask it"),
        ("broken.example", "(SERVFAIL)", "see the server's log"),
    ] {
        let error = error_of(unbound.address, name);
        assert!(error.contains(told) && error.contains(help), "{name}: {error}");
    }
    for (server, name) in [(unbound.address, "silent.example"), (silent.local_addr().unwrap(), "nodes.cluster.example")]
    {
        let begin = Instant::now();
        let error = error_of(server, name);
        let took = begin.elapsed();
        assert!(error.contains("did not answer in time") && error.contains("UDP and TCP"), "{error}");
        assert!(took >= Duration::from_secs(1), "{took:?}");
        judge_time(took < Duration::from_secs(14), || format!("{took:?}"));
    }
}

#[test]
fn a_server_that_is_gone_is_an_error_and_one_that_is_back_answers() {
    let zone = format!("{ZONE}{}", data("nodes.cluster.example. 60 IN A 10.0.0.1"));
    let unbound = Unbound::start(&zone, "");
    let address = unbound.address;
    block_on(async {
        let mut source = DnsName::new("nodes.cluster.example", Some(address));
        assert_eq!(ask(&mut source).await.unwrap().0, ["10.0.0.1"]);
        drop(unbound);
        let error = ask(&mut source).await.unwrap_err();
        assert!(error.contains(&format!("DNS server {address}")), "{error}");
        let command = std::process::Command::new(find_tool("unbound").unwrap());
        let _again = Unbound::try_start(address, command, &zone, "").unwrap();
        assert_eq!(ask(&mut source).await.unwrap().0, ["10.0.0.1"]);
    });
}

#[test]
fn an_answer_too_long_for_udp_comes_whole_by_tcp() {
    for count in [200, 4_000] {
        let unbound = Unbound::start(&format!("{ZONE}{}", many("nodes.cluster.example.", 0, count)), "");
        assert_eq!(unbound.asked_by_tcp(), 0);
        let (peers, seconds) = look_up(unbound.address, "nodes.cluster.example").unwrap();
        assert_eq!((peers.len(), seconds), (count as usize, 60));
        assert_eq!((peers.first().unwrap().as_str(), peers.contains(&"10.0.0.199".to_owned())), ("10.0.0.0", true));
        assert!(unbound.asked_by_tcp() >= 1);
    }
}

#[test]
fn half_of_an_answer_is_never_taken() {
    // TCP is closed: what came by UDP is cut off.
    let zone = format!("{ZONE}  do-tcp: no\n{}", many("nodes.cluster.example.", 0, 200));
    let unbound = Unbound::start(&zone, "");
    let error = error_of(unbound.address, "nodes.cluster.example");
    assert!(error.contains("A records") || error.contains("does not fit"), "{error}");
}

#[test]
fn ten_thousand_addresses_come_over_several_names_and_never_half_over_one() {
    let mut zone = ZONE.to_owned();
    for number in 0..4 {
        zone.push_str(&many(&format!("n{number}.cluster.example."), number * 2_500, 2_500));
    }
    // 65,535 bytes, the most that a DNS message has, are 4,095 addresses.
    zone.push_str(&many("all.cluster.example.", 0, 10_000));
    let unbound = Unbound::start(&zone, "");
    let mut all = std::collections::BTreeSet::new();
    let begin = Instant::now();
    for number in 0..4 {
        let (peers, _) = look_up(unbound.address, &format!("n{number}.cluster.example")).unwrap();
        assert_eq!(peers.len(), 2_500, "n{number}");
        all.extend(peers);
    }
    let took = begin.elapsed();
    assert_eq!(all.len(), 10_000);
    judge_time(took < Duration::from_secs(20), || format!("{took:?}"));
    println!("10,000 addresses over 4 names: {took:?}");
    let error = error_of(unbound.address, "all.cluster.example");
    println!("{error}");
}

#[test]
fn without_dns_server_the_one_of_resolv_conf_is_asked_without_search_domains() {
    if skip_unless_privileged("without_dns_server_the_one_of_resolv_conf_is_asked_without_search_domains") {
        return;
    }
    let namespace = NetNs::create("resolv").unwrap();
    let zone = format!(
        "{ZONE}{}{}",
        data("nodes.cluster.example. 60 IN A 10.0.0.1"),
        data("short.cluster.example. 60 IN A 10.0.0.66")
    );
    let command = namespace.command(find_tool("unbound").unwrap());
    let _unbound = Unbound::try_start("127.0.0.1:53".parse().unwrap(), command, &zone, "").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("resolv.conf");
    let mut text = String::new();
    writeln!(text, "nameserver 127.0.0.1\nsearch cluster.example").unwrap();
    std::fs::write(&file, text).unwrap();
    namespace
        .run(|| {
            // SAFETY: this thread alone gets mounts of its own; it opens no file by a descriptor from before.
            unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.unwrap();
            mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
            mount_bind(&file, std::fs::canonicalize("/etc/resolv.conf").unwrap()).unwrap();
            block_on(async {
                let mut source = DnsName::new("nodes.cluster.example", None);
                assert_eq!(
                    ask(&mut source).await.unwrap(),
                    (vec!["10.0.0.1".to_owned()], Some(Duration::from_secs(60)))
                );
                // A short name could mean another host with every change of the search list.
                let error = ask(&mut DnsName::new("short", None)).await.unwrap_err();
                assert!(error.starts_with("short: the DNS server of /etc/resolv.conf"), "{error}");
                // The file is read anew: nobody is asked that it does not name any more.
                std::fs::write(&file, "nameserver 127.0.0.99\n").unwrap();
                let error = source.fetch().await.unwrap_err().to_string();
                assert!(error.contains("/etc/resolv.conf"), "{error}");
            });
        })
        .unwrap();
}
