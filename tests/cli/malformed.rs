//! Configurations that must be refused, through the real binary: exit 1, the place, what was expected, and nothing left behind.

use std::{
    fs::{self, Permissions},
    os::unix::{fs::PermissionsExt, net::UnixListener},
};

use crate::binary::{Place, Ran};

/// A configuration with a mark before the column that the error must name, and what the error must say.
type Case = (&'static str, &'static str);

const CASES: &[Case] = &[
    // Syntax and shape.
    ("mode = ▶enforce\n", "expected"),
    ("mode = \"audit\"\n▶mode = \"enforce\"\n", "duplicate key"),
    ("[peers▶\nstatic = []\n", "expected `]`"),
    ("single_node = ▶\"yes\"\n", "expected true or false"),
    ("profile = ▶\"dynatrace-managed\"\n", "expected a table"),
    ("▶[rule]\nname = \"a\"\n", "expected a list"),
    // Unknown keys and words.
    ("▶interface = [\"eth0\"]\n", "did you mean \"interfaces\"?"),
    ("[peers]\n▶statics = []\n", "did you mean \"static\"?"),
    ("▶colour = 1\n", "known here: mode"),
    ("[[rule]]\nname = \"a\"\nports = [1]\n▶acess = \"public\"\n", "did you mean \"access\"?"),
    ("mode = ▶\"Audit\"\n", "expected \"enforce\" or \"audit\""),
    ("attach_mode = ▶\"skb\"\n", "expected \"native\" or \"generic\""),
    ("tunnels = ▶\"none\"\n", "expected \"peers\" or \"all\""),
    ("[profile]\nname = ▶\"dynatrace\"\n", "expected \"dynatrace-managed\", \"dynatrace-managed-current\" or \"none\""),
    ("[profile]\nagent_port_8443 = ▶\"closed\"\n", "expected \"cluster\" or \"public\""),
    ("[profile]\nweb_port_8022 = ▶true\n", "expected \"cluster\" or \"public\""),
    ("[profile]\ncluster_version = ▶1.300\n", "expected a version in quotes"),
    ("[profile]\ncluster_version = ▶\"latest\"\n", "is not a cluster version"),
    // Interfaces.
    ("interfaces = ▶[]\n", "an empty list protects nothing"),
    ("interfaces = [\"eth0\",\n  ▶\"lo\"]\n", "is never attached"),
    ("interfaces = [▶\"a-name-too-long1\"]\n", "expected 1 to 15 bytes"),
    // Addresses.
    ("[peers]\nstatic = [▶\"10.0.0\"]\n", "is not an address or prefix"),
    ("[peers]\nstatic = [▶\"10.0.0.256\"]\n", "is not an address or prefix"),
    ("[peers]\nstatic = [▶\"010.0.0.1\"]\n", "is not an address or prefix"),
    ("[peers]\nstatic = [▶\"node1.example\"]\n", "names are not looked up"),
    ("[peers]\nstatic = [▶\"10.0.0.1:9042\"]\n", "leave out the port"),
    ("[peers]\nstatic = [\"10.0.0.11\", ▶\"10.0.0.5/24\"]\n", "expected \"10.0.0.0/24\""),
    ("[peers]\nstatic = [▶\"10.0.0.0/33\"]\n", "a prefix length is 0 to 32"),
    ("[peers]\nstatic = [▶\"0.0.0.0/0\"]\n", "would make every address a peer"),
    ("[peers]\nstatic = [▶\"127.0.0.1\"]\n", "loopback"),
    ("[peers]\nstatic = [▶\"ff02::1\"]\n", "multicast"),
    ("[peers]\nstatic = [▶\"::ffff:10.0.0.1\"]\n", "IPv4-mapped"),
    ("[peers]\nwithin = [▶\"0.0.0.0/0\"]\n", "bounds nothing"),
    // Ports.
    ("[[rule]]\nname = \"a\"\nports = [▶\"0\"]\naccess = \"public\"\n", "0"),
    ("[[rule]]\nname = \"a\"\nports = [▶\"70000\"]\naccess = \"public\"\n", "65535"),
    ("[[rule]]\nname = \"a\"\nports = [▶70000]\naccess = \"public\"\n", "65535"),
    ("[[rule]]\nname = \"a\"\nports = [▶\"5711-5701\"]\naccess = \"public\"\n", "5701-5711"),
    ("[[rule]]\nname = \"a\"\nports = [▶\"https\"]\naccess = \"public\"\n", "expected"),
    ("[[rule]]\nname = \"a\"\nports = [▶-1]\naccess = \"public\"\n", "expected"),
    ("[[rule]]\nname = \"a\"\nports = ▶[]\naccess = \"public\"\n", "expected"),
    // Rules.
    ("[[rule]]\nname = \"a\"\nports = [1]\naccess = ▶\"open\"\n", "expected \"public\", \"cluster\" or \"closed\""),
    (
        "[[rule]]\nname = \"a\"\nports = [1]\naccess = \"public\"\nprotocols = [▶\"sctp\"]\n",
        "expected \"tcp\" or \"udp\"",
    ),
    (
        "[[rule]]\nname = \"a\"\nports = [1]\naccess = \"closed\"\nalso_allow = [▶\"0.0.0.0/0\"]\n",
        "use access = \"public\"",
    ),
    (
        "[[rule]]\nname = \"a\"\nports = [1]\naccess = \"public\"\nalso_allow = ▶[\"192.0.2.0/24\"]\n",
        "lets everyone in already",
    ),
    (
        "[[rule]]\nname = \"a\"\nports = [1]\naccess = \"public\"\n[[rule]]\nname = ▶\"a\"\nports = [2]\naccess = \"public\"\n",
        "\"a\"",
    ),
    (
        "[[rule]]\nname = \"a\"\nports = [\"9000-9100\"]\naccess = \"public\"\n[[rule]]\nname = \"b\"\nports = [▶\"9042\"]\naccess = \"closed\"\n",
        "9042 of rule \"b\" overlaps 9000-9100 of rule \"a\"",
    ),
    ("[[rule]]\nname = \"a\"\nports = [▶22]\naccess = \"cluster\"\n", "closes port 22 (SSH)"),
];

/// The text without its mark, and the line and column of the mark.
fn unmark(marked: &str) -> (String, usize, usize) {
    let (before, after) = marked.split_once('▶').expect("a mark");
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (format!("{before}{after}"), before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

#[test]
fn each_is_refused_at_its_place_by_every_command_that_reads_it() {
    assert!(CASES.len() >= 40, "{}", CASES.len());
    let place = Place::new();
    for (marked, told) in CASES {
        let (text, line, column) = unmark(marked);
        let config = place.file("nodewall.toml", &text);
        let at = format!("{config}:{line}:{column}: ");
        for command in ["check", "apply", "run"] {
            let ran = place.run(&[command, "--config", &config, "-o", "json"]).exits(1);
            assert!(ran.out.is_empty(), "{command} {text}\n{}", ran.out);
            assert!(
                ran.err.starts_with("nodewall: ") && ran.err.contains(&at),
                "{command}: expected {at:?}\n{}",
                ran.err
            );
            assert!(ran.err.contains(told), "{command}: expected {told:?}\n{}", ran.err);
            assert!(ran.err.contains('^'), "{command}: the line is not shown\n{}", ran.err);
        }
        assert!(place.is_untouched(), "{text}");
    }
}

#[test]
fn the_same_files_are_refused_by_what_only_computes() {
    let place = Place::new();
    let config = place.file("nodewall.toml", "mode = \"x\"\n");
    for command in [&["explain", "--source", "192.0.2.1", "--port", "1"][..], &["replay", "nothing.pcap"]] {
        let ran = place.run(&[command, &["--config", &config]].concat()).exits(1);
        assert!(ran.err.contains("nodewall.toml:1:8: mode: \"x\" is not a mode"), "{}", ran.err);
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let place = Place::new();
    let config = place.file("nodewall.toml", "[peers]\nstatic = [\"a\", \"10.0.0.1\", \"b\"]\n[[rule]]\nname = \"r\"\nports = [0, \"70000\"]\naccess = \"public\"\n");
    let ran = place.run(&["check", "--config", &config]).exits(1);
    for at in [":2:11: ", ":2:28: ", ":5:10: ", ":5:13: "] {
        assert!(ran.err.contains(&format!("{config}{at}")), "{at}\n{}", ran.err);
    }
}

#[track_caller]
fn refused(place: &Place, command: &str, config: &str, told: &str) -> Ran {
    let ran = place.run(&[command, "--config", config, "--peer", "192.0.2.1"]).exits(1);
    assert!(
        ran.out.is_empty() && ran.err.contains(config) && ran.err.contains(told),
        "{command}: expected {told:?}\n{}",
        ran.err
    );
    assert!(place.is_untouched(), "{command} {config}");
    ran
}

#[test]
fn what_is_no_configuration_file_is_refused() {
    let place = Place::new();
    let directory = place.path("directory");
    fs::create_dir(&directory).unwrap();
    let dangling = place.path("dangling");
    std::os::unix::fs::symlink("nowhere", &dangling).unwrap();
    let socket = place.path("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    let missing = place.path("missing.toml");
    let binary = place.file("binary.toml", b"# \xc3\xa9\nmode = \"\xff\"\n");
    let large = place.file("large.toml", vec![b'#'; (1 << 20) + 1]);
    let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    for command in ["check", "apply", "run"] {
        refused(&place, command, &text(&directory), "is not a regular file");
        refused(&place, command, &text(&missing), "No such file or directory");
        refused(&place, command, &text(&dangling), "No such file or directory");
        refused(&place, command, &text(&socket), "cannot be read");
        refused(&place, command, "/dev/null", "is not a regular file");
        refused(&place, command, &binary, "not UTF-8 text: invalid byte in line 2");
        refused(&place, command, &large, "larger than 1048576 bytes");
    }
}

#[test]
fn a_file_that_others_can_write_decides_nothing() {
    let place = Place::new();
    let config = place.file("nodewall.toml", "");
    for mode in [0o660, 0o606, 0o666] {
        fs::set_permissions(&config, Permissions::from_mode(mode)).unwrap();
        for command in ["apply", "run"] {
            let ran = refused(&place, command, &config, &format!("can be written by others (mode 0{mode:o})"));
            assert!(ran.err.contains(&format!("chmod go-w {config}")), "{}", ran.err);
        }
        // It may be looked at.
        place.run(&["check", "--config", &config, "--peer", "192.0.2.1"]).exits(0);
    }
}
