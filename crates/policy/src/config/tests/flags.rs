//! Command-line values: what they change, and errors that name the flag.

use super::super::{Config, ConfigErrors, MAX_ADDRESSES, Mode, Overrides, PeerOrigin, show};

fn base() -> Config {
    let text = "mode = \"enforce\"\ninterfaces = [\"eth0\"]\n[peers]\nstatic = [\"10.0.0.12\"]\n";
    Config::parse(text, "nodewall.toml").unwrap()
}

fn strings(values: &[&str]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

fn refused(overrides: &Overrides) -> ConfigErrors {
    base().with_overrides(overrides).unwrap_err()
}

#[test]
fn nothing_given_changes_nothing() {
    assert_eq!(base().with_overrides(&Overrides::default()).unwrap(), base());
}

#[test]
fn mode_and_interfaces_replace_peers_add() {
    let overrides = Overrides {
        mode: Some("audit".to_owned()),
        interfaces: strings(&["bond*", "eth1", "bond*"]),
        peers: strings(&["10.0.0.11", "10.0.0.12", "2001:db8::/64", "10.0.0.11"]),
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
fn errors_name_the_flag() {
    let cases = [
        (
            Overrides { peers: strings(&["10.0.0"]), ..Overrides::default() },
            "--peer: \"10.0.0\" is not an address or prefix; expected",
        ),
        (
            Overrides { peers: strings(&["10.0.0.5/24"]), ..Overrides::default() },
            "--peer: \"10.0.0.5/24\" has bits set beyond its prefix length; expected \"10.0.0.0/24\"",
        ),
        (
            Overrides { peers: strings(&["0.0.0.0/0"]), ..Overrides::default() },
            "--peer: \"0.0.0.0/0\" would make every address a peer",
        ),
        (
            Overrides { mode: Some("off".to_owned()), ..Overrides::default() },
            "--mode: \"off\" is not a mode; expected \"enforce\" or \"audit\"",
        ),
        (Overrides { interfaces: strings(&["lo"]), ..Overrides::default() }, "--interface: \"lo\" is never attached"),
    ];
    for (overrides, message) in cases {
        let errors = refused(&overrides);
        assert!(errors.to_string().starts_with(message), "{errors}");
        assert_eq!((errors.errors()[0].line, errors.errors()[0].column), (None, None));
    }
    let all =
        refused(&Overrides { mode: Some("x".to_owned()), interfaces: strings(&[""]), peers: strings(&["y", "z"]) });
    assert_eq!(all.errors().len(), 4, "{all}");
}

#[test]
fn flags_count_against_the_same_limit() {
    let full: Vec<String> = (0..MAX_ADDRESSES).map(|i| format!("\"10.1.{}.{}\"", i / 256, i % 256)).collect();
    let config = Config::parse(&format!("[peers]\nstatic = [{}]\n", full.join(",")), "t").unwrap();
    let overrides = |peer: &str| Overrides { peers: strings(&[peer]), ..Overrides::default() };
    assert!(config.clone().with_overrides(&overrides("10.1.0.0")).is_ok(), "a duplicate is not one more");
    let errors = config.with_overrides(&overrides("10.9.9.9")).unwrap_err();
    assert!(
        errors.to_string().starts_with("--peer: \"10.9.9.9\" is one too many: at most 16384 addresses"),
        "{errors}"
    );
}
