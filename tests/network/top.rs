//! `top` in a real terminal: tmux runs it beside real traffic, types keys and reads the screen.

use std::process::Command;

use nodewall_testbed::{Probe, Protocol, Signal, cleanup, run_to_end, skip_unless_privileged};
use rustix::process::{Pid, kill_process};

use super::node::{Node, PATIENCE, eventually};
use super::traffic::silent;

/// A tmux server of its own, in the node's namespace. It and what it runs end when this is dropped, or at a signal.
struct Screen<'a> {
    node: &'a Node,
    socket: String,
    _end: cleanup::Guard,
}

impl<'a> Screen<'a> {
    fn start(node: &'a Node, arguments: &[&str]) -> Self {
        let socket = node.directories.state_dir().join("tmux").to_string_lossy().into_owned();
        let kill = socket.clone();
        let end = cleanup::guard(move || {
            let _ = Command::new("tmux").args(["-S", &kill, "kill-server"]).output();
        });
        let top = node.command("top", arguments);
        let words = std::iter::once(top.get_program()).chain(top.get_args());
        let line = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect::<Vec<_>>().join(" ");
        let screen = Self { node, socket, _end: end };
        // A shell around it, so that the screen that it leaves behind can be looked at.
        let line = format!("{line}; echo ended with $?; exec sleep 60");
        screen.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30", &line]);
        screen
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let mut command = self.node.netns().command("tmux");
        command.arg("-S").arg(&self.socket).args(arguments).env_remove("TMUX").env("TERM", "xterm-256color");
        let finished = run_to_end("tmux", command, PATIENCE).unwrap();
        assert!(finished.status.success(), "{finished:?}");
        finished.stdout
    }

    fn press(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    fn text(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    fn shows(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        eventually(&format!("the screen shows {what}"), || {
            last = self.text();
            is_so(&last).then(|| last.clone())
        })
    }
}

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
    let screen = Screen::start(&node, &["--interval", "200ms"]);
    let shown = screen.shows("the node", |text| text.contains("nodewall enforce") && text.contains("9042"));
    assert!(shown.contains(&format!("agent {}", node.agent().id())) && shown.contains("eth0 native"), "{shown}");
    assert!(shown.contains("10.77.0.11"), "{shown}");
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
    let screen = Screen::start(&node, &[]);
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
    let refused = node.nodewall("top", &[]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(refused.stderr.contains("--once"), "{refused:?}");
}
