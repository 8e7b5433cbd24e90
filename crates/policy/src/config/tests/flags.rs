//! Command-line values: what they change, and that a limit's error names the flag. Values that can not be read are the command line's (`cli`).

use ipnet::IpNet;

use super::super::{Config, MAX_ADDRESSES, Mode, Overrides, PeerOrigin, parse_peer, show};

fn base() -> Config {
    let text = "mode = \"enforce\"\ninterfaces = [\"eth0\"]\n[peers]\nstatic = [\"10.0.0.12\"]\n";
    Config::parse(text, "nodewall.toml").unwrap()
}

fn peers(values: &[&str]) -> Vec<IpNet> {
    values.iter().map(|text| parse_peer(text).unwrap()).collect()
}

#[test]
fn nothing_given_changes_nothing() {
    assert_eq!(base().with_overrides(&Overrides::default()).unwrap(), base());
}

#[test]
fn mode_and_interfaces_replace_peers_add() {
    let overrides = Overrides {
        mode: Some(Mode::Audit),
        interfaces: ["bond*", "eth1", "bond*"].map(|text| text.parse().unwrap()).to_vec(),
        peers: peers(&["10.0.0.11", "10.0.0.12", "2001:db8::/64", "10.0.0.11"]),
    };
    let config = base().with_overrides(&overrides).unwrap();
    assert_eq!(config.mode, Mode::Audit);
    assert_eq!(config.interfaces.iter().map(ToString::to_string).collect::<Vec<_>>(), ["bond*", "eth1"]);
    let peers: Vec<_> = config.peers.named.iter().map(|peer| (show(&peer.prefix), peer.from)).collect();
    assert_eq!(
        peers,
        [
            ("10.0.0.11".to_owned(), PeerOrigin::CommandLine),
            ("10.0.0.12".to_owned(), PeerOrigin::Config),
            ("2001:db8::/64".to_owned(), PeerOrigin::CommandLine),
        ]
    );
}

#[test]
fn flags_count_against_the_same_limit() {
    let full: Vec<String> = (0..MAX_ADDRESSES).map(|i| format!("\"10.1.{}.{}\"", i / 256, i % 256)).collect();
    let config = Config::parse(&format!("[peers]\nstatic = [{}]\n", full.join(",")), "t").unwrap();
    let overrides = |peer: &str| Overrides { peers: peers(&[peer]), ..Overrides::default() };
    assert!(config.clone().with_overrides(&overrides("10.1.0.0")).is_ok(), "a duplicate is not one more");
    let errors = config.with_overrides(&overrides("10.9.9.9")).unwrap_err();
    assert!(
        errors.to_string().starts_with("--peer: \"10.9.9.9\" is one too many: at most 16384 addresses"),
        "{errors}"
    );
}
