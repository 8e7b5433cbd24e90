//! The privileges that the packaged unit gives, and no more: its capabilities are read from the unit's file and taken away from everything that nodewall
//! does here. It must not test what nodewall does with them; the other files do.

use std::fs;
use std::process::Command;

use super::{
    node::{Node, PATIENCE, eventually},
    settings::Settings,
    traffic::{assert_filtered, probes, silent},
};
use nodewall_evidence::store::{Filter, Reader};
use nodewall_testbed::{Finished, Lab, Listener, Process, Signal, find_tool, run_to_end, skip_unless_privileged};

const UNIT: &str = include_str!("../../packaging/systemd/nodewall.service");
/// `CAP_NET_ADMIN`, `CAP_PERFMON` and `CAP_BPF` as /proc shows them.
const THREE: &str = "000000c000001000";

/// The unit's capabilities in setpriv's words.
fn of_the_unit() -> String {
    let line = UNIT.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).unwrap();
    let names = line.split_whitespace().map(|name| name.strip_prefix("CAP_").unwrap().to_lowercase());
    format!("--bounding-set=-all,+{}", names.collect::<Vec<_>>().join(",+"))
}

/// The same command with these capabilities: root whose power is bounded, as systemd makes it.
fn confined(node: &Node, capabilities: &str, command: &Command) -> Command {
    let mut bounded = node.netns().command(find_tool("setpriv").unwrap());
    bounded.args([capabilities, "--inh-caps=-all", "--ambient-caps=-all", "--no-new-privs"]);
    bounded.arg(command.get_program()).args(command.get_args());
    bounded
}

fn ask(node: &Node, verb: &str, arguments: &[&str]) -> Finished {
    run_to_end(verb, confined(node, &of_the_unit(), &node.command(verb, arguments)), PATIENCE).unwrap()
}

fn fine(node: &Node, verb: &str, arguments: &[&str]) -> String {
    let finished = ask(node, verb, arguments);
    assert!(finished.status.success(), "{verb} {arguments:?}: {finished:?}");
    finished.stdout
}

#[test]
fn three_capabilities_are_enough_for_all_that_the_units_do() {
    if skip_unless_privileged("three_capabilities_are_enough_for_all_that_the_units_do") {
        return;
    }
    let node = Node::idle(Lab::new().unwrap(), &Settings::default());
    // nodewall-apply.service
    fine(&node, "apply", &[]);
    assert_filtered(&node);
    // nodewall.service
    let run = confined(&node, &of_the_unit(), &node.command("run", &[]));
    let agent = Process::spawn("nodewall run", run).unwrap();
    agent.wait_for_line(PATIENCE, |line| line.contains("policy enforced")).unwrap();
    let facts = fs::read_to_string(format!("/proc/{}/status", agent.id())).unwrap();
    for fact in ["CapPrm", "CapEff", "CapBnd"] {
        assert!(facts.contains(&format!("{fact}:\t{THREE}\n")), "{facts}");
    }
    assert!(facts.contains("NoNewPrivs:\t1\n"), "{facts}");
    eventually("the agent to be healthy", || ask(&node, "status", &[]).status.success().then_some(()));

    // A link that was detached behind its back.
    let links = node.directories.pins().join("links");
    let pin = fs::read_dir(&links)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| !path.to_string_lossy().ends_with("-egress"));
    fs::remove_file(pin.unwrap()).unwrap();
    eventually("the repair", || {
        let finished = ask(&node, "status", &["-o", "json"]);
        let status: serde_json::Value = serde_json::from_str(&finished.stdout).ok()?;
        (status["repairs"].as_u64()? > 0 && status["healthy"] == true).then_some(())
    });
    assert_filtered(&node);

    // Evidence: flows by reading maps, captures by the ring that CAP_PERFMON opens.
    let sockets = Listener::both(node.netns(), &[9_042]).unwrap();
    silent(node.outsider(), &probes(node.host(), &[9_042]));
    let store = node.directories.state_dir().join("evidence");
    eventually("flows and captures in the store", || {
        let reader = Reader::open(&store).ok().flatten()?;
        let captures = reader.captures(&Filter::default()).ok()?;
        (!reader.flows(&Filter::default()).ok()?.is_empty() && !captures.is_empty()).then_some(())
    });
    drop(sockets);

    // A reload, and the commands that an operator may give the same privileges.
    let generation = node.generation();
    node.configure(&Settings::default().top("tunnels = \"all\""));
    agent.signal(Signal::HUP).unwrap();
    eventually("the reload", || (node.generation() > generation).then_some(()));
    fine(&node, "counters", &[]);
    fine(&node, "block", &["198.51.100.7", "--ttl", "1h"]);
    fine(&node, "unblock", &["198.51.100.7"]);
    fine(&node, "explain", &["--source", "198.51.100.7", "--port", "9042"]);
    agent.signal(Signal::TERM).unwrap();
    assert!(agent.wait(PATIENCE).unwrap().success(), "{}", agent.output());
    assert_filtered(&node);
    fine(&node, "detach", &[]);
}

#[test]
fn each_of_the_three_is_needed_and_named_when_it_is_missing() {
    if skip_unless_privileged("each_of_the_three_is_needed_and_named_when_it_is_missing") {
        return;
    }
    let node = Node::idle(Lab::new().unwrap(), &Settings::default());
    let all = of_the_unit();
    for missing in ["bpf", "net_admin", "perfmon"] {
        let fewer = all.replace(&format!(",+{missing}"), "");
        assert_ne!(all, fewer);
        let finished = run_to_end("apply", confined(&node, &fewer, &node.command("apply", &[])), PATIENCE).unwrap();
        assert_eq!(finished.status.code(), Some(4), "{finished:?}");
        assert!(finished.stderr.contains(&format!("CAP_{}", missing.to_uppercase())), "{finished:?}");
    }
}
