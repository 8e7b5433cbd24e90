//! Help, version, flags and exit codes: what can be learnt of the binary without the kernel.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use crate::{
    binary::{Scratch, executable, finish},
    frames,
};

const COMMANDS: [&str; 18] = [
    "run",
    "apply",
    "plan",
    "enforce",
    "confirm",
    "rollback",
    "panic-open",
    "block",
    "unblock",
    "peers",
    "check",
    "status",
    "doctor",
    "counters",
    "events",
    "explain",
    "replay",
    "detach",
];
/// Without these a command is refused for another reason than the one under test.
fn needed(command: &str) -> &'static [&'static str] {
    match command {
        "explain" => &["--source", "192.0.2.1", "--port", "443"],
        "replay" => &["nothing.pcap"],
        "events" | "peers" => &["list"],
        "panic-open" => &["--for", "10m"],
        "block" | "unblock" => &["198.51.100.7"],
        _ => &[],
    }
}

#[test]
fn help_names_every_command_and_every_exit_code() {
    for help in ["--help", "-h", "help"] {
        let ran = Scratch::run_bare(&[help]).exits(0);
        assert!(ran.err.is_empty(), "{}", ran.err);
        for command in COMMANDS {
            assert!(
                ran.out.lines().any(|l| l.trim_start().starts_with(&format!("{command} "))),
                "{command}:\n{}",
                ran.out
            );
        }
        for meaning in ["0 fine", "1 failed", "2 usage", "3 degraded", "4 privilege"] {
            assert!(ran.out.replace('\n', " ").contains(meaning), "{meaning}:\n{}", ran.out);
        }
    }
}

#[test]
fn every_commands_help_has_its_own_flags_first_and_then_the_common_ones() {
    let place = Scratch::new();
    for command in COMMANDS {
        for flag in ["--help", "-h"] {
            let ran = place.run(&[command, flag]).exits(0);
            assert!(ran.err.is_empty() && ran.out.contains(&format!("Usage: nodewall {command}")), "{}", ran.out);
            let (own, common) =
                ran.out.split_once("Common options:").unwrap_or_else(|| panic!("{command}:\n{}", ran.out));
            for name in [
                "--config",
                "--interface",
                "--peer",
                "--mode",
                "--state-dir",
                "--bpffs",
                "--output",
                "--verbose",
                "--color",
            ] {
                // What they print has one form.
                if name == "--output" && ["run", "panic-open"].contains(&command) {
                    continue;
                }
                assert!(common.contains(name) && !own.contains(&format!("{name} <")), "{command} {name}:\n{}", ran.out);
            }
            for name in needed(command).iter().filter(|n| n.starts_with('-')) {
                assert!(own.contains(name), "{command} {name}:\n{}", ran.out);
            }
            let widest = ran.out.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= 100, "{command}: a line of {widest} characters where the width is unknown\n{}", ran.out);
        }
    }
}

#[test]
fn the_version_is_the_packages() {
    for flag in ["--version", "-V"] {
        assert_eq!(Scratch::run_bare(&[flag]).exits(0).out, format!("nodewall {}\n", env!("CARGO_PKG_VERSION")));
    }
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    let place = Scratch::new();
    assert!(Scratch::run_bare(&[]).exits(2).err.contains("Usage: nodewall"));
    let cases: &[(&[&str], &str)] = &[
        (&["frobnicate"], "unrecognized subcommand 'frobnicate'"),
        (&["statsu"], "'status'"),
        (&["status", "--frobnicate"], "unexpected argument '--frobnicate'"),
        (&["status", "-o", "yaml"], "possible values: table, json, jsonl"),
        (&["status", "--color", "maybe"], "possible values: auto, always, never"),
        (&["check", "extra"], "unexpected argument 'extra'"),
        (&["explain"], "--source"),
        (&["explain", "--source", "192.0.2.1"], "--port"),
        (&["explain", "--source", "192.0.2.0/24", "--port", "1"], "--source"),
        (&["explain", "--source", "node1.example", "--port", "1"], "--source"),
        (&["explain", "--source", "192.0.2.1", "--port", "70000"], "70000"),
        (&["explain", "--source", "192.0.2.1", "--port", "-1"], "-1"),
        (&["explain", "--source", "192.0.2.1", "--port", "1", "--protocol", "sctp"], "expected \"tcp\" or \"udp\""),
        (&["replay"], "<FILE>"),
        (&["replay", "a", "--engine", "fpga"], "possible values: host, kernel"),
    ];
    for (arguments, told) in cases {
        let ran = place.run(arguments).exits(2);
        assert!(
            ran.out.is_empty() && ran.err.contains(told),
            "{arguments:?}: expected {told:?}\n{}{}",
            ran.out,
            ran.err
        );
    }
    assert!(place.is_untouched());
}

#[test]
fn a_wrong_value_of_a_common_flag_is_a_usage_error_in_every_command() {
    let place = Scratch::new();
    let cases: &[(&[&str], &str)] = &[
        (&["--mode", "Enforce"], "possible values: audit, enforce"),
        (&["--peer", "10.0.0"], "is not an address or prefix; expected such as \"10.0.0.11\""),
        (&["--peer", "0.0.0.0/0"], "would make every address a peer"),
        (&["--peer", "10.0.0.5/24"], "for the one host write \"10.0.0.5\""),
        (&["--peer", "127.0.0.1"], "loopback"),
        (&["--interface", "lo"], "is never attached"),
        (&["--interface", "e*0"], "is not an interface name"),
    ];
    for command in COMMANDS {
        for (flags, told) in cases {
            let ran = place.run(&[&[command], needed(command), flags].concat()).exits(2);
            assert!(
                ran.out.is_empty() && ran.err.contains(told),
                "{command} {flags:?}: expected {told:?}\n{}",
                ran.err
            );
            assert!(ran.err.contains(flags[0]), "{command}: the flag is not named\n{}", ran.err);
        }
    }
    assert!(place.is_untouched());
}

#[test]
fn what_needs_privilege_says_which_and_leaves_nothing_behind() {
    let place = Scratch::new();
    let capture = place.file("one.pcap", frames::pcap(&[frames::tcp("192.0.2.1", 443)]));
    let commands: &[&[&str]] = &[
        &["run", "--peer", "192.0.2.1"],
        &["apply", "--peer", "192.0.2.1"],
        &["status"],
        &["counters"],
        &["detach"],
        &["explain", "--source", "192.0.2.1", "--port", "443"],
        &["replay", &capture, "--engine", "kernel"],
        &["replay", &capture, "--engine", "kernel", "--peer", "192.0.2.1"],
    ];
    for command in commands {
        let ran = place.run_unprivileged(command).exits(4);
        assert!(ran.out.is_empty(), "{command:?}: {}", ran.out);
        for capability in ["CAP_NET_ADMIN", "CAP_BPF"] {
            assert!(ran.err.contains(capability), "{command:?}: {capability} is not named\n{}", ran.err);
        }
    }
    // A state directory of root's does not turn the message into another.
    std::fs::create_dir(place.state()).unwrap();
    assert!(place.run_unprivileged(&["apply", "--peer", "192.0.2.1"]).exits(4).err.contains("CAP_BPF"));
}

#[test]
fn what_only_computes_needs_no_privilege() {
    let place = Scratch::new();
    let capture = place.file("one.pcap", frames::pcap(&[frames::tcp("192.0.2.1", 443)]));
    let config = place.file("nodewall.toml", "single_node = true\n");
    place.run_unprivileged(&["check", "--config", &config]).exits(0);
    place.run_unprivileged(&["explain", "--config", &config, "--source", "192.0.2.1", "--port", "443"]).exits(0);
    place.run_unprivileged(&["replay", &capture, "--config", &config]).exits(0);
    assert!(place.is_untouched());
}

#[test]
fn colour_is_for_terminals_or_when_asked_for() {
    let place = Scratch::new();
    let capture = place.file("one.pcap", frames::pcap(&[frames::tcp("192.0.2.1", 443)]));
    // A message on standard error that is there without privilege and with it.
    let arguments = ["replay", &capture];
    let escape = '\u{1b}';
    for (flags, variables, coloured) in [
        (&[][..], &[][..], false),
        (&["--color", "auto"], &[], false),
        (&["--color", "never"], &[], false),
        (&["--color", "always"], &[], true),
        // A flag is nearer than the environment.
        (&["--color", "always"], &[("NO_COLOR", "1")], true),
        (&[], &[("NO_COLOR", "1")], false),
    ] {
        let mut command = place.on(Command::new(executable()), &[&arguments, flags].concat());
        command.envs(variables.iter().copied());
        let ran = finish(command).exits(0);
        assert!(ran.err.contains("judging by"), "{}", ran.err);
        assert_eq!(ran.err.contains(escape), coloured, "{flags:?} {variables:?}: {:?}", ran.err);
        assert!(!ran.out.contains(escape), "{flags:?}: {:?}", ran.out);
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let place = Scratch::new();
    // Far more than a pipe holds.
    let capture = place.file("many.pcap", frames::pcap(&vec![frames::tcp("192.0.2.1", 443); 20_000]));
    for format in ["table", "json", "jsonl"] {
        let mut command =
            place.on(Command::new(executable()), &["replay", &capture, "--peer", "192.0.2.7", "-o", format]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        assert!(!first.is_empty());
        let ended = child.wait_with_output().unwrap();
        let told = String::from_utf8(ended.stderr).unwrap();
        assert!(ended.status.success() && told.is_empty(), "{format}: {} {told}", ended.status);
    }
}

#[test]
fn a_full_disk_is_an_error() {
    let place = Scratch::new();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = place.on(Command::new(executable()), &["check", "--peer", "192.0.2.7"]);
    let ended = command.stdout(full).stderr(Stdio::piped()).output().unwrap();
    let told = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{told}");
    assert!(told.contains("can not write to standard output: No space left on device"), "{told}");
}
