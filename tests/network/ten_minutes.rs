//! README's "Ten minutes", line by line: what stands there is what is typed here, on a node of its own. A line without a test fails.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use nodewall_testbed::{Lab, Process, Signal, run_to_end, skip_unless_privileged};

use super::node::{Node, PATIENCE, eventually};
use super::screen::Screen;
use super::settings::Settings;
use super::traffic::{assert_filtered, assert_open};
use crate::binary::executable;

const README: &str = include_str!("../../README.md");
const HEADING: &str = "\n## Ten minutes\n";
/// Where README puts the executable.
const PLACE: &str = "/usr/local/sbin/nodewall";

/// The commands of the section, without their comments.
fn commands() -> Vec<String> {
    let section = README.split_once(HEADING).unwrap_or_else(|| panic!("README has no heading {HEADING:?}")).1;
    let section = section.split("\n## ").next().unwrap();
    let lines = section.lines().filter(|line| line.starts_with("    "));
    lines.map(|line| line.split(" #").next().unwrap().trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

struct Walk {
    node: Node,
    /// The executable, once it is installed.
    installed: Option<PathBuf>,
    agent: Option<Process>,
    held: Option<Process>,
}

impl Walk {
    /// The installed executable with this node's directories.
    fn command(&self, words: &[&str]) -> Command {
        let (verb, arguments) = words.split_first().unwrap();
        let mut command = self.node.netns().command(self.installed.as_ref().expect("README installs first"));
        command.args(self.node.command(verb, arguments).get_args());
        command
    }

    fn run(&self, words: &[&str], codes: &[i32]) -> String {
        let ran = run_to_end(words[0], self.command(words), PATIENCE).unwrap();
        assert!(ran.status.code().is_some_and(|code| codes.contains(&code)), "{words:?}: {ran:?}");
        ran.stdout
    }

    fn install(&mut self, words: &[&str]) {
        let to = self.node.directories.config().with_file_name("nodewall");
        let mut command = Command::new("install");
        for word in words {
            match *word {
                PLACE => command.arg(&to),
                word if word.ends_with("release/nodewall") => command.arg(executable()),
                word => command.arg(word),
            };
        }
        let ran = run_to_end("install", command, PATIENCE).unwrap();
        assert!(ran.status.success() && to.is_file(), "{ran:?}");
        self.installed = Some(to);
    }

    /// A person names the lab's interface, which looks like a container's, and takes what is proposed.
    fn init(&self, words: &[&str]) {
        let screen = Screen::start(&self.node, &self.command(words));
        let questions =
            ["Which?", "Follow the vendor's firewall rules?", "More addresses", "Version", "Who may reach 8443"];
        for question in questions {
            let is_last = |text: &str| text.trim_end().lines().next_back().is_some_and(|line| line.contains(question));
            screen.shows(question, is_last);
            if question == "Which?" {
                screen.press("eth0");
            }
            screen.press("Enter");
        }
        screen.shows("the end", |text| text.contains("ended with 0"));
        let written = fs::read_to_string(self.node.directories.config()).unwrap();
        assert!(written.contains("\nmode = \"audit\"\n"), "{written}");
    }

    fn step(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["install", arguments @ ..] => self.install(arguments),
            ["nodewall", words @ ..] => self.nodewall(line, words),
            _ => unknown(line),
        }
    }

    fn nodewall(&mut self, line: &str, words: &[&str]) {
        match words {
            ["init"] => self.init(words),
            // What the machine lacks is no matter of this walk.
            ["doctor"] => drop(self.run(words, &[0, 3])),
            ["run"] => {
                let agent = Process::spawn(line, self.command(words)).unwrap();
                agent.wait_for_line(PATIENCE, |line| line.contains("policy audited")).unwrap();
                self.agent = Some(agent);
                assert_open(&self.node);
            }
            ["events", "list"] => {
                let outsider = self.node.outsider().ipv4().to_string();
                // On a busy machine the first question comes before the recorder has made its store, which is said, and exits 1.
                eventually("the evidence has the outsider", || {
                    self.run(words, &[0, 1]).contains(&outsider).then_some(())
                });
            }
            ["plan", "--mode", "enforce"] => {
                // The outsider of this walk is answered, and would be cut off.
                let plan = eventually("the plan names the outsider", || {
                    let plan = self.run(words, &[3, 5]);
                    plan.contains("would be cut off").then_some(plan)
                });
                assert!(plan.contains("mode: audit -> enforce"), "{plan}");
            }
            ["enforce", "--confirm-within", _] => {
                self.run(words, &[5]);
                let mut command = self.command(words);
                command.arg("--allow-affected");
                let held = Process::spawn(line, command).unwrap();
                held.wait_for_line(PATIENCE, |line| line.contains("on trial")).unwrap();
                self.held = Some(held);
                assert_filtered(&self.node);
            }
            ["confirm"] => {
                self.run(words, &[0]);
                let held = self.held.take().expect("README enforces before it confirms");
                assert!(held.wait(PATIENCE).unwrap().success(), "{}", held.output());
            }
            ["status"] => {
                let status = self.run(words, &[0]);
                assert!(status.contains("enforce"), "{status}");
                assert_filtered(&self.node);
            }
            _ => unknown(line),
        }
    }
}

fn unknown(line: &str) -> ! {
    panic!("README's \"Ten minutes\" says {line:?}, and no test knows what should come of it")
}

#[test]
fn every_line_of_the_ten_minutes_does_what_it_says() {
    if skip_unless_privileged("every_line_of_the_ten_minutes_does_what_it_says") {
        return;
    }
    let node = Node::idle(Lab::new().unwrap(), &Settings::audit());
    fs::remove_file(node.directories.config()).unwrap();
    for (tool, peers) in [("iptables", ["10.77.0.11", "10.77.0.12"]), ("ip6tables", ["fd77::11", "fd77::12"])] {
        for peer in peers {
            let rule = ["-w", "-A", "INPUT", "-s", peer, "-p", "tcp", "--dport", "9042", "-j", "ACCEPT"];
            node.netns().tool(tool, &rule).unwrap();
        }
    }
    let mut walk = Walk { node, installed: None, agent: None, held: None };
    let commands = commands();
    for line in &commands {
        walk.step(line);
    }
    // The path ends protected: without a look at the last line, a README that stops half-way would pass.
    assert_eq!(commands.last().map(String::as_str), Some("nodewall status"));
    assert!(commands.iter().any(|line| line.starts_with("nodewall enforce ")), "{commands:?}");
    let agent = walk.agent.take().expect("README starts the agent");
    agent.signal(Signal::TERM).unwrap();
    agent.wait(PATIENCE).unwrap();
}
