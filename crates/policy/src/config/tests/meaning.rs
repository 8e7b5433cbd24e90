//! What accepted text means, and what an error looks like.

use super::super::peers::{DEFAULT_API_INTERVAL, DEFAULT_HTTP_SD_INTERVAL};
use super::super::{
    Access, AttachMode, Config, ConfigOrigin, DEFAULT_REMOVAL_DELAY, InterfacePattern, Mode, PortRange, PortSet,
    ProfileAccess, ProfileName, Protocol, Tunnels, show,
};
use super::refused;

const WHOLE: &str = r#"
mode = "audit"
interfaces = ["eth0", "bond*", "eth0"]
attach_mode = "generic"
single_node = true
tunnels = "all"
allow_lockout = true
lockout_ports = ["2222", 8443, "8440-8442"]

[profile]
name = "dynatrace-managed-current"
cluster_version = "1.300.12.20240101-120000"
agent_port_8443 = "public"
web_port_8022 = "public"

[peers]
static = ["10.0.0.12", "2001:db8:1::/64", "10.0.0.11", "10.0.0.12/32", "2001:DB8::1"]
within = ["10.0.0.0/16", "10.0.0.0/16"]

[[rule]]
name = "jmx-from-ops"
ports = ["7199", "7210-7219", 7220, "7215"]
protocols = ["tcp", "tcp"]
access = "cluster"
also_allow = ["192.0.2.0/24", "10.0.0.0/7", "192.0.2.0/24"]
note = "the operators' console"

[[rule]]
name = "ssh"
ports = [22]
access = "closed"
"#;

fn range(first: u16, last: u16) -> PortRange {
    PortRange::new(first, last).unwrap()
}

#[test]
fn every_key() {
    let config = Config::parse(WHOLE, "nodewall.toml").unwrap();
    assert_eq!(config.origin, ConfigOrigin::Named("nodewall.toml".into()));
    assert_eq!((config.mode, config.attach_mode, config.tunnels), (Mode::Audit, AttachMode::Generic, Tunnels::All));
    assert!(config.single_node && config.allow_lockout);
    assert_eq!(config.lockout_ports.as_slice(), [range(2222, 2222), range(8440, 8443)]);
    let interfaces: Vec<String> = config.interfaces.iter().map(ToString::to_string).collect();
    assert_eq!(interfaces, ["eth0", "bond*"]);
    assert_eq!(config.profile.name, ProfileName::DynatraceManagedCurrent);
    let version = config.profile.cluster_version.unwrap();
    assert_eq!((version.major, version.minor), (1, 300));
    assert_eq!(version.to_string(), "1.300.12.20240101-120000");
    assert_eq!(config.profile.agent_port_8443, Some(ProfileAccess::Public));
    assert_eq!(config.profile.web_port_8022, Some(ProfileAccess::Public));
    let peers: Vec<String> = config.peers.named.iter().map(|peer| show(&peer.prefix)).collect();
    assert_eq!(peers, ["10.0.0.11", "10.0.0.12", "2001:db8::1", "2001:db8:1::/64"]);
    assert_eq!(config.peers.within.len(), 1);
    let jmx = &config.rules[0];
    assert_eq!(jmx.name, "jmx-from-ops");
    assert_eq!(jmx.ports.as_slice(), [range(7199, 7199), range(7210, 7220)]);
    assert_eq!(jmx.protocols, [Protocol::Tcp]);
    assert_eq!(jmx.access, Access::Cluster);
    assert_eq!(jmx.also_allow.iter().map(show).collect::<Vec<_>>(), ["10.0.0.0/7", "192.0.2.0/24"]);
    assert_eq!(jmx.note.as_deref(), Some("the operators' console"));
    assert_eq!(config.rules[1].protocols, [Protocol::Tcp, Protocol::Udp]);
    assert_eq!(config.rules[1].ports.as_slice(), [range(22, 22)]);
}

#[test]
fn every_source_of_peers() {
    let text = r#"
[peers]
within = ["10.0.0.0/16"]
file = "/etc/nodewall/peers"
dns = ["Nodes.Example.", "b_1.example", "nodes.example"]
dns_server = "[fd00::53]:5353"
vendor_firewall = true
removal_delay = "1h30m"

[peers.http_sd]
url = "http://[fd00::1]:8080/sd?cluster=a"
ca = "/etc/ssl/sd.pem"
interval = "5s"

[peers.dynatrace_api]
url = "https://n1.example:8443/"
token_file = "nodewall-token"
"#;
    let peers = Config::parse(text, "nodewall.toml").unwrap().peers;
    assert_eq!(peers.file.as_deref(), Some("/etc/nodewall/peers".as_ref()));
    assert_eq!(peers.dns, ["nodes.example", "b_1.example"]);
    assert_eq!(peers.dns_server, Some("[fd00::53]:5353".parse().unwrap()));
    assert!(peers.vendor_firewall && peers.has_sources());
    assert_eq!(peers.removal_delay.as_secs(), 5_400);
    let http_sd = peers.http_sd.unwrap();
    assert_eq!(http_sd.url, "http://[fd00::1]:8080/sd?cluster=a");
    assert_eq!((http_sd.ca.as_deref(), http_sd.interval.as_secs()), (Some("/etc/ssl/sd.pem".as_ref()), 5));
    let api = peers.dynatrace_api.unwrap();
    assert_eq!(
        (api.url.as_str(), api.token_file.to_str(), api.ca),
        ("https://n1.example:8443", Some("nodewall-token"), None)
    );
    assert_eq!(api.interval, DEFAULT_API_INTERVAL);

    // What nobody else can answer needs no bounds.
    let bare = "[peers.http_sd]\nurl = \"https://sd.example\"\n[peers.dynatrace_api]\nurl = \"https://n1\"\ntoken_file = \"/t\"\n";
    let peers = Config::parse(bare, "nodewall.toml").unwrap().peers;
    assert_eq!(peers.http_sd.unwrap().interval, DEFAULT_HTTP_SD_INTERVAL);
    assert_eq!(peers.removal_delay, DEFAULT_REMOVAL_DELAY);
    assert!(!Config::embedded().peers.has_sources());
}

#[test]
fn an_empty_text_is_the_embedded_default() {
    let mut config = Config::parse("", "nodewall.toml").unwrap();
    config.origin = ConfigOrigin::Embedded;
    assert_eq!(config, Config::embedded());
    assert_eq!(config.mode, Mode::Enforce);
    assert_eq!(config.attach_mode, AttachMode::Native);
    assert_eq!(config.tunnels, Tunnels::Peers);
    assert_eq!(config.profile.name, ProfileName::DynatraceManaged);
    assert!(config.interfaces.is_empty() && config.peers.named.is_empty() && config.rules.is_empty());
    assert!(!config.single_node && !config.allow_lockout);
}

#[test]
fn the_ends_of_what_is_accepted() {
    for ports in ["\"1\"", "\"65535\"", "1", "65535", "\"1-65535\"", "\"80-80\""] {
        let text = format!("[[rule]]\nname = \"own\"\naccess = \"public\"\nports = [{ports}]\n");
        assert!(Config::parse(&text, "t").is_ok(), "{ports}");
    }
    for peer in [
        "10.0.0.0/8",
        "2001:db8::/32",
        "255.255.255.254",
        "fe80::1",
        "::2",
        "::fffe:0:0/96",
        "223.255.255.255",
        "128.0.0.0/8",
    ] {
        assert!(Config::parse(&format!("[peers]\nstatic = [\"{peer}\"]"), "t").is_ok(), "{peer}");
    }
    for allowed in ["0.0.0.0/1", "::/1", "128.0.0.0/1"] {
        let text =
            format!("[[rule]]\nname = \"own\"\naccess = \"closed\"\nports = [1]\nalso_allow = [\"{allowed}\"]\n");
        assert!(Config::parse(&text, "t").is_ok(), "{allowed}");
    }
    for version in ["0.0", "1.166", "1.300.0", "4294967295.4294967295"] {
        assert!(Config::parse(&format!("[profile]\ncluster_version = \"{version}\""), "t").is_ok(), "{version}");
    }
    let longest = "x".repeat(31);
    assert!(Config::parse(&format!("[[rule]]\nname = \"{longest}\"\nports = [1]\naccess = \"public\""), "t").is_ok());
    // Public rules close nothing; the same port under two protocols is two ports.
    assert!(Config::parse("[[rule]]\nname = \"a\"\nports = [\"20-70\"]\naccess = \"public\"\n", "t").is_ok());
    let split = "[[rule]]\nname = \"a\"\nports = [7]\nprotocols = [\"tcp\"]\naccess = \"public\"\n\
                 [[rule]]\nname = \"b\"\nports = [7]\nprotocols = [\"udp\"]\naccess = \"public\"\n";
    assert!(Config::parse(split, "t").is_ok());
}

#[test]
fn interface_patterns() {
    let matches = |pattern: &str, name| pattern.parse::<InterfacePattern>().unwrap().matches(name);
    assert!(matches("eth0", "eth0") && !matches("eth0", "eth01") && !matches("eth0", "eth"));
    assert!(matches("bond*", "bond0") && matches("bond*", "bond") && !matches("bond*", "xbond0"));
    assert!(matches("*", "eth0") && !matches("*", "lo") && !matches("l*", "lo"));
    assert_eq!("eth0".parse::<InterfacePattern>().unwrap().exact(), Some("eth0"));
    assert_eq!("eth*".parse::<InterfacePattern>().unwrap().exact(), None);
}

#[test]
fn sets_of_ports() {
    let set = |ranges: &[(u16, u16)]| ranges.iter().map(|&(first, last)| range(first, last)).collect::<PortSet>();
    let merged = set(&[(5, 9), (1, 2), (3, 3), (7, 20), (65535, 65535)]);
    assert_eq!(merged.to_string(), "1-3,5-20,65535");
    let all = PortSet::from(PortRange::ALL);
    assert_eq!(all.difference(&merged).to_string(), "4,21-65534");
    assert_eq!(all.difference(&all).to_string(), "");
    assert_eq!(merged.difference(&PortSet::default()), merged);
    assert_eq!(merged.difference(&set(&[(2, 6), (8, 8), (20, 65535)])).to_string(), "1,7,9-19");
    // Against the plain statement: port by port.
    let other = set(&[(2, 11), (15, 15), (19, 40), (65530, 65535)]);
    let (both, either, only) = (merged.intersection(&other), merged.union(&other), merged.difference(&other));
    for port in 1..=65535 {
        let (a, b) = (merged.contains(port), other.contains(port));
        assert_eq!(
            (both.contains(port), either.contains(port), only.contains(port)),
            (a && b, a || b, a && !b),
            "{port}"
        );
    }
}

#[test]
fn an_error_shows_the_line_and_a_caret() {
    let text = "# a comment\n[[rule]]\nname = \"own\"\naccess = \"public\"\nports = [\"9042\", \"70000\"]\n";
    assert_eq!(
        refused(text).to_string(),
        "nodewall.toml:5:18: ports: \"70000\" is not a port; expected 1 to 65535 or a range such as \"5701-5711\"\n\
         5 | ports = [\"9042\", \"70000\"]\n  \
           |                  ^^^^^^^"
    );
    let errors = refused("mod = 1\n");
    assert_eq!(
        errors.to_string(),
        "nodewall.toml:1:1: unknown key \"mod\"; did you mean \"mode\"?\n1 | mod = 1\n  | ^^^\n  = help: known here: mode, \
         interfaces, attach_mode, single_node, tunnels, later_fragments, allow_lockout, lockout_ports, profile, peers, mission_control, export, push, counters, evidence, ledger, interface, rule"
    );
    let json = serde_json::to_value(&errors).unwrap();
    assert_eq!(json["errors"][0]["line"], 1);
    assert_eq!(json["errors"][0]["file"], "nodewall.toml");
}

#[test]
fn places_survive_tabs_windows_line_ends_marks_and_long_lines() {
    let tabs = refused("[peers]\n\tstatic = [\"x\"]\n");
    assert_eq!(tabs.errors()[0].column, Some(12));
    assert!(
        tabs.to_string()
            .ends_with("\n2 |  static = [\"x\"]\n  |            ^^^\n  = help: write the host's addresses: names are not looked up here; [peers] dns is for them"),
        "{tabs}"
    );

    let crlf = refused("mode = \"audit\"\r\n[peers]\r\nstatic = [\"x\"]\r\n");
    assert_eq!((crlf.errors()[0].line, crlf.errors()[0].column), (Some(3), Some(11)));
    assert_eq!(crlf.errors()[0].source_line.as_deref(), Some("static = [\"x\"]"));

    let byte_order_mark = refused("\u{feff}mod = 1\n");
    assert_eq!((byte_order_mark.errors()[0].line, byte_order_mark.errors()[0].column), (Some(1), Some(1)));
    assert_eq!(byte_order_mark.errors()[0].source_line.as_deref(), Some("mod = 1"));

    let wide = refused("interfaces = [\"größe\", \"\"]\n");
    assert_eq!(wide.errors()[0].column, Some(24));

    let long = refused(&format!("[peers]\nstatic = [{}\"x\"]\n", "\"10.0.0.1\", ".repeat(1_000)));
    let error = &long.errors()[0];
    assert_eq!(error.column, Some(11 + 12 * 1_000));
    let (before, width) = error.caret.unwrap();
    let shown: String = error.source_line.as_ref().unwrap().chars().skip(before).take(width).collect();
    assert_eq!(shown, "\"x\"");
    assert!(error.source_line.as_ref().unwrap().chars().count() <= 160);
}

#[test]
fn a_terminal_escape_is_not_passed_on() {
    let errors = refused("mode = \"\u{1b}[31m\"\n");
    assert!(!errors.to_string().contains('\u{1b}'), "{errors:?}");
    let errors = refused("[peers]\nstatic = [\"\\u001b[31m\"]\n");
    assert!(!errors.to_string().contains('\u{1b}'), "{errors:?}");
    let errors = refused("\"\\u001b[31m\" = 1\n");
    assert!(!errors.to_string().contains('\u{1b}'), "{errors:?}");
}

#[test]
fn all_refused_values_are_told_at_once_in_order() {
    let text = "interfaces = [\"lo\"]\n[[rule]]\nname = \"A\"\nports = [0, 70000]\naccess = \"public\"\n\
                [peers]\nstatic = [\"x\", \"10.0.0.1\"]\n[profile]\ncluster_version = \"x\"\n";
    let errors = refused(text);
    let places: Vec<_> = errors.errors().iter().map(|error| (error.line.unwrap(), error.column.unwrap())).collect();
    assert_eq!(places, [(1, 15), (3, 8), (4, 10), (4, 13), (7, 11), (9, 19)], "{errors}");
    let many = refused(&format!("[peers]\nstatic = [{}]\n", "\"x\",".repeat(100)));
    assert_eq!((many.errors().len(), many.unlisted()), (32, 68));
    assert!(many.to_string().ends_with("… and 68 more"), "{many}");
}

#[test]
fn the_manuals_examples_are_accepted_and_its_errors_true() {
    let manual = include_str!("../../../../../docs/CONFIGURATION.md");
    let examples: Vec<&str> = manual.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(examples.len(), 5);
    for example in examples {
        Config::parse(example, "docs/CONFIGURATION.md").unwrap();
    }
    let bad_port = "# a comment\n[[rule]]\nname = \"own\"\naccess = \"public\"\nports = [\"9042\", \"70000\"]\n";
    for text in [bad_port, "mod = 1\n"] {
        for line in refused(text).to_string().lines() {
            assert!(manual.lines().any(|shown| shown.trim() == line.trim()), "the manual does not show: {line}");
        }
    }
}
