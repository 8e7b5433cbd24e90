//! How it looks, whole: the help of every command, and what commands print as text and as JSON, against files beside this one (`snapshots/`). What differs
//! from run to run is replaced by a word. Where a change is meant: `INSTA_UPDATE=always cargo test --test cli snapshots`, then look at the difference.

use clap::Command;
use insta::Settings;
use nodewall::cli::Cli;
use nodewall_testbed::skip_unless_privileged;

use crate::{
    binary::{Ran, Scratch, executable},
    frames,
    live::Live,
};

/// What differs from run to run, and the word for it.
const CHANGING: &[(&str, &str)] = &[
    (r"[0-9a-f]{64}", "[hash]"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "[time]"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d( UTC)?", "[time]"),
    (r#""([a-z_]*(_id|_ns|pid|uid|_seconds))": \d+"#, r#""$1": [number]"#),
    (r"(program|id|pid) +\d+", "$1 [number]"),
    (r"(eth0 +covered +native +)\d+", "$1[number]"),
    (r"\b\ds( ago)?\b", "[age]"),
    (r"(/[^\s:,`\x22]*)?/(\.tmp|nwt-cli-)[^\s/:,`\x22]*", "[place]"),
];

/// Where the machine and the moment decide what stands in a table: values, and with them how wide its columns are.
const OF_THE_MACHINE: &[(&str, &str)] = &[
    (r"\b(\d+m \d+s|\d+m|\d+s)( ago)?\b", "[age]"),
    (r#""egress": "(tcx|clsact)""#, r#""egress": "[hook]""#),
    (r"(\S) {2,}", "$1  "),
];

fn looks_as_before(name: &str, text: &str) {
    looks(name, text, &[]);
}

/// The same for what has values of the machine in it.
fn looks_as_before_here(name: &str, text: &str) {
    looks(name, text, OF_THE_MACHINE);
}

fn looks(name: &str, text: &str, more: &[(&str, &str)]) {
    let mut settings = Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for (pattern, word) in CHANGING.iter().chain(more) {
        settings.add_filter(pattern, *word);
    }
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// Exit code and both streams of one command.
fn told(ran: &Ran) -> String {
    let errors = if ran.err.is_empty() { String::new() } else { format!("-- errors\n{}", ran.err) };
    format!("{}-- exit code {}\n{errors}", ran.out, ran.code)
}

/// Every command, with the names of those above it.
fn commands(command: &Command, path: &[String], found: &mut Vec<Vec<String>>) {
    // One that nobody types is hidden, and may be worded as it likes.
    for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help" && !inner.is_hide_set()) {
        let path = [path, &[inner.get_name().to_owned()]].concat();
        commands(inner, &path, found);
        found.push(path);
    }
}

#[test]
fn help_of_every_command() {
    let mut all = vec![Vec::new()];
    commands(&Cli::described(), &[], &mut all);
    for path in &all {
        let words: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
        let ran = Scratch::run_bare(&words).exits(0);
        looks_as_before(&format!("help {}", path.join(" ")).trim().replace(' ', "-"), &ran.out);
    }
    // A command that is gone must not leave its page.
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/snapshots");
    let pages = std::fs::read_dir(folder).unwrap().flatten();
    let pages = pages.filter(|page| page.file_name().to_string_lossy().starts_with("help")).count();
    assert_eq!(pages, all.len(), "pages of commands that are gone");
}

#[test]
fn what_needs_no_kernel() {
    let place = Scratch::new();
    let config = place.file(
        "nodewall.toml",
        "mode = \"audit\"\n[peers]\nstatic = [\"10.0.0.12\", \"10.0.0.13\"]\n[[rule]]\nname = \"jmx\"\nports = [\"7199\"]\nprotocols = [\"tcp\"]\naccess = \"cluster\"\nalso_allow = [\"192.0.2.0/24\"]\n",
    );
    let capture = place.file("a.pcap", frames::pcap(&[frames::tcp("10.0.0.12", 9042), frames::tcp("192.0.2.9", 9042)]));
    let broken = place.file("broken.toml", "mode = \"enforced\"\n[peers]\nstatc = []\n");
    let unprivileged = |arguments: &[&str]| place.run_unprivileged(arguments);
    for (name, arguments) in [
        ("check", &["check", "--config", &config][..]),
        ("check-json", &["check", "--config", &config, "-o", "json"]),
        ("check-broken", &["check", "--config", &broken]),
        ("explain", &["explain", "--config", &config, "--source", "192.0.2.9", "--port", "7199"]),
        ("explain-json", &["explain", "--config", &config, "--source", "192.0.2.9", "--port", "9042", "-o", "json"]),
        ("replay", &["replay", &capture, "--config", &config]),
        ("replay-jsonl", &["replay", &capture, "--config", &config, "-o", "jsonl"]),
        ("replay-nothing", &["replay", "nothing.pcap", "--config", &config]),
        ("events-nothing", &["events", "list"]),
        ("report-nothing", &["report", "--since", "1h", "--out", "out.html"]),
        ("page-no-agent", &["page"]),
        ("confirm-nothing", &["confirm"]),
        ("wrong-flag", &["status", "--no-such-flag"]),
        ("wrong-value", &["explain", "--source", "nobody", "--port", "99999"]),
        ("no-command", &["stauts"]),
        ("version", &["--version"]),
    ] {
        looks_as_before(name, &told(&unprivileged(arguments)));
    }
    looks_as_before_here("peers-none", &told(&unprivileged(&["peers", "list"])));
}

#[test]
fn what_a_live_node_says() {
    if skip_unless_privileged("what_a_live_node_says") {
        return;
    }
    let live = Live::new();
    let say =
        |name: &str, arguments: &[&str]| looks_as_before_here(&format!("live-{name}"), &told(&live.node(arguments)));
    looks_as_before("live-before", &told(&live.node(&["status"])));
    looks_as_before_here("live-apply", &told(&live.apply(&["--peer", "10.77.0.11", "--mode", "audit"])));
    live.send(443, 3);
    live.send(9042, 2);
    for (name, arguments) in [
        ("status", &["status"][..]),
        ("status-json", &["status", "-o", "json"]),
        ("peers", &["peers", "list"]),
        ("peers-json", &["peers", "list", "-o", "json"]),
        ("block", &["block", "198.51.100.7", "--reason", "port scan"]),
        ("block-peer", &["block", "10.77.0.11"]),
        ("unblock", &["unblock", "198.51.100.7"]),
        ("explain", &["explain", "--source", "198.51.100.7", "--port", "9042"]),
        ("counters-per-peer", &["counters", "--per-peer"]),
        ("detach", &["detach"]),
        ("detach-again", &["detach"]),
    ] {
        say(name, arguments);
    }
}

/// In a terminal of 60 columns; `script` makes one.
fn in_a_terminal(line: &str, no_color: bool) -> String {
    let mut command = std::process::Command::new("script");
    command.args(["--quiet", "--return", "--command", &format!("stty cols 60 rows 24; {line}"), "/dev/null"]);
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS"] {
        command.env_remove(name);
    }
    command.env("TERM", "xterm-256color");
    if no_color {
        command.env("NO_COLOR", "1");
    }
    let Ran { out, err, .. } = crate::binary::finish(command);
    format!("{out}{err}")
}

#[test]
fn colour_is_for_terminals_and_lines_fit_them() {
    let wrong = format!("{} stauts", executable());
    assert!(in_a_terminal(&wrong, false).contains('\u{1b}'), "no colour in a terminal");
    assert!(!in_a_terminal(&wrong, true).contains('\u{1b}'), "colour in spite of NO_COLOR");
    assert!(!Scratch::run_bare(&["stauts"]).exits(2).err.contains('\u{1b}'), "colour where no terminal is");
    let help = in_a_terminal(&format!("{} --help", executable()), true);
    let widest = help.lines().map(|line| line.trim_end().chars().count()).max().unwrap();
    assert!(widest <= 60, "{widest} columns\n{help}");
    assert!(help.contains("panic-open"), "{help}");
}

#[test]
fn without_privilege_it_says_what_is_missing() {
    if skip_unless_privileged("without_privilege_it_says_what_is_missing") {
        return;
    }
    let place = Scratch::new();
    for (name, arguments) in
        [("apply", &["apply", "--peer", "10.0.0.12"][..]), ("run", &["run"]), ("detach", &["detach"])]
    {
        let ran = place.run_unprivileged(arguments);
        looks_as_before(&format!("unprivileged-{name}"), &told(&ran));
    }
}
