//! Changes on trial: `enforce --confirm-within`, `confirm`, `rollback`, `panic-open`. What is not confirmed goes back, whoever is still alive.

use std::time::Duration;

use nodewall_testbed::{Lab, Process, Signal, skip_unless_privileged};

use super::node::{Node, PATIENCE, eventually};
use super::settings::Settings;
use super::traffic::{assert_filtered, assert_open};

pub(crate) fn mode(node: &Node) -> String {
    node.json("status")["mode"].as_str().unwrap().to_owned()
}

pub(crate) fn hold(node: &Node, verb: &str, arguments: &[&str]) -> Process {
    let held = Process::spawn(verb, node.command(verb, arguments)).unwrap();
    held.wait_for_line(PATIENCE, |line| line.contains("on trial") || line.contains("THE NODE IS OPEN")).unwrap();
    held
}

/// A node whose policy is audited, without an agent.
pub(crate) fn audited() -> Node {
    let node = Node::idle(Lab::new().unwrap(), &Settings::audit());
    assert!(node.nodewall("apply", &[]).status.success());
    node
}

pub(crate) fn journal(node: &Node) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(node.directories.state_dir().join("journal.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn what_nobody_confirms_goes_back() {
    if skip_unless_privileged("what_nobody_confirms_goes_back") {
        return;
    }
    // No agent runs: the foreground command alone ends it.
    let node = audited();
    assert_open(&node);
    // Long enough for a look at everything.
    let held = hold(&node, "enforce", &["--allow-affected", "--confirm-within", "1h"]);
    assert_filtered(&node);
    let status = node.json("status");
    assert_eq!((&status["trial"]["kind"], &status["trial"]["back_to_mode"]), (&"enforce".into(), &"audit".into()));
    // A second change has to wait.
    let refused = node.nodewall("apply", &[]);
    assert!(refused.status.code() == Some(1) && refused.stderr.contains("on trial"), "{refused:?}");
    let refused = node.nodewall("enforce", &["--allow-affected", "--confirm-within", "3s"]);
    assert!(refused.status.code() == Some(1) && refused.stderr.contains("on trial"), "{refused:?}");
    assert_eq!(node.nodewall("rollback", &[]).status.code(), Some(3));
    held.wait(PATIENCE).unwrap();
    let held = hold(&node, "enforce", &["--allow-affected", "--confirm-within", "3s"]);
    // A lost terminal ends nothing.
    held.signal(Signal::HUP).unwrap();
    assert_eq!(held.wait(PATIENCE).unwrap().code(), Some(1), "{}", held.output());
    assert!(held.output().contains("not confirmed"), "{}", held.output());
    assert_eq!(mode(&node), "audit");
    assert_open(&node);
    assert_eq!(node.json("status")["trial"], serde_json::Value::Null);
    // The configuration's peers are noted, too.
    let journal: Vec<_> = journal(&node).into_iter().filter(|entry| entry["action"] != "peers").collect();
    let actions: Vec<_> = journal.iter().map(|entry| entry["action"].as_str().unwrap().to_owned()).collect();
    assert_eq!(actions, ["apply", "enforce", "rollback", "enforce", "rollback"]);
    assert_eq!(journal[1]["who"]["uid"], 0);
}

#[test]
fn what_is_confirmed_stays_whatever_the_file_says_until_it_changes() {
    if skip_unless_privileged("what_is_confirmed_stays_whatever_the_file_says_until_it_changes") {
        return;
    }
    let mut node = audited();
    node.start_agent();
    let held = hold(&node, "enforce", &["--allow-affected", "--confirm-within", "1h"]);
    assert!(node.nodewall("confirm", &[]).status.success());
    assert!(held.wait(PATIENCE).unwrap().success(), "{}", held.output());
    assert_filtered(&node);
    // The file says audit. A restart, a reload and another apply keep what the operator confirmed.
    assert!(node.end_agent(Signal::TERM).success());
    node.start_agent();
    assert_filtered(&node);
    assert!(node.nodewall("apply", &[]).status.success());
    assert_eq!(mode(&node), "enforce");
    // Whoever changes the file's mode has the last word.
    node.configure(&Settings::default());
    assert!(node.nodewall("apply", &[]).status.success());
    node.configure(&Settings::audit());
    assert!(node.nodewall("apply", &[]).status.success());
    assert_eq!(mode(&node), "enforce", "the word was given while the file said audit");
    assert!(node.nodewall("apply", &["--mode", "audit"]).status.success());
    assert_eq!(mode(&node), "audit");
    let nothing = node.nodewall("confirm", &[]);
    assert!(nothing.status.code() == Some(1) && nothing.stderr.contains("nothing is on trial"), "{nothing:?}");
}

#[test]
fn an_agent_ends_a_trial_whose_command_was_killed() {
    if skip_unless_privileged("an_agent_ends_a_trial_whose_command_was_killed") {
        return;
    }
    let mut node = audited();
    node.start_agent();
    let held = hold(&node, "enforce", &["--allow-affected", "--confirm-within", "5s"]);
    held.signal(Signal::KILL).unwrap();
    held.wait(PATIENCE).unwrap();
    eventually("the agent ends the trial", || (mode(&node) == "audit").then_some(()));
    assert_open(&node);
}

#[test]
fn ctrl_c_and_rollback_end_a_trial_at_once() {
    if skip_unless_privileged("ctrl_c_and_rollback_end_a_trial_at_once") {
        return;
    }
    let node = audited();
    let held = hold(&node, "enforce", &["--allow-affected", "--confirm-within", "1h"]);
    held.signal(Signal::INT).unwrap();
    assert_eq!(held.wait(PATIENCE).unwrap().code(), Some(1));
    assert_eq!(mode(&node), "audit");
    let held = hold(&node, "enforce", &["--allow-affected", "--confirm-within", "1h"]);
    // Exit code 3: what is in force drops nothing.
    assert_eq!(node.nodewall("rollback", &[]).status.code(), Some(3));
    assert_eq!(held.wait(PATIENCE).unwrap().code(), Some(1), "{}", held.output());
    assert_open(&node);
}

#[test]
fn rollback_returns_to_the_policy_before() {
    if skip_unless_privileged("rollback_returns_to_the_policy_before") {
        return;
    }
    let node = Node::enforcing();
    let sha = |node: &Node| node.json("status")["policy_sha256"].as_str().unwrap().to_owned();
    let first = sha(&node);
    node.configure(&Settings::default().top("tunnels = \"all\""));
    assert!(node.nodewall("apply", &[]).status.success());
    let second = sha(&node);
    assert_ne!(first, second);
    assert!(node.nodewall("rollback", &[]).status.success());
    assert_eq!(sha(&node), first);
    assert!(node.nodewall("rollback", &[]).status.success());
    assert_eq!(sha(&node), second);
    // The agent knows: a change of the network keeps what the command put into force.
    node.nodewall("rollback", &[]);
    let generation = node.generation();
    node.netns().ip(&["addr", "add", "10.77.0.2/24", "dev", "eth0"]).unwrap();
    eventually("the agent looked at the new address", || (node.generation() > generation).then_some(()));
    assert_eq!(sha(&node), first);
    // Nor does the file, which was changed before the rollback, come back by itself: two looks at it.
    std::thread::sleep(Duration::from_millis(2_500));
    assert_eq!(sha(&node), first);
}

#[test]
fn a_panic_open_lifts_everything_and_comes_back_by_itself() {
    if skip_unless_privileged("a_panic_open_lifts_everything_and_comes_back_by_itself") {
        return;
    }
    let node = Node::enforcing();
    let outsider = node.outsider().ipv4().to_string();
    assert!(node.nodewall("block", &[&outsider]).status.success());
    let held = hold(&node, "panic-open", &["--for", "1h"]);
    assert_open(&node);
    let status = node.json("status");
    assert_eq!((&status["mode"], &status["healthy"]), (&"audit".into(), &false.into()));
    assert!(node.nodewall("confirm", &[]).stderr.contains("ends by itself"));
    // An operator who is through earlier ends it.
    assert!(node.nodewall("rollback", &[]).status.success());
    assert!(held.wait(PATIENCE).unwrap().success(), "{}", held.output());
    assert_filtered(&node);
    let held = hold(&node, "panic-open", &["--for", "2s"]);
    assert!(held.wait(PATIENCE).unwrap().success(), "{}", held.output());
    assert_filtered(&node);
    let explained = node.nodewall_live("explain", &["--source", &outsider, "--port", "443"]);
    assert!(explained.stdout.contains("blocked_source"), "{explained:?}");
}
