//! The image says of every port what the policy says.

use node_ebpf_common::{
    counter::{ROW_FIRST, ROWS},
    policy::value,
};

use super::*;
use crate::{class_name, config::Config};

fn policy(text: &str) -> Policy {
    Policy::from_config(&Config::parse(text, "test.toml").unwrap()).unwrap()
}

fn compiled(text: &str) -> Compiled {
    compile(&policy(text), RowTable::default(), &Facts { generation: 3, ..Facts::default() }).unwrap()
}

fn row_of(compiled: &Compiled, table: u32, port: u16) -> (u32, Row) {
    let number = compiled.image.row_of(table, u32::from(port.swap_bytes()));
    (number, compiled.image.row(number))
}

#[test]
fn every_port_of_both_protocols_has_the_row_that_the_policy_says() {
    let text = r#"
        [profile]
        web_port_8022 = "public"
        [[rule]]
        name = "ops"
        ports = ["7199", "10000-10400"]
        protocols = ["tcp"]
        access = "closed"
        also_allow = ["192.0.2.0/24"]
    "#;
    let (compiled, policy) = (compiled(text), policy(text));
    for (table, protocol) in [(TABLE_TCP, Protocol::Tcp), (TABLE_UDP, Protocol::Udp)] {
        for port in 0..=u16::MAX {
            let (number, row) = row_of(&compiled, table, port);
            let record = &compiled.rows.records()[number as usize];
            match policy.class_of(protocol, port) {
                Some(class) => {
                    let expected = match class.access {
                        Access::Public => Reason::Public,
                        Access::Cluster => Reason::Outsider,
                        Access::Closed => Reason::Closed,
                    };
                    assert_eq!(row.otherwise, expected.number(), "{protocol} {port}");
                    assert_eq!(row.allow & GROUP_PEER != 0, class.access == Access::Cluster, "{protocol} {port}");
                    assert_eq!(row.allow & !GROUP_PEER != 0, !class.also_allow.is_empty(), "{protocol} {port}");
                    assert_eq!(class_name(record), class.name);
                    assert!(record.first_port <= port && port <= record.last_port && record.active == 1);
                }
                None if protocol == Protocol::Udp && TUNNEL_UDP_PORTS.contains(&port) => {
                    assert_eq!(row, Row { allow: GROUP_PEER, otherwise: Reason::TunnelOutsider.number() });
                }
                None => {
                    assert_eq!(row.otherwise, Reason::Unmanaged.number(), "{protocol} {port}");
                    assert!(number < ROW_FIRST);
                }
            }
        }
    }
}

#[test]
fn ports_have_rows_of_their_own_and_large_ranges_share_one() {
    let compiled =
        compiled("[[rule]]\nname = \"r\"\nports = [\"20000-20255\", \"30000-30256\"]\naccess = \"cluster\"\n");
    let rows = |range: std::ops::RangeInclusive<u16>| {
        range.map(|p| row_of(&compiled, TABLE_TCP, p).0).collect::<BTreeSet<_>>().len()
    };
    assert_eq!(rows(20_000..=20_255), 256);
    assert_eq!(rows(30_000..=30_256), 1);
    assert_ne!(row_of(&compiled, TABLE_TCP, 30_000).0, row_of(&compiled, TABLE_UDP, 30_000).0);
}

#[test]
fn modes_generation_and_hash_are_in_the_image() {
    let (enforce, audit) = (compiled("mode = \"enforce\""), compiled("mode = \"audit\""));
    assert_eq!((enforce.image.enforce, enforce.image.counter_bank), (1, 0));
    assert_eq!((audit.image.enforce, audit.image.counter_bank), (0, ROWS));
    assert_eq!((enforce.image.magic, enforce.image.zero, enforce.image.generation), (MAGIC, 0, 3));
    assert_ne!(enforce.image.policy_sha256, audit.image.policy_sha256);
    assert_eq!(enforce.image.policy_sha256, policy_sha256(&policy("")));
}

#[test]
fn an_own_address_is_no_peer_even_inside_a_peer_prefix() {
    let policy = policy("[peers]\nstatic = [\"10.0.0.0/24\", \"10.0.0.9\"]\n");
    let own_addresses = vec!["10.0.0.1".parse().unwrap(), "10.0.0.9".parse().unwrap()];
    let facts = Facts { own_addresses, ..Facts::default() };
    let image = compile(&policy, RowTable::default(), &facts).unwrap().image;
    let frame: &[u8] = &[];
    let found = |text: &str| image.source(frame, sources::source_of(text.parse().unwrap()), || true);
    assert_eq!(found("10.0.0.1"), value(GROUP_SPOOFED, 0));
    assert_eq!(found("10.0.0.9"), value(GROUP_SPOOFED, 0));
    assert_eq!(found("10.0.0.2"), value(GROUP_PEER, 1));
}

#[test]
fn tunnels_for_all_are_counted_and_not_dropped_and_an_own_rule_for_their_port_wins() {
    let all = compiled("tunnels = \"all\"");
    assert_eq!(all.image.row(ROW_IP_TUNNELS), Row { allow: 0, otherwise: Reason::Public.number() });
    let own = compiled("[[rule]]\nname = \"overlay\"\nports = [4789]\nprotocols = [\"udp\"]\naccess = \"public\"\n");
    assert_eq!(row_of(&own, TABLE_UDP, 4789).1.otherwise, Reason::Public.number());
    assert_eq!(row_of(&own, TABLE_UDP, 8472).1.otherwise, Reason::TunnelOutsider.number());
}

fn blocking(text: &str, own: &[&str], blocked: &[&str]) -> Box<PolicyImage> {
    let facts = Facts {
        own_addresses: own.iter().map(|address| address.parse().unwrap()).collect(),
        blocked: blocked.iter().map(|net| net.parse().unwrap()).collect(),
        ..Facts::default()
    };
    compile(&policy(text), RowTable::default(), &facts).unwrap().image
}

fn groups_of(image: &PolicyImage, address: &str) -> u64 {
    let frame: &[u8] = &[];
    image.source(frame, sources::source_of(address.parse().unwrap()), || true)
}

#[test]
fn a_block_reaches_peers_and_allowed_sources_inside_and_around_it_and_no_own_address() {
    let text = r#"
        [peers]
        static = ["10.0.0.0/16", "10.0.3.4", "2001:db8::7"]
        [[rule]]
        name = "ops"
        ports = ["7199"]
        access = "cluster"
        also_allow = ["192.0.2.0/24"]
    "#;
    let blocked = ["10.0.3.0/24", "192.0.2.8/32", "192.0.2.8/32", "2001:db8::/32", "2001:db8:f::/48"];
    let own = ["10.0.3.1", "192.0.2.8", "2001:db8::1"];
    let image = blocking(text, &own, &blocked);
    assert_eq!(image.blocked, 4, "one was named twice");
    for (address, groups, peer) in [
        ("10.0.2.4", GROUP_PEER, 1),
        ("10.0.3.3", GROUP_PEER | GROUP_BLOCKED, 1),
        ("10.0.3.4", GROUP_PEER | GROUP_BLOCKED, 2),
        ("10.0.3.1", GROUP_SPOOFED, 0),
        ("192.0.2.7", GROUP_RULE_FIRST, 0),
        ("192.0.2.8", GROUP_SPOOFED, 0),
        ("2001:db8::7", GROUP_PEER | GROUP_BLOCKED, 3),
        ("2001:db8::8", GROUP_BLOCKED, 0),
        ("2001:db8::1", GROUP_SPOOFED, 0),
        ("2001:db9::", 0, 0),
        ("198.51.100.1", 0, 0),
    ] {
        assert_eq!(groups_of(&image, address), value(groups, peer), "{address}");
    }
}

#[test]
fn a_block_of_everything_and_one_with_host_bits_are_the_networks_they_mean() {
    let image = blocking("", &[], &["0.0.0.0/0"]);
    assert_eq!(groups_of(&image, "8.8.8.8"), value(GROUP_BLOCKED, 0));
    assert_eq!(groups_of(&image, "2001:db8::1"), 0);
    let image = blocking("", &[], &["10.0.0.77/24", "10.0.0.78/24"]);
    assert_eq!(image.blocked, 1);
    assert_eq!(groups_of(&image, "10.0.0.1"), value(GROUP_BLOCKED, 0));
    assert_eq!(groups_of(&image, "10.0.1.1"), 0);
}

/// With a block every row that a packet can meet asks for the source, and nothing else about it changes; without one no row knows of it.
#[test]
fn rows_ask_for_blocked_sources_only_where_there_are_blocks() {
    for text in ["", "tunnels = \"all\"\nlater_fragments = \"peers\"\n[profile]\nweb_port_8022 = \"public\""] {
        let (without, with) = (blocking(text, &[], &[]), blocking(text, &[], &["192.0.2.1/32"]));
        assert_eq!((without.blocked, with.blocked), (0, 1));
        assert!(without.rows.iter().all(|row| row.allow & GROUP_BLOCKED == 0));
        for (number, (before, after)) in (0..).zip(without.rows.iter().zip(&with.rows)) {
            let by_its_source = number != ROW_LATER_FRAGMENTS || before.allow != 0;
            let block = if by_its_source { GROUP_BLOCKED } else { 0 };
            assert_eq!(*after, Row { allow: before.allow | block, ..*before }, "row {number}");
        }
        assert_eq!(with.row(ROW_LATER_FRAGMENTS).allow & GROUP_BLOCKED != 0, text.contains("later_fragments"));
        assert_eq!(without.port_rows, with.port_rows);
    }
}
