//! The image says of every port what the policy says.

use node_ebpf_common::{
    counter::{ROW_FIRST, denied_from, place},
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
                    assert_eq!(row.otherwise, place(expected, true) as u16, "{protocol} {port}");
                    assert_eq!(row.allow & GROUP_PEER != 0, class.access == Access::Cluster, "{protocol} {port}");
                    assert_eq!(row.allow & !GROUP_PEER != 0, !class.also_allow.is_empty(), "{protocol} {port}");
                    assert_eq!(class_name(record), class.name);
                    assert!(record.first_port <= port && port <= record.last_port && record.active == 1);
                }
                None if protocol == Protocol::Udp && TUNNEL_UDP_PORTS.contains(&port) => {
                    assert_eq!(row, Row::new(GROUP_PEER, Reason::TunnelOutsider, true));
                }
                None => {
                    assert_eq!(row.otherwise, place(Reason::Unmanaged, true) as u16, "{protocol} {port}");
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
    assert_eq!((enforce.image.enforce, enforce.image.denied_from), (1, denied_from(true) as u8));
    assert_eq!((audit.image.enforce, audit.image.denied_from), (0, denied_from(false) as u8));
    assert_eq!((enforce.image.magic, enforce.image.zero, enforce.image.generation), (MAGIC, 0, 3));
    assert_ne!(enforce.image.policy_sha256, audit.image.policy_sha256);
    assert_eq!(enforce.image.policy_sha256, policy_sha256(&policy("")));
}

#[test]
fn a_class_that_audits_denies_the_same_and_drops_only_what_is_blocked() {
    let text = "[profile]\naudit = [\"agent\", \"https\"]\n";
    let (plain, audited, all) = (compiled(""), compiled(text), compiled(&format!("mode = \"audit\"\n{text}")));
    let rows = |port| [&plain, &audited, &all].map(|compiled| row_of(compiled, TABLE_TCP, port).1);
    let places = |reason| [true, false].map(|enforce| place(reason, enforce) as u16);
    let ([dropped, passed], [blocked, told]) = (places(Reason::Outsider), places(Reason::BlockedSource));
    assert_eq!(rows(8443).map(|row| row.otherwise), [dropped, passed, passed]);
    assert_eq!(rows(8443).map(|row| row.blocked), [blocked, blocked, told]);
    assert_eq!(rows(8443).map(|row| row.only_audits()), [false, true, true]);
    assert_eq!(rows(9042).map(|row| row.only_audits()), [false, false, true]);
    assert_eq!(rows(443)[0], rows(443)[1], "nobody is denied there");
    assert_eq!((audited.image.enforce, audited.image.denied_from), (plain.image.enforce, plain.image.denied_from));
}

#[test]
fn an_own_address_is_no_peer_even_inside_a_peer_prefix() {
    let policy = policy("[peers]\nstatic = [\"10.0.0.0/24\", \"10.0.0.9\"]\n");
    let own_addresses = vec!["10.0.0.1".parse().unwrap(), "10.0.0.9".parse().unwrap()];
    let facts = Facts { own_addresses, ..Facts::default() };
    let image = compile(&policy, RowTable::default(), &facts).unwrap().image;
    let frame: &[u8] = &[];
    let found = |text: &str| image.source(frame, sources::source_of(text.parse().unwrap()));
    assert_eq!(found("10.0.0.1"), value(GROUP_SPOOFED, 0));
    assert_eq!(found("10.0.0.9"), value(GROUP_SPOOFED, 0));
    assert_eq!(found("10.0.0.2"), value(GROUP_PEER, 1));
}

#[test]
fn tunnels_for_all_are_counted_and_not_dropped_and_an_own_rule_for_their_port_wins() {
    let all = compiled("tunnels = \"all\"");
    assert_eq!(all.image.row(ROW_IP_TUNNELS), Row::new(0, Reason::Public, true));
    let own = compiled("[[rule]]\nname = \"overlay\"\nports = [4789]\nprotocols = [\"udp\"]\naccess = \"public\"\n");
    assert_eq!(row_of(&own, TABLE_UDP, 4789).1.otherwise, place(Reason::Public, true) as u16);
    assert_eq!(row_of(&own, TABLE_UDP, 8472).1.otherwise, place(Reason::TunnelOutsider, true) as u16);
}

/// Ports that this host unpacks, beside a policy's own words about them.
#[test]
fn a_port_that_the_host_unpacks_is_a_tunnels_unless_a_class_keeps_it_as_closely() {
    let rules = r#"
        [profile]
        agent_port_8443 = "public"
        [[rule]]
        name = "overlay"
        ports = ["5557", "20000-20400"]
        access = "public"
        [[rule]]
        name = "nobody"
        ports = ["5558"]
        access = "closed"
    "#;
    let tunnel = |tunnels: &str| match tunnels {
        "all" => Row::new(0, Reason::Public, true),
        _ => Row::new(GROUP_PEER, Reason::TunnelOutsider, true),
    };
    let ports = BTreeSet::from([443, 4789, 5555, 5557, 5558, 8443, 9042, 20_001]);
    for tunnels in ["peers", "all"] {
        let policy = policy(&format!("tunnels = \"{tunnels}\"\n{rules}"));
        let facts = Facts { tunnel_ports: ports.clone(), ..Facts::default() };
        let compiled = compile(&policy, RowTable::default(), &facts).unwrap();
        let without = compile(&policy, RowTable::default(), &Facts::default()).unwrap();
        let place = |compiled: &Compiled, table, port| {
            let (number, row) = row_of(compiled, table, port);
            (class_name(&compiled.rows.records()[number as usize]), row)
        };
        // Unnamed, and what the profile opens without knowing of the device.
        for port in [443, 5555, 8443] {
            assert_eq!(place(&compiled, TABLE_UDP, port), ("tunnel".into(), tunnel(tunnels)), "{port}");
        }
        // The operator's word, and what is kept from outsiders in any case: also where tunnels are for all.
        for port in (0..=u16::MAX).filter(|port| ![443, 5555, 8443].contains(port)) {
            assert_eq!(place(&compiled, TABLE_UDP, port), place(&without, TABLE_UDP, port), "{port}");
        }
        assert_eq!(
            compiled.image.port_words[0].as_slice(),
            without.image.port_words[0].as_slice(),
            "no TCP port is a tunnel's"
        );
        assert_eq!(compiled.image.policy_sha256, without.image.policy_sha256, "what a host unpacks is no policy");

        let open = crate::open_to_all(&compiled.image, compiled.rows.records(), &ports);
        let untold = crate::open_to_all(&without.image, without.rows.records(), &ports);
        let named = |class: &str| Some(class.to_owned());
        if tunnels == "all" {
            assert!(open.is_empty() && untold.is_empty());
            continue;
        }
        let by_rule = [(5557, named("overlay")), (20_001, named("overlay"))];
        assert_eq!(open, BTreeMap::from(by_rule.clone()));
        let by_none = [(443, named("https")), (5555, None), (8443, named("agent"))];
        assert_eq!(untold, by_rule.into_iter().chain(by_none).collect());
    }
}

/// However many ports come and go, they leave the rows to the policy and are judged.
#[test]
fn ports_that_come_and_go_take_few_rows() {
    let policy = policy("");
    let mut rows = RowTable::default();
    let mut first = None;
    for round in 0..40 {
        let ports: BTreeSet<u16> = (0..100).map(|n| 30_000 + round * 100 + n).chain([29_999]).collect();
        let facts = Facts { tunnel_ports: ports.clone(), ..Facts::default() };
        let compiled = compile(&policy, rows, &facts).unwrap();
        for port in ports {
            let row = row_of(&compiled, TABLE_UDP, port).1;
            assert_eq!(row, Row::new(GROUP_PEER, Reason::TunnelOutsider, true), "{port}");
        }
        assert_eq!(
            row_of(&compiled, TABLE_UDP, 30_000 + round * 100 + 100).1.otherwise,
            place(Reason::Unmanaged, true) as u16
        );
        let stays = row_of(&compiled, TABLE_UDP, 29_999).0;
        assert!(stays >= ROW_FIRST && *first.get_or_insert(stays) == stays, "a port keeps its row");
        rows = compiled.rows;
    }
    let taken = rows.records().iter().filter(|record| class_name(record) == TUNNEL_CLASS).count();
    assert_eq!(taken, MAX_TUNNEL_ROWS);
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
    image.source(frame, sources::source_of(address.parse().unwrap()))
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

/// A block is about sources alone: ports and rows stay what they were.
#[test]
fn blocks_change_no_row_and_no_port() {
    for text in ["", "tunnels = \"all\"\nlater_fragments = \"peers\"\n[profile]\nweb_port_8022 = \"public\""] {
        let (without, with) = (blocking(text, &[], &[]), blocking(text, &[], &["192.0.2.1/32"]));
        assert_eq!((without.blocked, with.blocked), (0, 1));
        assert_eq!(without.rows, with.rows);
        assert_eq!(without.port_words, with.port_words);
    }
}

/// The verdict function asks of a source that is let in nothing but its groups: they must say where it cannot be genuine.
#[test]
fn where_peers_meet_martian_addresses_the_table_says_so() {
    let config = Config::parse("", "test.toml").unwrap();
    let peers = ["0.1.0.0/16", "10.0.0.0/8"].map(|net| net.parse().unwrap());
    let policy = Policy { peers: peers.to_vec(), ..Policy::from_config(&config).unwrap() };
    let image = compile(&policy, RowTable::default(), &Facts::default()).unwrap().image;
    assert_eq!(groups_of(&image, "0.1.2.3") as u32, GROUP_PEER | GROUP_SPOOFED);
    assert_eq!(groups_of(&image, "10.1.2.3") as u32, GROUP_PEER);
    // No configuration can say this; a policy could.
    let wide = Policy { peers: vec!["96.0.0.0/3".parse().unwrap(), "::/16".parse().unwrap()], ..policy };
    let image = compile(&wide, RowTable::default(), &Facts::default()).unwrap().image;
    for (address, groups) in [
        ("127.0.0.1", GROUP_SPOOFED),
        ("126.0.0.1", GROUP_PEER),
        ("::1", GROUP_SPOOFED),
        ("::ffff:10.0.0.1", GROUP_SPOOFED),
        ("::2", GROUP_PEER),
    ] {
        assert_eq!(groups_of(&image, address) as u32 & GROUP_SPOOFED, groups & GROUP_SPOOFED, "{address}");
    }
}

/// What peers must be to come in by an interface: its own group for prefixes, none for "none"; an interface that this host lacks has no rule.
#[test]
fn an_interface_with_peers_of_its_own_has_a_rule_for_each_of_its_indexes() {
    let text = r#"
        [[rule]]
        name = "ops"
        ports = ["7199"]
        access = "cluster"
        also_allow = ["192.0.2.0/24"]
        [[interface]]
        name = "bond0"
        peers = ["10.1.0.0/16"]
        [[interface]]
        name = "eth9"
        peers = "none"
        [[interface]]
        name = "gone0"
        peers = "none"
        [peers]
        static = ["10.1.0.7", "10.2.0.7"]
    "#;
    let interfaces = [("bond0".to_owned(), [3, 4, 5].into()), ("eth9".to_owned(), [9].into())].into();
    let image = compile(&policy(text), RowTable::default(), &Facts { interfaces, ..Facts::default() }).unwrap().image;
    let within = GROUP_RULE_FIRST << 1;
    let expected = [(3, within), (4, within), (5, within), (9, 0), (0, 0)];
    for (rule, (if_index, admits)) in image.interface_rules.iter().zip(expected) {
        assert_eq!(*rule, InterfaceRule { if_index, admits });
    }
    assert_eq!(groups_of(&image, "10.1.0.7") as u32, GROUP_PEER | within);
    assert_eq!(groups_of(&image, "10.2.0.7") as u32, GROUP_PEER);
    assert_eq!(groups_of(&image, "10.1.0.8") as u32, within);
    let many = [("bond0".to_owned(), (1..=9).collect())].into();
    let facts = Facts { interfaces: many, ..Facts::default() };
    assert!(matches!(
        compile(&policy(text), RowTable::default(), &facts),
        Err(CompileError::Interfaces { interfaces: 9 })
    ));
    assert!(policy(text).canonical().contains("\ninterface bond0 peers 10.1.0.0/16\ninterface eth9 peers none\n"));
    assert!(policy(text).shape().interface_rules && !policy("").shape().interface_rules);
}
