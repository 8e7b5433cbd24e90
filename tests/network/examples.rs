//! The examples in the help of every command, each typed as it stands there: by a shell on a node where nodewall, its configuration and its state are at their
//! usual places. What an example reads is made beside it; what it needs to be so is brought about before.

use std::net::{TcpStream, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

use nodewall::cli::{Cli, examples};
use nodewall_testbed::{Finished, Lab, Listener, Process, Signal, skip_unless_privileged};

use super::node::{Node, PATIENCE, eventually};
use super::places::Places;
use super::screen::Screen;
use super::settings::Settings;

/// What examples read.
const INPUTS: &str = r#"
mkdir -p /etc/cluster
printf '10.77.0.11\n10.77.0.12\n' >/etc/cluster/nodes
printf 'mode = "audit"\n[peers]\nstatic = ["10.77.0.12"]\n' >new.toml
"#;
const CONFIG: &str = "/etc/nodewall/nodewall.toml";

/// What is waited for of those that go on until they are ended, by their first words.
const GOES_ON: [(&str, &str); 7] = [
    ("nodewall run", "policy "),
    ("nodewall enforce --confirm-within", "on trial"),
    ("nodewall panic-open", "THE NODE IS OPEN"),
    ("nodewall events tail", "10.77.0.66"),
    ("nodewall capture -w -", "10.77.0.66"),
    ("nodewall capture", ""),
    ("nodewall top --interval", "ports by"),
];

struct Desk {
    node: Node,
    places: Places,
    agent: Option<Process>,
    /// What `confirm` is for.
    trial: Option<Process>,
    /// A peer that talks with it: a list of peers of which none ever did would be doubted.
    _talk: (Listener, TcpStream),
}

impl Desk {
    fn new() -> Self {
        let node = Node::idle(Lab::new().unwrap(), &Settings::audit());
        node.netns().ip(&["address", "add", "10.0.0.11/24", "dev", "eth0"]).unwrap();
        for (tool, peer) in [("iptables", "10.77.0.11"), ("iptables", "10.77.0.12"), ("ip6tables", "fd77::11")] {
            let rule = ["-w", "-A", "INPUT", "-s", peer, "-p", "tcp", "--dport", "9042", "-j", "ACCEPT"];
            node.netns().tool(tool, &rule).unwrap();
        }
        let server = Listener::tcp(node.netns(), &[9042]).unwrap();
        let peer = node.peers()[0].netns().run(|| TcpStream::connect("10.77.0.1:9042").unwrap()).unwrap();
        let talk = (server, peer);
        let desk = Self { places: Places::new(&node), node, agent: None, trial: None, _talk: talk };
        desk.done(INPUTS.trim());
        desk
    }

    /// A line as a shell of the node takes it.
    fn shell(&self, line: &str) -> Command {
        self.places.shell(&self.node, line)
    }

    fn run(&self, line: &str) -> Finished {
        self.places.run(&self.node, line)
    }

    fn done(&self, line: &str) -> Finished {
        let finished = self.run(line);
        assert!(finished.status.success(), "{line}: {finished:?}");
        finished
    }

    fn start(&self, line: &str) -> Process {
        Process::spawn(line, self.shell(line)).unwrap()
    }

    /// Somebody without a right to it asks for a port of the cluster.
    fn knock(&self) {
        let knock = || UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.send_to(b"knock", "10.77.0.1:9042"));
        self.node.outsider().netns().run(knock).unwrap().unwrap();
    }

    /// What must be so before, if anything.
    fn prepare(&mut self, line: &str) {
        let begins = |start: &str| line.starts_with(start);
        if begins("nodewall init --yes") && !line.contains("--stdout") {
            self.done(&format!("rm -f {CONFIG}"));
        } else if begins("nodewall confirm") {
            self.done("nodewall apply --mode audit");
            let trial = self.start("exec nodewall enforce --confirm-within 5m");
            trial.wait_for_line(PATIENCE, |line| line.contains("on trial")).unwrap();
            self.trial = Some(trial);
        } else if begins("nodewall events tail") {
            self.done("nodewall enforce");
        } else if begins("nodewall status") && self.agent.is_none() {
            let agent = self.start("exec nodewall run");
            agent.wait_for_line(PATIENCE, |line| line.contains("policy ")).unwrap();
            self.agent = Some(agent);
            eventually("a frame was captured", || {
                self.knock();
                self.run("nodewall events show c1").status.success().then_some(())
            });
            self.done("nodewall events export --format pcapng -w capture.pcapng && tshark -F pcap -r capture.pcapng -w capture.pcap");
        } else if begins("nodewall detach") {
            self.end_agent();
        }
    }

    fn end_agent(&mut self) {
        if let Some(agent) = self.agent.take() {
            agent.signal(Signal::TERM).unwrap();
            assert!(agent.wait(PATIENCE).unwrap().success(), "{}", agent.output());
        }
    }

    /// Types it, and sees that it does what it is for.
    fn step(&mut self, line: &str) {
        self.prepare(line);
        if line.split(" #").next().unwrap().trim() == "nodewall init" {
            return self.asks();
        }
        if let Some((start, shown)) = GOES_ON.iter().find(|(start, _)| line.starts_with(start)) {
            return self.goes_on(line, start, shown);
        }
        let finished = self.run(line);
        let code = finished.status.code();
        // The example says so, or what it is asked about is so here.
        let differs =
            line.contains("exit code 3") || ["plan", "rollback", "doctor"].iter().any(|verb| line.contains(verb));
        assert!(code == Some(0) || code == Some(3) && differs, "{line}: {finished:?}");
    }

    /// Enter takes what is proposed.
    fn asks(&self) {
        let screen = Screen::start(&self.node, &self.shell("nodewall init"));
        for question in ["Which?", "Follow the vendor", "More addresses", "Version", "Who may reach 8443"] {
            screen.shows(question, |text| {
                text.trim_end().lines().next_back().is_some_and(|last| last.contains(question))
            });
            screen.press("Enter");
        }
        screen.shows("the end", |text| text.contains("ended with 0"));
    }

    fn goes_on(&self, line: &str, start: &str, shown: &str) {
        if start.contains("top") {
            let screen = Screen::start(&self.node, &self.shell(line));
            screen.shows("the ports", |text| text.contains(shown));
            screen.press("q");
            drop(screen.shows("the end", |text| text.contains("ended with 0")));
            return;
        }
        // A line of several programs is a shell's; one alone is told to end itself.
        let is_pipe = line.contains(" | ");
        let process = self.start(&if is_pipe { line.to_owned() } else { format!("exec {line}") });
        eventually(line, || {
            assert!(process.try_wait().unwrap().is_none(), "{line}: {}", process.output());
            if start.contains("events") || start.contains("capture") {
                self.knock();
            }
            let shown_in_file = shown.is_empty() && self.run("test -s denied.pcapng").status.success();
            (shown_in_file || !shown.is_empty() && process.output().contains(shown)).then_some(())
        });
        if is_pipe {
            process.terminate_all().unwrap();
        } else {
            process.signal(Signal::INT).unwrap();
            process.wait(PATIENCE).unwrap();
        }
    }
}

/// The lines of each command, in the order of the help.
fn lines(command: &clap::Command, path: &str) -> Vec<&'static str> {
    let inner = command.get_subcommands().filter(|inner| !inner.is_hide_set());
    if command.has_subcommands() {
        return inner.flat_map(|inner| lines(inner, &format!("{path} {}", inner.get_name()))).collect();
    }
    examples(path).collect()
}

#[test]
fn every_example_of_the_help_does_what_it_says() {
    if skip_unless_privileged("every_example_of_the_help_does_what_it_says") {
        return;
    }
    let mut desk = Desk::new();
    let lines = lines(&Cli::described(), "nodewall");
    assert!(lines.len() > 40, "{lines:?}");
    // All of them, so that every wrong one is told.
    let is_wrong = |line: &&str| catch_unwind(AssertUnwindSafe(|| desk.step(line))).is_err();
    let wrong: Vec<&str> = lines.into_iter().filter(is_wrong).collect();
    assert_eq!(wrong, Vec::<&str>::new());
    // It was this nodewall, at the usual places.
    desk.done(&format!(
        "test -f {CONFIG} && test -d /var/lib/nodewall && test -f /usr/local/share/man/man1/nodewall-status.1"
    ));
}
