//! The profiles against the vendor's table, written out once more; who decides a port; the canonical text.

use std::collections::BTreeMap;

use super::{Origin, Policy, PolicyError, profile::profile};
use crate::config::{Access, Config, LOCKOUT_PORTS, Mode, Overrides, ProfileName, Protocol};

use Access::{Closed, Cluster, Public};

fn policy(text: &str) -> Policy {
    Policy::from_config(&Config::parse(text, "nodewall.toml").unwrap()).unwrap()
}

fn access(policy: &Policy, protocol: Protocol, port: u16) -> Option<(&str, Access)> {
    policy.class_of(protocol, port).map(|class| (class.name.as_str(), class.access))
}

/// The vendor's table, port by port.
const TABLE: &[(u16, &str, Access)] = &[
    (443, "https", Public),
    (8443, "agent", Cluster),
    (8018, "nodekeeper", Cluster),
    (8019, "upgrade-ui", Cluster),
    (8020, "web-api", Cluster),
    (8021, "web-api", Cluster),
    (8022, "web-nginx", Cluster),
    (5701, "hazelcast", Cluster),
    (5702, "hazelcast", Cluster),
    (5703, "hazelcast", Cluster),
    (5704, "hazelcast", Cluster),
    (5705, "hazelcast", Cluster),
    (5706, "hazelcast", Cluster),
    (5707, "hazelcast", Cluster),
    (5708, "hazelcast", Cluster),
    (5709, "hazelcast", Cluster),
    (5710, "hazelcast", Cluster),
    (5711, "hazelcast", Cluster),
    (9042, "cassandra", Cluster),
    (7000, "cassandra", Cluster),
    (7001, "cassandra", Cluster),
    (7199, "cassandra", Cluster),
    (9200, "elasticsearch", Cluster),
    (9300, "elasticsearch", Cluster),
];

fn assert_table(policy: &Policy, table: &BTreeMap<u16, (&str, Access)>, name: ProfileName) {
    for protocol in Protocol::ALL {
        for port in 0..=u16::MAX {
            assert_eq!(access(policy, *protocol, port), table.get(&port).copied(), "{protocol} {port}");
        }
    }
    for class in &policy.classes {
        assert_eq!(class.from, Origin::Profile(name));
        assert!(class.also_allow.is_empty());
        assert!(class.note.as_ref().is_some_and(|note| !note.is_empty()), "{} has no note", class.name);
    }
    assert!(policy.warnings.is_empty());
}

#[test]
fn dynatrace_managed_is_the_seeds_table() {
    let table = TABLE.iter().map(|(port, class, access)| (*port, (*class, *access))).collect();
    let policy = Policy::from_config(&Config::embedded()).unwrap();
    assert_table(&policy, &table, ProfileName::DynatraceManaged);
    assert_eq!(policy.classes.len(), 9);
    assert!(policy.class_of(Protocol::Tcp, 443).unwrap().note.as_ref().unwrap().contains("Routed to local port 8022"));
}

#[test]
fn dynatrace_managed_current_differs_in_three_places() {
    let mut table: BTreeMap<_, _> = TABLE.iter().map(|(port, class, access)| (*port, (*class, *access))).collect();
    table.insert(5711, ("nodekeeper", Cluster));
    table.insert(9998, ("activegate", Cluster));
    let policy = policy("[profile]\nname = \"dynatrace-managed-current\"\n");
    assert_table(&policy, &table, ProfileName::DynatraceManagedCurrent);
    assert_eq!(policy.classes.len(), 10);
}

#[test]
fn no_profile_can_lock_anyone_out() {
    for name in ProfileName::ALL {
        let table = profile(*name).unwrap();
        for rule in table.rules {
            for (port, _) in LOCKOUT_PORTS {
                assert!(!rule.ports.iter().any(|range| range.contains(port)), "{name}: {} names {port}", rule.name);
            }
        }
    }
}

#[test]
fn profile_none_has_no_classes() {
    assert!(policy("[profile]\nname = \"none\"\n").classes.is_empty());
}

#[test]
fn the_agent_port() {
    let cases: &[(Option<&str>, Option<&str>, Access)] = &[
        (None, None, Cluster),
        (Some("1.165"), None, Public),
        (Some("1.166"), None, Cluster),
        (Some("1.166.0"), None, Cluster),
        (Some("1.99"), None, Public),
        (Some("1.165.999.20190301-120000"), None, Public),
        (Some("1.300"), None, Cluster),
        (Some("1.300.12.20240101-120000"), None, Cluster),
        (Some("0.999"), None, Public),
        (Some("2.0"), None, Cluster),
        (None, Some("public"), Public),
        (None, Some("cluster"), Cluster),
        (Some("1.100"), Some("cluster"), Cluster),
        (Some("1.100"), Some("public"), Public),
        (Some("1.300"), Some("public"), Public),
        (Some("1.300"), Some("cluster"), Cluster),
    ];
    for name in ["dynatrace-managed", "dynatrace-managed-current"] {
        for (version, option, expected) in cases {
            let mut text = format!("[profile]\nname = \"{name}\"\n");
            text += &version.map(|version| format!("cluster_version = \"{version}\"\n")).unwrap_or_default();
            text += &option.map(|option| format!("agent_port_8443 = \"{option}\"\n")).unwrap_or_default();
            let policy = policy(&text);
            for protocol in Protocol::ALL {
                assert_eq!(access(&policy, *protocol, 8443), Some(("agent", *expected)), "{text}");
                // Nothing else follows.
                assert_eq!(access(&policy, *protocol, 8022), Some(("web-nginx", Cluster)), "{text}");
                assert_eq!(access(&policy, *protocol, 9042), Some(("cassandra", Cluster)), "{text}");
            }
        }
    }
}

#[test]
fn the_web_port() {
    let policy = policy("[profile]\nweb_port_8022 = \"public\"\n");
    assert_eq!(access(&policy, Protocol::Tcp, 8022), Some(("web-nginx", Public)));
    assert_eq!(access(&policy, Protocol::Tcp, 8443), Some(("agent", Cluster)));
    assert_eq!(access(&policy, Protocol::Tcp, 8021), Some(("web-api", Cluster)));
}

#[test]
fn an_own_rule_takes_its_ports_from_the_profile() {
    let policy = policy("[[rule]]\nname = \"own\"\nports = [\"5705-5707\", \"7199\"]\naccess = \"closed\"\n");
    for protocol in Protocol::ALL {
        assert_eq!(access(&policy, *protocol, 5704), Some(("hazelcast", Cluster)));
        for port in [5705, 5706, 5707, 7199] {
            assert_eq!(access(&policy, *protocol, port), Some(("own", Closed)), "{port}");
        }
        assert_eq!(access(&policy, *protocol, 5708), Some(("hazelcast", Cluster)));
        assert_eq!(access(&policy, *protocol, 5711), Some(("hazelcast", Cluster)));
        assert_eq!(access(&policy, *protocol, 9042), Some(("cassandra", Cluster)));
    }
    assert_eq!(policy.class_of(Protocol::Tcp, 7199).unwrap().from, Origin::Rule);
    assert!(policy.warnings.is_empty(), "{:?}", policy.warnings);
}

#[test]
fn a_tcp_rule_takes_only_the_tcp_side() {
    let policy = policy("[[rule]]\nname = \"jmx\"\nports = [7199]\nprotocols = [\"tcp\"]\naccess = \"public\"\n");
    assert_eq!(access(&policy, Protocol::Tcp, 7199), Some(("jmx", Public)));
    assert_eq!(access(&policy, Protocol::Udp, 7199), Some(("cassandra", Cluster)));
    assert_eq!(access(&policy, Protocol::Tcp, 9042), Some(("cassandra", Cluster)));
}

#[test]
fn a_class_without_ports_left_is_gone() {
    let policy = policy("[[rule]]\nname = \"search\"\nports = [9200, 9300]\naccess = \"closed\"\n");
    assert!(policy.classes.iter().all(|class| class.name != "elasticsearch"));
}

#[test]
fn a_profile_classs_name_replaces_it_whole() {
    let policy =
        policy("[[rule]]\nname = \"cassandra\"\nports = [9042, 9160]\naccess = \"cluster\"\nprotocols = [\"tcp\"]\n");
    assert_eq!(access(&policy, Protocol::Tcp, 9042), Some(("cassandra", Cluster)));
    assert_eq!(access(&policy, Protocol::Tcp, 9160), Some(("cassandra", Cluster)));
    assert_eq!(access(&policy, Protocol::Udp, 9042), None);
    assert_eq!(access(&policy, Protocol::Tcp, 7000), None);
    assert_eq!(policy.classes.iter().filter(|class| class.name == "cassandra").count(), 1);
    assert_eq!(policy.warnings.len(), 1);
    assert!(
        policy.warnings[0].ends_with("anyone reaches them: tcp 7000-7001, tcp 7199, udp 7000-7001, udp 7199, udp 9042"),
        "{}",
        policy.warnings[0]
    );
}

#[test]
fn options_without_effect_are_told() {
    let none = policy(
        "[profile]\nname = \"none\"\nagent_port_8443 = \"public\"\ncluster_version = \"1.300\"\nweb_port_8022 = \"public\"\n",
    );
    assert_eq!(none.warnings.len(), 3, "{:?}", none.warnings);
    let own = policy(
        "[profile]\nagent_port_8443 = \"public\"\n[[rule]]\nname = \"own\"\nports = [8443]\naccess = \"cluster\"\n",
    );
    assert_eq!(own.warnings, ["profile.agent_port_8443 has no effect: a rule of your own decides port 8443"]);
    assert_eq!(access(&own, Protocol::Tcp, 8443), Some(("own", Cluster)));
    // The UDP side still follows the option.
    let half = policy(
        "[profile]\nagent_port_8443 = \"public\"\n[[rule]]\nname = \"own\"\nports = [8443]\nprotocols = [\"tcp\"]\naccess = \"cluster\"\n",
    );
    assert!(half.warnings.is_empty(), "{:?}", half.warnings);
    assert_eq!(access(&half, Protocol::Udp, 8443), Some(("agent", Public)));
}

#[test]
fn no_port_has_two_classes() {
    let policy = policy(
        "[profile]\nname = \"dynatrace-managed-current\"\n\
         [[rule]]\nname = \"wide\"\nports = [\"5000-9100\"]\nprotocols = [\"udp\"]\naccess = \"closed\"\n\
         [[rule]]\nname = \"hazelcast\"\nports = [5701]\nprotocols = [\"tcp\"]\naccess = \"public\"\n",
    );
    for protocol in Protocol::ALL {
        for port in 0..=u16::MAX {
            let classes = policy.classes.iter().filter(|class| class.names(*protocol, port)).count();
            assert!(classes <= 1, "{protocol} {port}");
        }
    }
}

#[test]
fn enforcing_for_no_peers_is_refused() {
    let error = policy("").require_peers().unwrap_err();
    assert!(matches!(error, PolicyError::NoPeers { .. }));
    for cure in ["--peer", "single_node = true", "mode = \"audit\""] {
        assert!(error.to_string().contains(cure), "{error}");
    }
    assert!(policy("mode = \"audit\"").require_peers().is_ok());
    assert!(policy("single_node = true").require_peers().is_ok());
    assert!(policy("[peers]\nstatic = [\"10.0.0.11\"]").require_peers().is_ok());
    let overrides = Overrides { peers: vec!["10.0.0.11/32".parse().unwrap()], ..Overrides::default() };
    let config = Config::embedded().with_overrides(&overrides).unwrap();
    assert!(Policy::from_config(&config).unwrap().require_peers().is_ok());
}

#[test]
fn a_listed_port_is_not_closed_by_the_profile_either() {
    let parse = |text: &str| Policy::from_config(&Config::parse(text, "nodewall.toml").unwrap());
    let error = parse("lockout_ports = [\"7190-7200\"]\n").unwrap_err().to_string();
    assert!(error.contains("port 7199") && error.contains("cassandra") && error.contains("nodewall.toml"), "{error}");
    assert!(parse("lockout_ports = [\"7190-7200\"]\nallow_lockout = true\n").is_ok());
    assert!(parse("lockout_ports = [\"443\", \"2222\"]\n").is_ok());
    let public = "[[rule]]\nname = \"jmx\"\nports = [\"7199\"]\naccess = \"public\"\n";
    assert!(parse(&format!("lockout_ports = [\"7190-7200\"]\n{public}")).is_ok());
}

const CANONICAL: &str = "\
nodewall-policy 1
mode audit
tunnels peers
later_fragments all
single_node false
class a closed
port a udp 53
allow a 192.0.2.0/24
allow a 2001:db8::1
class jmx cluster
port jmx tcp 7199
port jmx tcp 7210-7220
port jmx udp 7199
port jmx udp 7210-7220
peer 10.0.0.9
peer 10.0.0.11
peer 10.1.0.0/16
peer 2001:db8:1::/64
";

#[test]
fn canonical_text() {
    let one = policy(
        "mode = \"audit\"\nallow_lockout = true\n[profile]\nname = \"none\"\n\
         [peers]\nstatic = [\"10.0.0.11\", \"10.0.0.9\", \"10.1.0.0/16\", \"2001:db8:1::/64\"]\n\
         [[rule]]\nname = \"jmx\"\nports = [\"7199\", \"7210-7219\", 7220]\naccess = \"cluster\"\n\
         [[rule]]\nname = \"a\"\nports = [53]\nprotocols = [\"udp\"]\naccess = \"closed\"\nalso_allow = [\"192.0.2.0/24\", \"2001:db8::1\"]\n",
    );
    assert_eq!(one.canonical(), CANONICAL);
    // The same meaning, written otherwise: order, splitting, notes, file name and interfaces do not matter.
    let other = policy(
        "allow_lockout = true\ntunnels = \"peers\"\nsingle_node = false\ninterfaces = [\"eth0\"]\nmode = \"audit\"\n\
         [[rule]]\nname = \"a\"\nports = [\"53-53\"]\nprotocols = [\"udp\", \"udp\"]\naccess = \"closed\"\nnote = \"x\"\n\
         also_allow = [\"2001:0db8::1/128\", \"192.0.2.0/24\"]\n\
         [[rule]]\nname = \"jmx\"\nports = [\"7212-7220\", \"7199\", \"7210-7211\"]\nprotocols = [\"udp\", \"tcp\"]\naccess = \"cluster\"\n\
         [profile]\nname = \"none\"\n\
         [peers]\nstatic = [\"2001:db8:1::/64\", \"10.1.0.0/16\", \"10.0.0.9\", \"10.0.0.11/32\", \"10.0.0.9\"]\n",
    );
    assert_eq!(other.canonical(), CANONICAL);
}

#[test]
fn whatever_decides_a_packet_changes_the_canonical_text() {
    let base = "[peers]\nstatic = [\"10.0.0.11\"]\n";
    let reference = policy(base).canonical();
    let rule = "[[rule]]\nname = \"own\"\nports = [81]\naccess = \"cluster\"\n";
    let variants = [
        format!("mode = \"audit\"\n{base}"),
        format!("tunnels = \"all\"\n{base}"),
        format!("single_node = true\n{base}"),
        format!("{base}[profile]\nweb_port_8022 = \"public\"\n"),
        format!("{base}[profile]\nagent_port_8443 = \"public\"\n"),
        format!("{base}[profile]\nname = \"dynatrace-managed-current\"\n"),
        "[peers]\nstatic = [\"10.0.0.12\"]\n".to_owned(),
        "[peers]\nstatic = [\"10.0.0.0/24\"]\n".to_owned(),
        format!("{base}{rule}"),
        format!("{base}[profile]\naudit = [\"agent\"]\n"),
        format!("{base}{rule}mode = \"audit\"\n"),
        format!("{base}{rule}protocols = [\"tcp\"]\n"),
        format!("{base}{rule}also_allow = [\"192.0.2.1\"]\n"),
        format!("{base}{}", rule.replace("cluster", "closed")),
        format!("{base}{}", rule.replace("81", "82")),
    ];
    let mut texts: Vec<String> = variants.iter().map(|text| policy(text).canonical()).collect();
    texts.push(reference);
    let count = texts.len();
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), count);
    assert_eq!(policy("").mode, Mode::Enforce);
}

#[test]
fn single_classes_audit() {
    let audited = |text: &str| {
        let policy = policy(text);
        (policy.audited().join(" "), policy.warnings.join(" "))
    };
    let rule = "[[rule]]\nname = \"own\"\nports = [8443]\naccess = \"cluster\"\n";
    let profile = "[profile]\naudit = [\"cassandra\", \"agent\", \"agent\"]\n";
    assert_eq!(audited(profile), ("agent cassandra".into(), String::new()));
    assert_eq!(audited(&format!("{rule}mode = \"audit\"\n")), ("own".into(), String::new()));
    // Where everything audits, no class does so by itself.
    assert_eq!(audited(&format!("mode = \"audit\"\n{profile}")), (String::new(), String::new()));
    // A rule of one's own has its own mode, and is never audited by accident.
    let (names, warning) = audited(&format!("{profile}{rule}"));
    assert!(names == "cassandra" && warning.contains("no effect on agent"), "{names}: {warning}");
    let (names, warning) = audited(&format!("{profile}agent_port_8443 = \"public\"\n"));
    assert!(names == "cassandra" && warning.contains("agent is to audit, and is public"), "{names}: {warning}");
    let refused = |text: &str| Policy::from_config(&Config::parse(text, "f.toml").unwrap()).unwrap_err().to_string();
    let error = refused("[profile]\naudit = [\"casandra\"]\n");
    assert!(error.contains("f.toml") && error.contains("\"casandra\"") && error.contains("\"cassandra\""), "{error}");
    let error = refused("[profile]\nname = \"none\"\naudit = [\"agent\"]\n");
    assert!(error.contains("has no classes"), "{error}");
}

#[test]
fn the_profiles_options_have_the_defaults_that_the_schema_says() {
    let with = |option: &str| {
        let Policy { warnings, classes, .. } = policy(&format!("[profile]\n{option}\n"));
        (classes, warnings)
    };
    assert_eq!(with("web_port_8022 = \"cluster\""), with(""));
    assert_eq!(with("agent_port_8443 = \"cluster\""), with(""));
}
