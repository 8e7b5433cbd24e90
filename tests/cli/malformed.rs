//! Configurations that must be refused, through the real binary, beyond single mistakes in a file (`tests/faults/mistakes.rs` has a grammar of those):
//! several at once, what is no file, and who could have written it.

use std::{
    fs::{self, Permissions},
    os::unix::{fs::PermissionsExt, net::UnixListener},
};

use crate::binary::{Ran, Scratch};

#[test]
fn the_same_files_are_refused_by_what_only_computes() {
    let place = Scratch::new();
    let config = place.file("nodewall.toml", "mode = \"x\"\n");
    for command in [&["explain", "--source", "192.0.2.1", "--port", "1"][..], &["replay", "nothing.pcap"]] {
        let ran = place.run(&[command, &["--config", &config]].concat()).exits(1);
        assert!(ran.err.contains("nodewall.toml:1:8: mode: \"x\" is not a mode"), "{}", ran.err);
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let place = Scratch::new();
    let config = place.file("nodewall.toml", "[peers]\nstatic = [\"a\", \"10.0.0.1\", \"b\"]\n[[rule]]\nname = \"r\"\nports = [0, \"70000\"]\naccess = \"public\"\n");
    let ran = place.run(&["check", "--config", &config]).exits(1);
    for at in [":2:11: ", ":2:28: ", ":5:10: ", ":5:13: "] {
        assert!(ran.err.contains(&format!("{config}{at}")), "{at}\n{}", ran.err);
    }
}

#[track_caller]
fn refused(place: &Scratch, command: &str, config: &str, told: &str) -> Ran {
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
    let place = Scratch::new();
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
    let place = Scratch::new();
    let config = place.file("nodewall.toml", "");
    for mode in [0o660, 0o606, 0o666] {
        fs::set_permissions(&config, Permissions::from_mode(mode)).unwrap();
        for command in ["apply", "run", "check"] {
            let ran = refused(&place, command, &config, &format!("can be written by others (mode 0{mode:o})"));
            assert!(ran.err.contains(&format!("chmod go-w {config}")), "{}", ran.err);
        }
    }
}
