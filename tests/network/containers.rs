//! nodewall in a container: a process namespace and mounts of its own, on the network of the node. Process ids mean others there, and the host's mounts are
//! not seen. It owns what must be so all the same.

use std::fs::File;
use std::process::Command;

use nodewall_testbed::{Finished, Lab, Process, Signal, find_tool, run_to_end, skip_unless_privileged, until};
use serde_json::{Value, json};

use super::node::{Node, PATIENCE};
use super::settings::Settings;
use super::traffic::{assert_filtered, assert_open};

/// How a command is run to its end.
type Ask = fn(&Node, &str, &[&str]) -> Finished;

const ELSEWHERE: &str = "pid 1 in another process namespace";

/// One of nodewall's commands as the first process of a container, which has the host's bpf file system.
fn contained(node: &Node, verb: &str, arguments: &[&str]) -> Command {
    let inside = node.command(verb, arguments);
    let mut command = node.netns().command(find_tool("unshare").unwrap());
    command.args(["--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "--"]);
    command.arg(inside.get_program()).args(inside.get_args());
    command
}

/// The same where /sys is the container's own, as engines make it: nothing is mounted at /sys/fs/bpf.
fn without_bpffs(node: &Node, verb: &str) -> Finished {
    let inside = node.command(verb, &[]);
    let mut command = node.netns().command(find_tool("unshare").unwrap());
    command.args(["--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "--"]);
    command.args(["sh", "-c", "mount -t sysfs sysfs /sys && \"$@\"", "sh"]);
    command.arg(inside.get_program()).args(inside.get_args());
    run_to_end(verb, command, PATIENCE).unwrap()
}

fn told(node: &Node, verb: &str, arguments: &[&str]) -> Finished {
    run_to_end(verb, contained(node, verb, arguments), PATIENCE).unwrap()
}

fn agent(node: &Node) -> Process {
    let agent = Process::spawn("nodewall run", contained(node, "run", &[])).unwrap();
    agent.wait_for_line(PATIENCE, |line| line.contains("policy enforced")).unwrap();
    agent
}

/// As the engine ends it: its first process is killed, and every other with it.
fn end(container: &Process) {
    container.signal(Signal::KILL).unwrap();
    container.wait(PATIENCE).unwrap();
}

#[test]
fn where_pins_would_die_with_the_container_nothing_is_said_to_be_in_force() {
    if skip_unless_privileged("where_pins_would_die_with_the_container_nothing_is_said_to_be_in_force") {
        return;
    }
    let node = Node::idle(Lab::new().unwrap(), &Settings::default());
    for verb in ["apply", "run", "status", "detach"] {
        let refused = without_bpffs(&node, verb);
        assert_eq!(refused.status.code(), Some(1), "{verb}: {refused:?}");
        assert!(refused.stderr.contains("-v /sys/fs/bpf:/sys/fs/bpf"), "{verb}: {refused:?}");
        assert!(!node.link_words("eth0").iter().any(|word| word.starts_with("xdp")), "{verb}");
    }
    // With the host's it is as on the host, and outlives the container. Nor is nothing said to be there where it is not seen.
    let applied = told(&node, "apply", &[]);
    assert!(applied.status.success(), "{applied:?}");
    assert_eq!(without_bpffs(&node, "status").status.code(), Some(1));
    let status = node.nodewall("status", &[]).stdout;
    assert!(status.starts_with("mode        enforce") && status.matches("problem: ").count() == 1, "{status}");
    assert!(status.contains("problem: no agent runs"), "{status}");
    assert_filtered(&node);
}

#[test]
fn an_agent_in_a_container_is_taken_for_no_other_process() {
    if skip_unless_privileged("an_agent_in_a_container_is_taken_for_no_other_process") {
        return;
    }
    let node = Node::idle(Lab::new().unwrap(), &Settings::default());
    let first = agent(&node);
    assert_filtered(&node);
    // On the host, and in another container, where whoever asks has the same process id.
    let mut pages = Vec::new();
    for ask in [Node::nodewall as Ask, told] {
        let second = ask(&node, "run", &[]);
        assert_eq!(second.status.code(), Some(1), "{second:?}");
        assert!(second.stderr.contains(ELSEWHERE), "{second:?}");
        let status = ask(&node, "status", &[]);
        assert!(status.status.success() && status.stdout.contains(ELSEWHERE), "{status:?}");
        for (verb, argument) in [("block", "192.0.2.7"), ("unblock", "192.0.2.7")] {
            let done = ask(&node, verb, &[argument]);
            assert!(done.status.success(), "{verb}: {done:?}");
        }
        let page = ask(&node, "page", &[]);
        assert!(page.status.success() && page.stdout.contains("?ticket="), "{page:?}");
        pages.push(page.stdout.split('?').next().unwrap().to_owned());
    }
    assert_eq!(pages[0], pages[1]);
    assert_eq!(node.json("status")["agent"]["pid"], 1);
    end(&first);
    assert_eq!(node.json("status")["agent"], Value::Null);
    assert_filtered(&node);

    // The next one has the same process id, and has not said yet where it listens: it waits for whoever changes the policy.
    let changing = File::create(node.directories.state_dir().join("policy.lock")).unwrap();
    changing.lock().unwrap();
    let next = Process::spawn("nodewall run", contained(&node, "run", &[])).unwrap();
    until("it says that it starts", || {
        let page = node.nodewall("page", &[]);
        assert!(!page.status.success(), "the page of the agent before: {page:?}");
        page.stderr.contains("is just starting")
    });
    drop(changing);
    next.wait_for_line(PATIENCE, |line| line.contains("policy enforced")).unwrap();
    until("its page", || node.nodewall("page", &[]).status.success());
    end(&next);
    assert_filtered(&node);
}

/// All that waits in a container for the end of a trial ends with it, and that is said before; an agent outside does not.
#[test]
fn a_trial_that_a_container_began_is_ended_from_outside() {
    if skip_unless_privileged("a_trial_that_a_container_began_is_ended_from_outside") {
        return;
    }
    let mut node = Node::idle(Lab::new().unwrap(), &Settings::audit());
    assert!(node.nodewall("apply", &[]).status.success());
    let trial = Process::spawn("enforce", contained(&node, "enforce", &["--allow-affected", "--confirm-within", "5s"]))
        .unwrap();
    until("it is on trial", || node.json("status")["mode"] == "enforce");
    trial.wait_for_line(PATIENCE, |line| line.contains("this is a container")).unwrap();
    end(&trial);
    until("nobody holds it", || node.json("status")["trial"]["held_by"] == json!([]));
    assert_eq!(node.json("status")["mode"], "enforce");
    node.start_agent();
    until("the policy before is in force again", || node.json("status")["mode"] == "audit");
    assert_open(&node);
}
