//! Levers change the policy and nothing else: no program is loaded, no link is touched, and what one interface refuses stops none of them.

use nodewall_testbed::{
    Foreign, Lab, Process, Signal, eventually, find_tool, run_to_end, skip_unless_privileged, until,
};

use super::node::Node;
use super::settings::Settings;

/// As little as a configuration can ask for: no evidence, no peer's own counters, one rule.
const SMALLEST: &str =
    "[evidence]\nenabled = false\n[[rule]]\nname = \"store\"\nports = [9042]\naccess = \"cluster\"\n";

fn smallest() -> Settings {
    Settings::audit().rules(SMALLEST)
}

/// Runs a command that must succeed.
fn done(node: &Node, verb: &str, arguments: &[&str]) {
    let finished = node.nodewall(verb, arguments);
    assert!(matches!(finished.status.code(), Some(0 | 3)), "{verb} {arguments:?}: {finished:?}");
}

fn mode(node: &Node) -> String {
    node.json("status")["mode"].as_str().unwrap().to_owned()
}

fn problems(node: &Node) -> String {
    node.json("status")["problems"].to_string()
}

/// A command that stays in the foreground.
fn start(node: &Node, verb: &str, arguments: &[&str], mode_then: &str) -> Process {
    let process = Process::spawn(verb, node.command(verb, arguments)).unwrap();
    until("it is in force", || mode(node) == mode_then);
    process
}

/// Every lever in turn, on a node that audits. After each, `check` with its name.
fn every_lever(node: &Node, check: &dyn Fn(&str)) {
    done(node, "block", &["192.0.2.7", "--ttl", "1h"]);
    check("block");
    done(node, "unblock", &["192.0.2.7"]);
    check("unblock");
    done(node, "peers", &["add", "10.77.0.200", "--ttl", "1h"]);
    check("peers add");
    done(node, "peers", &["remove", "10.77.0.200"]);
    check("peers remove");
    done(node, "enforce", &["--allow-affected"]);
    check("enforce");
    done(node, "rollback", &[]);
    check("rollback");
    let trial = start(node, "enforce", &["--allow-affected", "--confirm-within", "5m"], "enforce");
    check("enforce on trial");
    done(node, "confirm", &[]);
    check("confirm");
    trial.wait(super::node::PATIENCE).unwrap();
    let open = start(node, "panic-open", &["--for", "5m"], "audit");
    check("panic-open");
    done(node, "rollback", &[]);
    check("the end of a panic-open");
    open.wait(super::node::PATIENCE).unwrap();
    done(node, "rollback", &[]);
    check("back to audit");
    let mut trial = node.command("enforce", &["--allow-affected", "--confirm-within", "1s"]);
    trial.stdin(std::process::Stdio::null());
    let trial = Process::spawn("enforce", trial).unwrap();
    trial.wait(super::node::PATIENCE).unwrap();
    until("the trial has ended", || mode(node) == "audit");
    check("a trial that nobody confirmed");
}

#[test]
fn no_lever_loads_a_program() {
    if skip_unless_privileged("no_lever_loads_a_program") {
        return;
    }
    let mut node = Node::with(&smallest());
    let program = node.attachment("eth0").unwrap();
    let kept = |lever: &str| assert_eq!(node.attachment("eth0").unwrap(), program, "{lever}");
    every_lever(&node, &kept);
    // What the agent does by itself: a block and a peer run out, an address comes, the file changes.
    let before = node.generation();
    done(&node, "block", &["192.0.2.7", "--ttl", "1s"]);
    done(&node, "peers", &["add", "10.77.0.200", "--ttl", "1s"]);
    until("both have run out", || node.generation() >= before + 4);
    kept("the end of a block and of a peer");
    let before = node.generation();
    node.netns().ip(&["addr", "add", "10.77.0.99/24", "dev", "eth0"]).unwrap();
    until("the address is one of the node's own", || node.generation() > before);
    kept("an own address");
    let before = node.generation();
    node.configure(&smallest().peers(&["10.77.0.11", "10.77.0.12", "fd77::11", "fd77::12", "10.77.0.13"]));
    node.agent().signal(Signal::HUP).unwrap();
    until("the file is in force", || node.generation() > before);
    kept("a reload");
    // Without an agent as well.
    assert!(node.end_agent(Signal::TERM).success());
    let kept = |lever: &str| assert_eq!(node.attachment("eth0").unwrap(), program, "{lever}, without an agent");
    every_lever(&node, &kept);
}

#[test]
fn what_one_interface_refuses_stops_no_lever_and_no_start() {
    if skip_unless_privileged("what_one_interface_refuses_stops_no_lever_and_no_start") {
        return;
    }
    let mut node = Node::idle(Lab::new().unwrap(), &smallest().interfaces(&["eth0", "second"]));
    node.netns()
        .ip_batch("link add second type veth peer name other\nlink set second up\nlink set other up\naddr add 10.78.0.1/24 dev second\n")
        .unwrap();
    let foreign = Foreign::attach(node.netns(), "second").unwrap();
    node.start_agent();
    let told =
        node.wait_for_log(|line| line.contains("second") && line.contains(&format!("program id {}", foreign.id())));
    assert!(told.contains("second"), "{told}");
    let program = node.attachment("eth0").unwrap();
    let kept = |lever: &str| assert_eq!(node.attachment("eth0").unwrap(), program, "{lever}");
    every_lever(&node, &kept);
    until("status tells of it", || problems(&node).contains("second"));
    // What is set right besides is told all the same.
    for pin in std::fs::read_dir(node.directories.maps()).unwrap() {
        std::fs::remove_file(pin.unwrap().path()).unwrap();
    }
    // `status` has nothing to read meanwhile.
    let repairs = || node.nodewall("status", &["-o", "json"]).stdout.contains("\"repairs\": 1,");
    until("the repair is told", repairs);
    // Over a restart, too.
    assert!(node.end_agent(Signal::KILL).code().is_none());
    node.start_agent();
    assert!(node.attachment("second").is_none());
    // The other program goes: the interface is covered without anybody's doing.
    drop(foreign);
    eventually("the second interface is covered", || node.attachment("second"));
    until("status is silent about it", || !problems(&node).contains("second"));
    // And out of the configuration: it is let go, and `plan` says so first.
    node.configure(&smallest());
    let planned = node.nodewall("plan", &[]);
    assert!(planned.status.code() == Some(3) && planned.stdout.contains("second"), "{planned:?}");
    node.agent().signal(Signal::HUP).unwrap();
    node.wait_for_log(|line| line.contains("second") && line.contains("released"));
    until("nothing runs there", || !node.link_words("second").iter().any(|word| word.starts_with("xdp")));
    assert!(node.attachment("second").is_none() && node.attachment("eth0").is_some());
}

/// What an operator confirmed holds until the file or the command line says otherwise; opening the node for a while is neither.
#[test]
fn what_was_confirmed_comes_back_after_a_detach() {
    if skip_unless_privileged("what_was_confirmed_comes_back_after_a_detach") {
        return;
    }
    let mut node = Node::with(&smallest());
    done(&node, "enforce", &["--allow-affected"]);
    assert!(node.end_agent(Signal::TERM).success());
    for back in ["apply", "run"] {
        assert!(node.nodewall("detach", &[]).status.success());
        assert!(node.attachment("eth0").is_none());
        if back == "run" {
            node.start_agent();
        } else {
            done(&node, back, &[]);
        }
        assert_eq!(mode(&node), "enforce", "{back}");
    }
}

#[test]
fn no_command_is_taken_for_tampering() {
    if skip_unless_privileged("no_command_is_taken_for_tampering") {
        return;
    }
    let node = Node::with(&smallest());
    // The agent looks each second: enough commands that some come in the middle of a look.
    for _ in 0..30 {
        done(&node, "block", &["192.0.2.7"]);
        done(&node, "unblock", &["192.0.2.7"]);
    }
    for _ in 0..3 {
        done(&node, "apply", &[]);
    }
    let generation = node.generation();
    node.wait_for_log(|line| line.contains("a command changed the policy") && line.contains(&generation.to_string()));
    let status = node.json("status");
    assert_eq!((&status["repairs"], &status["problems"]), (&0.into(), &serde_json::json!([])), "{status}");
    assert!(!node.agent().output().contains("repairing"), "{}", node.agent().output());
}

/// A change is an image and a pointer: what a command asks of bpf(2) does not grow with the policy.
#[test]
fn a_block_makes_few_calls_of_the_kernel() {
    if skip_unless_privileged("a_block_makes_few_calls_of_the_kernel") {
        return;
    }
    let node = Node::with(&Settings::default());
    let log = node.directories.config().with_file_name("calls");
    for (verb, source) in [("block", "192.0.2.7"), ("unblock", "192.0.2.7")] {
        let mut traced = node.netns().command(find_tool("strace").unwrap());
        traced.args(["--follow-forks", "--trace=bpf", "--output"]).arg(&log).arg("--");
        let command = node.command(verb, &[source]);
        traced.arg(command.get_program()).args(command.get_args());
        let ran = run_to_end(verb, traced, super::node::PATIENCE).unwrap();
        assert!(ran.status.success(), "{ran:?}");
        let log = std::fs::read_to_string(&log).unwrap();
        let calls = log.lines().filter(|line| line.contains("bpf(")).count();
        println!("{verb}: {calls} calls of bpf(2)");
        assert!((1..=60).contains(&calls), "{verb}: {calls} calls\n{log}");
    }
}
