//! `top` in a real terminal, beside real traffic.

use std::process::Command;

use nodewall_testbed::{Lab, Probe, Protocol, Signal, skip_unless_privileged};
use rustix::process::{Pid, kill_process};

use super::node::Node;
use super::screen::Screen;
use super::settings::Settings;
use super::traffic::silent;

/// The words of a port's line.
fn line(screen: &str, port: &str) -> Vec<String> {
    let found = screen.lines().find(|line| line.split_whitespace().next() == Some(port));
    found.map(|line| line.split_whitespace().map(str::to_owned).collect()).unwrap_or_default()
}

#[test]
fn keys_and_traffic_in_a_real_terminal() {
    if skip_unless_privileged("keys_and_traffic_in_a_real_terminal") {
        return;
    }
    let node = Node::enforcing();
    let probes = [Probe::new(Protocol::Udp, "10.77.0.1:9042".parse().unwrap())];
    silent(node.outsider(), &probes);
    let screen = Screen::start(&node, &node.command("top", &["--interval", "200ms"]));
    // Until all of it is drawn: a terminal can be looked at in the middle.
    let shown = screen
        .shows("the node", |text| ["nodewall enforce", "9042", "10.77.0.11"].iter().all(|word| text.contains(word)));
    assert!(shown.contains(&format!("agent {}", node.agent().id())) && shown.contains("eth0 native"), "{shown}");
    let outsider = node.outsider().ipv4().to_string();
    screen.shows("who was denied", |text| text.contains("SOURCE (unverified)") && text.contains(&outsider));
    screen.press("d");
    screen.shows("why", |text| text.contains("outsider") && !text.contains(&outsider));
    let before: u64 = line(&shown, "9042").last().unwrap().parse().unwrap();
    silent(node.outsider(), &probes);
    screen.shows("what was dropped since", |text| {
        line(text, "9042").last().is_some_and(|dropped| dropped.parse::<u64>().is_ok_and(|dropped| dropped > before))
    });
    screen.press("?");
    screen.shows("help", |text| text.contains("(? closes)"));
    screen.press("?");
    screen.press("/");
    screen.press("https");
    screen.press("Enter");
    screen.shows("the filter", |text| text.contains("filter \"https\"") && line(text, "9042").is_empty());
    screen.press("p");
    screen.shows("the pause", |text| text.contains("PAUSED"));
    screen.press("q");
    let left = screen.shows("the shell again", |text| text.contains("ended with 0"));
    assert!(!left.contains("PAUSED"), "the screen was given back: {left}");
}

#[test]
fn a_signal_gives_the_terminal_back() {
    if skip_unless_privileged("a_signal_gives_the_terminal_back") {
        return;
    }
    let node = Node::enforcing();
    let screen = Screen::start(&node, &node.command("top", &[]));
    screen.shows("the node", |text| text.contains("nodewall enforce"));
    let shell: i32 = screen.tmux(&["list-panes", "-F", "#{pane_pid}"]).trim().parse().unwrap();
    let children = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).unwrap();
    let top: i32 = children.split_whitespace().next().unwrap().parse().unwrap();
    kill_process(Pid::from_raw(top).unwrap(), Signal::TERM).unwrap();
    let left = screen.shows("the shell again", |text| text.contains("ended with 0"));
    assert!(!left.contains("ports by"), "{left}");
}

#[test]
fn one_frame_without_a_terminal_is_plain_text() {
    if skip_unless_privileged("one_frame_without_a_terminal_is_plain_text") {
        return;
    }
    let node = Node::enforcing();
    silent(node.outsider(), &[Probe::new(Protocol::Udp, "10.77.0.1:9042".parse().unwrap())]);
    let once = node.nodewall("top", &["--once", "--interval", "100ms"]);
    assert!(once.status.success(), "{once:?}");
    assert!(!once.stdout.contains('\u{1b}'), "{once:?}");
    assert!(line(&once.stdout, "9042").len() >= 7, "{once:?}");
    // Whichever the store has by then.
    assert!(once.stdout.contains("outsider") || once.stdout.contains("10.77.0.66"), "{once:?}");
    for (arguments, code) in [(&[][..], 1), (&["-o", "json"], 2)] {
        let refused = node.nodewall("top", arguments);
        assert_eq!(refused.status.code(), Some(code), "{refused:?}");
        assert!(refused.stderr.contains("--once"), "{refused:?}");
    }
}

#[test]
fn one_look_as_json_has_what_the_screen_shows() {
    if skip_unless_privileged("one_look_as_json_has_what_the_screen_shows") {
        return;
    }
    let node = Node::enforcing();
    silent(node.outsider(), &[Probe::new(Protocol::Udp, "10.77.0.1:9042".parse().unwrap())]);
    for format in ["json", "jsonl"] {
        let once = node.nodewall("top", &["--once", "--interval", "100ms", "-o", format]);
        assert!(once.status.success() && once.stderr.is_empty(), "{once:?}");
        assert!(format == "json" || once.stdout.lines().count() == 1, "{once:?}");
        let look: serde_json::Value = serde_json::from_str(&once.stdout).unwrap();
        let mut ports = look["ports"].as_array().unwrap().iter();
        let port = ports.find(|port| port["port"] == 9042 && port["protocol"] == "udp").unwrap();
        // What the counters have, which nothing moves now.
        let counted = node.counters().drops().values().sum::<u64>();
        assert_eq!((&port["class"], port["denied_packets"].as_u64()), (&"cassandra".into(), Some(counted)), "{port}");
        assert_eq!(port["denied_per_s"], serde_json::json!({"packets": 0.0, "bytes": 0.0}));
        assert_eq!((&look["status"]["mode"], &look["denied"][0]["reason"]), (&"enforce".into(), &"outsider".into()));
        assert_eq!(look["peers"]["peers"].as_array().unwrap().len(), 4, "{look}");
    }
}

/// What it sends, byte for byte: `script` keeps it, in a terminal of its own within tmux's.
#[test]
fn a_terminal_gets_no_sequence_from_a_device_s_name() {
    if skip_unless_privileged("a_terminal_gets_no_sequence_from_a_device_s_name") {
        return;
    }
    // A colour, a turn of the direction, and what hangs on the letter before it.
    let name = "e\u{1b}[31m\u{202e}y\u{200d}";
    let mut node = Node::idle(Lab::new().unwrap(), &Settings::default().interfaces(&["e*"]));
    node.netns().ip(&["link", "add", "name", name, "type", "veth", "peer", "name", "far"]).unwrap();
    for end in [name, "far"] {
        node.netns().ip(&["link", "set", end, "up"]).unwrap();
    }
    node.start_agent();
    let sent = node.directories.state_dir().join("sent");
    let top = node.command("top", &["--interval", "200ms"]);
    let line: Vec<&str> =
        std::iter::once(top.get_program()).chain(top.get_args()).map(|word| word.to_str().unwrap()).collect();
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--flush", "--command", &line.join(" "), sent.to_str().unwrap()]);
    let screen = Screen::start(&node, &script);
    screen.shows("the name by number", |text| text.contains("e\\u{1b}[31m\\u{202e}"));
    screen.press("q");
    screen.shows("the shell again", |text| text.contains("ended with 0"));
    let sent = String::from_utf8(std::fs::read(&sent).unwrap()).unwrap();
    let mut pieces = sent.split('\u{1b}');
    let plain =
        std::iter::once(pieces.next().unwrap().to_owned()).chain(pieces.map(after_sequence)).collect::<String>();
    let raw = plain.chars().find(|c| (c.is_control() && !"\r\n".contains(*c)) || "\u{202e}\u{200d}".contains(*c));
    assert_eq!(raw, None, "{plain:?}");
    assert!(!sent.contains(name), "{sent:?}");
}

/// The text after a control sequence (ECMA-48, 5.4) of those that move, clear, colour, or switch a mode; of any other there is none.
fn after_sequence(piece: &str) -> String {
    let parameters = piece.strip_prefix('[').unwrap_or_else(|| panic!("no control sequence: {piece:?}"));
    let end = parameters.find(|c: char| !matches!(c, '0'..='9' | ';' | '?')).unwrap();
    let (_, rest) = parameters.split_at(end);
    assert!(rest.starts_with(['A', 'B', 'C', 'D', 'G', 'H', 'J', 'K', 'X', 'd', 'h', 'l', 'm', 'n']), "{piece:?}");
    rest[1..].to_owned()
}
